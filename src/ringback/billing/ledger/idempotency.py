"""Commands that are sent twice are done once: the first answer is kept with its key, and given again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import Engine, delete, select

from ringback import clock
from ringback.billing.ledger.errors import KeyReused
from ringback.billing.ledger.models import Command
from ringback.records.engine import UnitOfWork, unit_of_work
from ringback.records.wall import EVERYWHERE

KEPT = timedelta(days=30)  # then a key may mean something else
_AT_ONCE = 1000

Answer = dict[str, Any]


def fingerprint(who: str, method: str, path: str, body: object) -> str:
    """SHA-256 of who asks for what: the same however the body was spelled."""
    asked = [who, method, path, body]
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


def once(
    work: UnitOfWork, environment: str, key: str, fingerprint_: str, do: Callable[[], tuple[int, Answer]]
) -> tuple[int, Answer]:
    """HTTP status and answer of what `do` does; of the first time, where it was done before. What fails is not kept.

    Two at once with one key: the second waits for the first. Raises KeyReused, and what `do` raises.
    """
    if not key:
        return do()
    work.lock("command", environment, key)
    known = work.scalars(select(Command).where(Command.environment == environment, Command.key == key)).one_or_none()
    if known is not None and known.done_at >= clock.now() - KEPT:
        if known.fingerprint != fingerprint_:
            raise KeyReused(f"The Idempotency-Key {key!r} came with another command before: give each its own.")
        return known.status, known.answer
    if known is not None:
        work.delete(known)
        work.flush()
    status, answer = do()
    work.add(
        Command(
            environment=environment, key=key, fingerprint=fingerprint_, status=status, answer=answer, done_at=clock.now()
        )
    )  # fmt: skip
    return status, answer


def forget(engine: Engine) -> int:
    """Answers that are past their days, of all environments: how many."""
    count = 0
    while True:
        with unit_of_work(engine, EVERYWHERE) as work:
            old = work.scalars(select(Command.id).where(Command.done_at < clock.now() - KEPT).limit(_AT_ONCE)).all()
            if old:
                work.execute(delete(Command).where(Command.id.in_(old)))
        count += len(old)
        if len(old) < _AT_ONCE:
            return count
