"""Who changes things in tests that are about something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records.engine import UnitOfWork
from ringback.records.wall import EVERYWHERE

TESTER = Actor("user", "tester", "cli")


@contextmanager
def by_tester(engine: Engine) -> Iterator[UnitOfWork]:
    """A unit of work in every environment."""
    with changing(engine, TESTER, EVERYWHERE) as work:
        yield work
