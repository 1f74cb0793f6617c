"""Every module that registers an option, in sight: importing this makes the register complete."""

from __future__ import annotations

from ringback import retention
from ringback.billing.engine import options as engine
from ringback.billing.ledger import options as ledger
from ringback.configuration import people, shared
from ringback.configuration.options import registry
from ringback.sessions import options as sessions

OPTIONS = registry
MODULES = (shared, people, sessions, ledger, engine, retention)  # the last says what fewer days would touch
