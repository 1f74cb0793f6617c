"""What `ringback billing` does on a terminal, and the work role each hour: look which invoices are past their date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import orjson
import structlog
from sqlalchemy import Engine, select

from ringback.billing.entities.models import Environment
from ringback.billing.entities.values import plain
from ringback.billing.ledger.checking import mismatches
from ringback.billing.ledger.idempotency import forget
from ringback.billing.ledger.service import notice_overdue
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.hosts.due import Due
from ringback.records.engine import UnitOfWork, reading
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

_AT_ONCE = 100
_TASK = Actor("task", "overdue handling", "task")

Say = Callable[[str], None]
_log = structlog.get_logger()


def overdue(settings: Settings) -> Due:
    """Hourly: days end at another hour in each environment."""
    return Due(
        settings,
        "overdue invoices",
        _look,
        every=timedelta(hours=1),
        at_most=timedelta(minutes=30),
        failed="nobody looked for overdue invoices",
    )


def notice(engine: Engine, actor: Actor, wanted: Sequence[str] = ()) -> dict[str, int]:
    """Environment -> invoices that became overdue, or are no longer collected, since the last look."""
    found = dict.fromkeys(wanted or environments(engine), 0)
    for environment in found:
        done = _AT_ONCE
        while done == _AT_ONCE:
            done = do_changing(engine, actor, (environment,), partial(_notice, environment))
            found[environment] += done
    return found


def _notice(environment: str, work: UnitOfWork) -> int:
    return notice_overdue(work, environment, most=_AT_ONCE)


def check(engine: Engine, wanted: Sequence[str], *, as_json: bool, say: Say) -> int:
    """Whether all that is kept is the sum of its rows. Exit code: 0 it is; 1 something is not."""
    wrong = []
    for environment in wanted or environments(engine):
        with reading(engine, (environment,)) as session:
            wrong += [(environment, each) for each in mismatches(session)]
    if as_json:
        rows = [
            {"environment": environment, "what": each.what, "type": each.entity_type, "id": each.id, "name": each.name,
             "kept": plain(each.kept), "summed": plain(each.summed)}
            for environment, each in wrong
        ]  # fmt: skip
        say(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    else:
        for environment, each in wrong:
            say(
                f"{environment}: {each.what} of {each.entity_type} {each.id} ({each.name}) is {each.kept:f}, "
                f"its rows say {each.summed:f}"
            )
        if not wrong:
            say("Every balance, payment and invoice is the sum of its rows.")
    return 1 if wrong else 0


def environments(engine: Engine) -> list[str]:
    with reading(engine, EVERYWHERE) as session:
        return list(session.scalars(select(Environment.environment).order_by(Environment.environment)))


def _look(engine: Engine) -> None:
    found = {environment: count for environment, count in notice(engine, _TASK).items() if count}
    if found:
        _log.info("invoices are overdue", **found)
    forget(engine)
