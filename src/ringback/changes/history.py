"""What happened to one entity before, as the audit log knows it: asked for by rooms that do not know the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from ringback.changes.schemas import Json


@dataclass(frozen=True, slots=True)
class Past:
    """One change that was made."""

    version: int  # of the entity after it
    at: datetime
    who: str
    changes: dict[str, tuple[Json, Json]]  # property -> old, new


class Kept(Protocol):
    """What is asked of who keeps the records; a module will do. See the functions of the same names below."""

    def changes_after(
        self, session: Session, environment: str, entity_type: str, entity_id: str, version: int, /
    ) -> Sequence[Past]: ...

    def last_record(self, session: Session, environment: str, entity_type: str, entity_id: str, /) -> int | None: ...

    def has_history(self, session: Session, environment: str, /) -> bool: ...


_kept: list[Kept] = []  # one, or none


def read_with(kept: Kept) -> None:
    """Called by who keeps the records."""
    _kept[:] = [kept]


def changes_after(session: Session, environment: str, entity_type: str, entity_id: str, version: int) -> list[Past]:
    """In their order; nothing where nobody keeps records in this process."""
    return [
        past for kept in _kept for past in kept.changes_after(session, environment, entity_type, entity_id, version)
    ]


def last_record(session: Session, environment: str, entity_type: str, entity_id: str) -> int | None:
    """Of what happened to the entity before this work: to be the cause of what follows from it."""
    return next((kept.last_record(session, environment, entity_type, entity_id) for kept in _kept), None)


def has_history(session: Session, environment: str) -> bool:
    """Whether anything was ever recorded under the key of this environment, which may be gone."""
    return any(kept.has_history(session, environment) for kept in _kept)
