"""A call is charged once, by the rate that held when it was allowed, whatever order nodes tell of it in."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from engine_asked import JOHN, Asking, Books, Running
from sqlalchemy import Engine, select

from databases import at_once
from goods import ANN
from ringback import clock
from ringback.billing.engine.going_on import uses as engine_uses
from ringback.billing.engine.lost import close_lost
from ringback.billing.engine.models import EngineSession
from ringback.billing.entities import service as entities
from ringback.billing.entities.errors import InUse
from ringback.billing.entities.models import TYPES, Account, Customer
from ringback.billing.ledger.queries import uses as ledger_uses
from ringback.changes.service import changing
from ringback.events import open_store
from ringback.records.engine import reading


def balances(engine: Engine) -> set[Decimal]:
    with reading(engine, ("default",)) as session:
        john = select(Customer.balance).where(Customer.name == "John Doe")
        return {session.scalars(select(Account.balance)).one(), session.scalars(john).one()}


def the_session(engine: Engine) -> EngineSession:
    with reading(engine, ("default",)) as session:
        return session.scalars(select(EngineSession)).one()


class Later:
    """A clock that is put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._shift_us = 0
        now_us = clock.now_us
        monkeypatch.setattr(clock, "now_us", lambda: now_us() + self._shift_us)

    def by(self, **interval: float) -> None:
        self._shift_us += timedelta(**interval) // timedelta(microseconds=1)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


def test_a_call_is_rated_and_charged(live: Running, books: Books, node: Asking, engine: Engine) -> None:
    allowed = node.authorize(call_id="c1", conf_id="f1")
    assert node.tell("start", call_id="c1", session=allowed["session"])["state"] == "started"
    assert node.tell("interim", call_id="c1", session=allowed["session"], seconds=30)["xdr"] is None
    done = node.tell("stop", call_id="c1", session=allowed["session"], seconds=61, cause="16")
    (xdr,) = live.xdrs()
    assert done == {"session": allowed["session"], "state": "closed",
                    "xdr": {"id": xdr.id, "amount": "0.22", "charged_seconds": 120}}  # fmt: skip
    assert (xdr.amount, xdr.seconds, xdr.charged_seconds) == (Decimal("0.22"), 61, 120)
    assert (xdr.call_id, xdr.conf_id, xdr.node, xdr.cause) == ("c1", "f1", "edge-1", "16")
    assert (xdr.rate_id, xdr.prefix, xdr.destination) == (books.made["rate"], "420", "Czech Republic")
    assert (xdr.caller, xdr.called, xdr.account_id) == (JOHN, "420222333444", books.made["account"])
    assert balances(engine) == {Decimal("0.22")}
    line = live.lines("c1", step="xdr")[-1]
    assert line.fields["xdr"] == str(xdr.id)
    assert (line.fields["amount"], line.fields["currency"]) == ("0.22", "USD")


def test_what_is_told_again_changes_nothing(live: Running, books: Books, node: Asking, engine: Engine) -> None:
    session = node.authorize(call_id="c1")["session"]
    first = node.tell("stop", call_id="c1", session=session, seconds=61)
    for event, seconds in (("stop", 61), ("stop", 500), ("start", None), ("interim", 70)):
        again = node.tell(event, call_id="c1", session=session, seconds=seconds)
        assert again == first
    assert node.tell("stop", call_id="c1", account=JOHN, seconds=61) == first, "without the session's name"
    assert len(live.xdrs()) == 1
    assert balances(engine) == {Decimal("0.22")}
    assert any("was charged for 61 s already" in line.text for line in live.lines("c1", step="stop"))


def test_a_stop_told_again_is_not_that_of_the_next_call_of_its_call_id(
    live: Running, books: Books, node: Asking, engine: Engine
) -> None:
    stop: dict[str, Any] = {"call_id": "c1", "account": JOHN, "seconds": 61,
                            "ended_at": clock.isoformat(clock.now_us() - 5_000_000)}  # fmt: skip
    node.authorize(call_id="c1")
    first = node.tell("stop", **stop)
    second = node.authorize(call_id="c1")
    assert second["session"] != first["session"]
    assert node.tell("stop", **stop) == first
    assert node.tell("stop", call_id="c1", account=JOHN, seconds=30)["session"] == second["session"]
    assert [xdr.seconds for xdr in live.xdrs()] == [61, 30]


@pytest.mark.parametrize("form", [f"+{JOHN}", "1-210-335-5787", "4420777", "+44 20 777"])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("database", ["sqlite"])
def test_an_account_is_charged_once_by_whatever_name(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later, form: str, asked: bool
) -> None:
    books.world.make("did_number", number="4420777", state="assigned", i_account=books.made["account"])
    if asked:
        node.authorize(call_id="c1", account=form)
    for event, seconds in (("start", None), ("interim", 60), ("stop", 61), ("stop", 61)):
        node.tell(event, call_id="c1", account=form, seconds=seconds)
    later.by(days=1)
    close_lost(engine)
    assert [xdr.seconds for xdr in live.xdrs()] == [61]


def test_sixteen_tell_of_the_same_end_at_once(live: Running, books: Books, node: Asking, engine: Engine) -> None:
    session = node.authorize(call_id="c1")["session"]
    told = at_once(*[partial(node.tell, "stop", call_id="c1", session=session, seconds=61)] * 16)
    assert len({each["xdr"]["id"] for each in told}) == 1
    assert len(live.xdrs()) == 1
    assert balances(engine) == {Decimal("0.22")}


def test_sixteen_calls_of_one_account_end_at_once(live: Running, books: Books, node: Asking, engine: Engine) -> None:
    calls = [f"c{number}" for number in range(16)]
    told = at_once(*[partial(node.tell, "stop", call_id=call, account=JOHN, seconds=1) for call in calls])
    assert len({each["xdr"]["id"] for each in told}) == 16
    assert balances(engine) == {Decimal("1.92")}
    with reading(engine, ("default",)) as session:
        after = [xdr.balance_after for xdr in live.xdrs()]
        assert sorted(after) == [Decimal("0.12") * number for number in range(1, 17)]
        assert session.scalars(select(EngineSession.state)).all() == ["closed"] * 16


def test_a_stop_without_a_start_is_rated_from_itself(live: Running, books: Books, node: Asking) -> None:
    done = node.tell("stop", call_id="c1", account=JOHN, seconds=10, connected_at="2026-11-20T10:00:00Z",
                     ended_at="2026-11-20T10:00:10Z")  # fmt: skip
    assert done["xdr"]["amount"] == "0.12"
    (xdr,) = live.xdrs()
    assert xdr.occurred_at.isoformat() == "2026-11-20T10:00:10+00:00"


@pytest.mark.parametrize("database", ["sqlite"])
def test_the_seconds_are_those_of_the_times_where_none_are_told(live: Running, books: Books, node: Asking) -> None:
    node.tell(
        "stop", call_id="c1", account=JOHN, connected_at="2026-11-20T10:00:00Z", ended_at="2026-11-20T10:01:01Z"
    )
    node.tell("stop", call_id="c2", account=JOHN, ended_at="2026-11-20T10:01:01Z")
    assert [xdr.seconds for xdr in live.xdrs()] == [61], "a call that nobody saw begin has not lasted"


@pytest.mark.parametrize("database", ["sqlite"])
def test_nothing_said_nothing_charged(live: Running, books: Books, node: Asking) -> None:
    session = node.authorize(call_id="c1")["session"]
    done = node.tell("stop", call_id="c1", session=session, seconds=0, cause="17")
    assert done == {"session": session, "state": "closed", "xdr": None}
    again = node.authorize(call_id="c1")
    assert again["session"] == session, "the same call tried once more"
    assert node.tell("stop", call_id="c1", session=session, seconds=5)["xdr"]["amount"] == "0.12"
    assert node.authorize(call_id="c1")["session"] != session, "what was charged is over"


def test_the_rate_is_that_of_the_moment_the_call_was_allowed(live: Running, books: Books, node: Asking) -> None:
    session = node.authorize(call_id="c1")["session"]
    books.change("rate", price_first="9", price_next="9")
    assert node.tell("stop", call_id="c1", session=session, seconds=1)["xdr"]["amount"] == "0.12"


def test_what_has_no_rate_is_not_charged_and_told(live: Running, books: Books, node: Asking) -> None:
    done = node.tell("stop", call_id="c1", account=JOHN, called="33123456789", seconds=10)
    assert (done["state"], done["xdr"]) == ("closed", None)
    (line,) = live.lines("c1", step="xdr")
    assert (line.level, line.fields["reason"]) == ("error", "destination-not-in-tariff")


@pytest.mark.parametrize("database", ["sqlite"])
def test_who_cannot_be_found_cannot_be_charged(live: Running, books: Books, node: Asking) -> None:
    for told, field in (({"account": "999"}, "account"), ({}, "account"), ({"session": "nonsense"}, "account")):
        body = {"event": "stop", "node": "edge-1", "call_id": "c1", "seconds": 5} | told
        answer = node.post("accounting", body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_call_that_goes_on_is_the_same_when_it_is_asked_for_again(
    live: Running, books: Books, node: Asking
) -> None:
    books.change("account", simultaneous_calls=1)
    session = node.authorize(call_id="c1")["session"]
    assert node.authorize(call_id="c1")["session"] == session
    node.tell("start", call_id="c1", session=session)
    assert node.authorize(call_id="c1")["session"] == session, "a re-INVITE"
    assert node.authorize(call_id="c2")["reason"] == "too-many-simultaneous-calls"
    node.tell("stop", call_id="c1", session=session, seconds=5)
    assert node.authorize(call_id="c2")["allowed"]


def test_a_lost_stop_is_charged_for_what_was_told(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later
) -> None:
    session = node.authorize(call_id="c1")["session"]
    node.tell("start", call_id="c1", session=session)
    later.by(seconds=60)
    node.tell("interim", call_id="c1", session=session, seconds=60)
    later.by(seconds=899)
    assert close_lost(engine) == 0, "not silent for long enough"
    later.by(seconds=2)
    store = open_store(f"sqlite:{live.data / 'events'}")
    assert close_lost(engine, store) == 1
    assert close_lost(engine, store) == 0
    store.close()
    (xdr,) = live.xdrs()
    assert (xdr.amount, xdr.seconds, xdr.cause) == (Decimal("0.12"), 60, "lost")
    assert node.tell("stop", call_id="c1", session=session, seconds=60)["xdr"]["id"] == xdr.id
    assert len(live.xdrs()) == 1
    stop, *_ = [line for line in live.lines("c1", step="stop") if line.fields.get("cause") == "lost"]
    assert "the last word was 60 s" in stop.text


def test_what_is_told_after_the_end_was_taken_for_lost_is_charged_too(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later
) -> None:
    session = node.authorize(call_id="c1")["session"]
    node.tell("start", call_id="c1", session=session)
    for seconds in (60, 1_060):  # two silences
        later.by(seconds=seconds - 60)
        node.tell("interim", call_id="c1", session=session, seconds=seconds)
        later.by(seconds=901)
        assert close_lost(engine) == 1
    done = node.tell("stop", call_id="c1", session=session, seconds=1_100, cause="16")
    assert node.tell("stop", call_id="c1", session=session, seconds=1_100) == done
    xdrs = live.xdrs()
    assert [(xdr.seconds, xdr.charged_seconds, xdr.cause) for xdr in xdrs] == [
        (60, 60, "lost"), (1_000, 1_020, "lost"), (40, 60, "16"),
    ]  # fmt: skip
    assert sum(xdr.amount for xdr in xdrs) == Decimal("0.12") + 18 * Decimal("0.10"), "as if it were one"
    assert done["xdr"]["id"] == xdrs[-1].id
    assert balances(engine) == {Decimal("1.92")}
    with reading(engine, ("default",)) as found:
        assert found.scalars(select(EngineSession.state)).all() == ["closed"]


def test_a_call_that_is_answered_after_its_ringing_lapsed_goes_on(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later
) -> None:
    books.change("account", simultaneous_calls=1)
    session = node.authorize(call_id="c1")["session"]
    later.by(seconds=301)
    close_lost(engine)
    assert node.tell("start", call_id="c1", session=session)["state"] == "started"
    assert node.authorize(call_id="c2")["reason"] == "too-many-simultaneous-calls"
    later.by(seconds=60)
    node.tell("interim", call_id="c1", session=session, seconds=60)
    later.by(hours=2)
    assert close_lost(engine) == 1
    assert [xdr.seconds for xdr in live.xdrs()] == [60]


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_node_whose_clock_is_ahead_keeps_no_call_open(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later
) -> None:
    session = node.authorize(call_id="c1")["session"]
    times = {"connected_at": "2199-01-01T00:00:00Z"}
    node.tell("start", call_id="c1", session=session, **times)
    later.by(seconds=14_461)
    assert close_lost(engine) == 1
    node.tell("stop", call_id="c1", session=session, **times, ended_at="2199-01-01T00:01:01Z")
    (xdr,) = live.xdrs()
    assert (xdr.seconds, xdr.occurred_at <= clock.now()) == (61, True)


@pytest.mark.parametrize("database", ["sqlite"])
def test_what_no_xdr_can_keep_is_told_and_holds_up_nothing(live: Running, books: Books, node: Asking) -> None:
    books.change("rate", price_first="999999999", price_next="999999999")
    done = node.tell("stop", call_id="c1", account=JOHN, seconds=10_000_000)
    assert (done["state"], done["xdr"]) == ("closed", None)
    (line,) = live.lines("c1", step="xdr")
    assert (line.level, "are not charged" in line.text) == ("error", True)


def test_a_call_of_which_nobody_tells_ends_after_its_longest_time(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later
) -> None:
    books.change("account", simultaneous_calls=1)
    session = node.authorize(call_id="c1")["session"]
    node.tell("start", call_id="c1", session=session)
    later.by(seconds=14_400)
    assert close_lost(engine) == 0
    assert node.authorize(call_id="c2")["reason"] == "too-many-simultaneous-calls"
    later.by(seconds=61)
    assert close_lost(engine) == 1
    assert live.xdrs() == [], "nobody told that anything was said"
    assert node.authorize(call_id="c2")["allowed"]
    late = node.tell("stop", call_id="c1", session=session, seconds=14_000)
    assert late["xdr"]["charged_seconds"] == 14_040, "its true end came late"


def test_an_account_whose_call_goes_on_is_not_deleted(
    books: Books, node: Asking, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entities, "_needed", [engine_uses, ledger_uses])
    allowed = node.authorize(call_id="c1")
    node.tell("start", call_id="c1", session=allowed["session"])
    with pytest.raises(InUse, match="1 call going on") as refused, changing(engine, ANN, ("default",)) as work:
        entities.delete(work, TYPES["account"], "default", books.made["account"])
    (use,) = refused.value.uses
    assert use.path == f"accounts/{books.made['account']}/sessions"
    node.tell("stop", call_id="c1", session=allowed["session"], seconds=0)
    with changing(engine, ANN, ("default",)) as work:
        entities.delete(work, TYPES["account"], "default", books.made["account"])


def test_a_call_that_was_never_answered_lapses(
    live: Running, books: Books, node: Asking, engine: Engine, later: Later
) -> None:
    books.change("product", simultaneous_calls=1)
    node.authorize(call_id="c1")
    later.by(seconds=299)
    assert node.authorize(call_id="c2")["reason"] == "too-many-simultaneous-calls"
    later.by(seconds=2)
    assert node.authorize(call_id="c2")["allowed"], "before the work role has looked"
    later.by(seconds=301)
    close_lost(engine)
    with reading(engine, ("default",)) as session:
        assert session.scalars(select(EngineSession.state)).all() == ["lost", "lost"]
    later.by(days=8)
    close_lost(engine)
    with reading(engine, ("default",)) as session:
        assert session.scalars(select(EngineSession.id)).all() == []


@pytest.mark.parametrize("way", ["account", "product", "option"])
def test_calls_asked_for_at_once_are_never_more_than_the_limit(
    live: Running, books: Books, node: Asking, engine: Engine, way: str
) -> None:
    if way == "option":
        live.configured.given["Engine.Simultaneous_Calls"] = 3
    else:
        books.change(way, simultaneous_calls=3)
    asked: list[dict[str, Any]] = at_once(*[partial(node.authorize, call_id=f"c{number}") for number in range(16)])
    assert sum(each["allowed"] for each in asked) == 3
    assert {each["reason"] for each in asked} == {"", "too-many-simultaneous-calls"}
    with reading(engine, ("default",)) as session:
        assert len(session.scalars(select(EngineSession.id)).all()) == 3


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_charge_that_reaches_the_limit_stops_the_next_call(books: Books, node: Asking) -> None:
    books.change("customer", credit_limit="0.20")
    session = node.authorize(call_id="c1")["session"]
    node.tell("stop", call_id="c1", session=session, seconds=60)
    assert node.authorize(call_id="c2")["reason"] == "credit-limit-reached"
