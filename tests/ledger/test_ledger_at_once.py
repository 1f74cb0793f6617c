"""Sixteen at once: whoever moves money of a customer follows the one before, whichever host they are on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pytest
from ledgers import HOME, Till, check
from sqlalchemy import Engine, func, select

from databases import at_once
from ringback.billing.ledger import service
from ringback.billing.ledger.errors import LedgerError, NotNow
from ringback.billing.ledger.idempotency import fingerprint, once
from ringback.billing.ledger.models import Invoice, Xdr
from ringback.changes.service import do_changing
from ringback.records.engine import UnitOfWork, reading

WRITERS = 16
pytestmark = pytest.mark.timeout(60)


def test_sixteen_writers_keep_what_must_hold(engine: Engine, hosts: list[Engine]) -> None:
    tills = [Till(engine, "Shared"), Till(engine, "Other")]
    for till in tills:
        till.charge("40")

    def writer(number: int) -> Counter[str]:
        done: Counter[str] = Counter()
        till = tills[number % 3 == 0]  # most at one customer
        mine = Till.__new__(Till)
        mine.__dict__ = till.__dict__ | {"engine": hosts[number % len(hosts)]}
        ids: list[int] = []  # of my payment and invoice

        def kept(id_: int | None) -> int:
            ids.append(id_ or 0)
            return ids[-1]

        acts: list[tuple[str, Callable[[], object]]] = [
            ("pay", lambda: kept(mine.pay("7.50").payment_id)),
            ("use", lambda: mine.use(f"{number}", "0.12345")),
            ("invoice", lambda: kept(mine.invoice("3", collect=True).invoice_id)),
            ("same", lambda: mine.use("the same for all", "1")),
            ("adjust", lambda: mine.adjust("-2")),
            ("refund", lambda: mine.refund(ids[0], "5")),
            ("allocate", lambda: mine.allocate(ids[0], ids[1])),
            ("void", lambda: mine.void(ids[1])),
        ]
        for name, act in acts:
            try:
                done[name] += act() is not None
            except (LedgerError, NotNow):
                done["refused"] += 1
        return done

    done: Counter[str] = sum(at_once(*(lambda n=n: writer(n) for n in range(WRITERS))), Counter())
    assert done["same"] == 1
    assert [done[each] for each in ("pay", "use", "invoice", "adjust", "refund")] == [WRITERS] * 5
    check(engine)
    with reading(engine, (HOME,)) as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == WRITERS


def test_one_key_at_once_is_one_command(engine: Engine, hosts: list[Engine]) -> None:
    till = Till(engine)

    def send(host: Engine) -> tuple[int, dict[str, object]]:
        def do(work: UnitOfWork) -> tuple[int, dict[str, object]]:
            def pay() -> tuple[int, dict[str, object]]:
                return 200, {"payment": service.pay(work, HOME, till.customer, Decimal(5), method="cash").payment_id}

            return once(work, HOME, "key", fingerprint("ann", "POST", "/pay", 5), pay)

        return do_changing(host, till.actor, (HOME,), do)

    answers = at_once(*(lambda host=host: send(host) for host in [*hosts, *hosts]))
    assert all(answer == answers[0] for answer in answers)
    with reading(engine, (HOME,)) as session:
        assert session.scalar(select(func.count()).select_from(Xdr)) == 1
