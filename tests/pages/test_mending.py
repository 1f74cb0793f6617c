"""Links from an issue to the pages where it is mended: for who may go there, and to nothing that is not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.sessions.correlate import build_session
from ringback.sessions.pages.mending import Charges, charges, links
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.story import Entry, Issue, LogLine, Mend, Session
from scenario import play

ALL = frozenset(Permission)


@pytest.fixture(scope="module")
def session() -> Session:
    return build_session(
        play(
            "a = 198.51.100.23:5060\nb = 192.0.2.10:5060\n0 a -> b INVITE sip:1@acme.example from=2\n+.01 b -> a 403"
        ).sightings
    )


def found(session: Session, id_: str, *mend: Mend, permissions: frozenset[Permission] = ALL) -> list[tuple[str, str]]:
    issue = Issue(id_, "critical", "", "", 1.0, (), (), (), mend=mend)
    reader = Principal("user", "ann", ("default",), permissions)
    return [(one.text, one.href.partition("?")[0]) for one in links(issue, session, reader)]


def test_the_entity_and_what_changed_it_before(session: Session) -> None:
    assert found(session, "account-blocked", Mend("account", 7)) == [
        ("Open the account", "/accounts/7"), ("Earlier changes of “Blocked”", "/audit"),
    ]  # fmt: skip
    assert found(session, "customer-suspended", Mend("customer", 3))[1][0] == "Earlier changes of “Bill status”"
    assert found(session, "service-not-in-product", Mend("product", 5)) == [("Open the product", "/products/5")]


def test_the_changes_end_with_the_session(session: Session) -> None:
    issue = Issue("account-blocked", "critical", "", "", 1.0, (), (), (), mend=(Mend("account", 7),))
    href = links(issue, session, Principal("user", "ann", ("default",), ALL))[1].href
    assert href.startswith("/audit?from=2025-")
    assert "to=2026-11-22T12%3A00%3A00.010000Z&type=account&property=blocked&id=7" in href


def test_only_what_the_reader_may_open(session: Session) -> None:
    rate = Mend("rate", 12)
    assert found(session, "destination-forbidden", rate, permissions=ALL - {Permission.AUDIT_READ}) == [
        ("Open the rate", "/rates/12")
    ]
    without = ALL - {Permission.CATALOGUE_READ}
    assert found(session, "destination-forbidden", rate, permissions=without) == [
        ("Earlier changes of “Forbidden”", "/audit")
    ]
    assert found(session, "destination-forbidden", rate, permissions=frozenset({Permission.SESSIONS_READ})) == []
    issue = Issue("destination-forbidden", "critical", "", "", 1.0, (), (), (), mend=(rate,))
    assert links(issue, session, None) == []


def test_what_another_engine_names_is_no_entity_of_ours(session: Session) -> None:
    assert found(session, "destination-forbidden", Mend("price_list", 12), Mend("../../login", 1)) == []


def test_what_was_charged_is_of_our_engine_and_for_who_sees_customers(session: Session) -> None:
    def line(number: int, call_id: str, **fields: str) -> Entry:
        log = LogLine(session.ended_us, "billing", "edge", "info", "An xDR.", call_id, fields)
        return Entry(number, session.ended_us, "billing", "edge", log.text, log=log)

    ours = {"engine": "ringback", "step": "xdr"}
    billed = replace(
        session,
        entries=[
            *session.entries, line(11, "a@x", **ours, xdr="2204"), line(12, "a@x", **ours, xdr="2205"),
            line(13, "b&c@x", **ours, xdr="2206"), line(14, "d@x", **ours, xdr=""), line(15, "e@x", **ours, xdr="../1"),
            line(16, "f@x", engine="other", step="xdr", xdr="7"), line(17, "g@x", engine="ringback", step="stop"),
        ],
    )  # fmt: skip
    reader = Principal("user", "ann", ("default",), ALL)
    found = charges(OpenedSession("s", billed, []), reader)
    assert {number: (one.text, one.href) for number, one in found.lines.items()} == {
        11: ("xDR 2204", "/xdrs/2204"), 12: ("xDR 2205", "/xdrs/2205"), 13: ("xDR 2206", "/xdrs/2206"),
    }  # fmt: skip
    assert [(one.text, one.href) for one in found.calls] == [
        ("What was charged", "/xdrs?call_id=a%40x"), ("What was charged (2)", "/xdrs?call_id=b%26c%40x"),
    ]  # fmt: skip
    without = replace(reader, permissions=ALL - {Permission.CUSTOMERS_READ})
    for opened, who in (
        (OpenedSession("s", billed, [], masked=True), reader), (OpenedSession("s", billed, []), None),
        (OpenedSession("s", billed, []), without), (OpenedSession("s", session, []), reader),
    ):  # fmt: skip
        assert charges(opened, who) == Charges()
