"""What pages ask for besides the lists of the API, on both databases; and when an effect is no longer what was shown."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from ledgers import HOME, Till
from sqlalchemy import Engine

from audited import ANN
from ringback.billing.ledger import pages_queries, queries, service
from ringback.billing.ledger.pages_effect import digest
from ringback.billing.ledger.paging import Asked
from ringback.changes.service import do_changing
from ringback.records.engine import reading


def test_xdrs_of_one_service_and_all_pages_of_them(engine: Engine) -> None:
    till = Till(engine)
    for number in range(3):
        till.use(f"call {number}", "0.1")
    till.charge("5", till.account)
    do_changing(
        engine, ANN, (HOME,),
        lambda work: service.charge(work, HOME, till.customer, Decimal(2), "Internet", service="data"),
    )  # fmt: skip
    with reading(engine, (HOME,)) as session:
        voice = Asked({"service": "voice"}, "occurred_at")
        found = queries.xdrs(session, voice, customer_id=till.customer)
        assert [each.service for each in found.rows] == ["voice"] * 3
        for services, count in (("voice,data", 4), ("data", 1), ("iptv", 0)):
            assert len(queries.xdrs(session, Asked({"service": services}), customer_id=till.customer).rows) == count
        assert len(list(pages_queries.every_xdr(session, voice, customer_id=till.customer))) == 3
        assert len(list(pages_queries.every_xdr(session, Asked(), account_id=till.account))) == 4


def test_a_whole_invoice(engine: Engine) -> None:
    till = Till(engine)
    till.charge("5", till.account)
    invoice = till.invoice("95", collect=True).invoice_id or 0
    till.adjust("-30", invoice)
    till.pay("60")
    with reading(engine, (HOME,)) as session:
        whole = pages_queries.whole_invoice(session, HOME, invoice)
        assert (whole.due, whole.settlement, whole.provider) == (Decimal(10), "partially_paid", "Default")
        assert [each.amount for each in whole.adjustments] == [Decimal(-30)]
        assert [each.amount for each in whole.allocations] == [Decimal(60)]
        assert list(whole.accounts) == [till.account]
        assert pages_queries.numbers(session, [invoice]) == {invoice: 1}
        assert pages_queries.drafts(session, till.customer) == 0
        assert pages_queries.has_funds(session, till.customer)


def test_an_effect_is_the_same_until_something_moves(engine: Engine) -> None:
    till = Till(engine)
    till.invoice("100")

    def tried(amount: str) -> str:
        return digest(
            service.preview(
                engine, ANN, HOME, lambda work: service.pay(work, HOME, till.customer, Decimal(amount), method="card")
            )
        )

    def drafted() -> str:
        return digest(
            service.preview(
                engine, ANN, HOME,
                lambda work: service.draft(work, HOME, till.customer, collect=True, issued=True),
            )
        )  # fmt: skip

    assert tried("60") == tried("60") != tried("61")
    till.charge("5")
    shown = drafted()
    assert drafted() == shown, "the id and number of a new invoice are no part of it"
    done = till.do(lambda work: service.draft(work, HOME, till.customer, collect=True, issued=True))
    assert digest(done) == shown == digest(replace(done, invoice_id=None, xdr_ids=()))
    before = tried("60")
    till.pay("1")
    assert tried("60") != before
