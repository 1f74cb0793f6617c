"""What every door (server, role, command) does before it uses the records."""

from __future__ import annotations

from ringback.audit import writer
from ringback.records import secrets
from ringback.settings import Settings


def compose(settings: Settings) -> None:
    """From here on each change is recorded, and secrets can be sealed and opened."""
    writer.connect()
    secrets.ring.use(settings.secrets_key_file)
