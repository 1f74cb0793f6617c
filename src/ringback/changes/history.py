"""What happened to one entity before, as the audit log knows it: asked for by rooms that do not know the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from ringback.changes.schemas import Json


@dataclass(frozen=True, slots=True)
class Past:
    """One change that was made."""

    version: int  # of the entity after it
    at: datetime
    who: str
    changes: dict[str, tuple[Json, Json]]  # property -> old, new


Reader = Callable[[Session, str, str, str, int], Sequence[Past]]
Last = Callable[[Session, str, str, str], int | None]
Began = Callable[[Session, str], bool]
_readers: list[Reader] = []
_lasts: list[Last] = []
_began: list[Began] = []


def read_with(reader: Reader, last: Last, began: Began) -> None:
    """Called by who keeps the records. `reader(session, environment, entity type, id, version)`: changes after it;
    `last(session, environment, entity type, id)`: the id of the newest record; `began(session, environment)`: whether
    there ever was one."""
    _readers[:] = [reader]
    _lasts[:] = [last]
    _began[:] = [began]


def changes_after(session: Session, environment: str, entity_type: str, entity_id: str, version: int) -> list[Past]:
    """In their order; nothing where nobody keeps records in this process."""
    return [past for reader in _readers for past in reader(session, environment, entity_type, entity_id, version)]


def last_record(session: Session, environment: str, entity_type: str, entity_id: str) -> int | None:
    """Of what happened to the entity before this work: to be the cause of what follows from it."""
    return next((last(session, environment, entity_type, entity_id) for last in _lasts), None)


def has_history(session: Session, environment: str) -> bool:
    """Whether anything was ever recorded under the key of this environment, which may be gone."""
    return any(began(session, environment) for began in _began)
