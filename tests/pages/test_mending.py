"""Links from an issue to the pages where it is mended: for who may go there, and to nothing that is not ours."""

from __future__ import annotations

import pytest

from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.sessions.correlate import build_session
from ringback.sessions.pages.mending import links
from ringback.sessions.story import Issue, Mend, Session
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
