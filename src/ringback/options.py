"""Every module that registers an option, in sight: importing this makes the register complete."""

from __future__ import annotations

from ringback.configuration import shared
from ringback.configuration.options import registry

OPTIONS = registry
MODULES = (shared,)
