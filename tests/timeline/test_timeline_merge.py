"""The merge: pages of a history together are the history, newest first, whatever its ties and the length of a page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from histories import HOME, NOON, SECOND, History, reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from ringback.access.permissions import Role
from ringback.events import open_store
from ringback.events.store import EventStore
from ringback.records.engine import open_engine
from ringback.sessions.books import Books
from ringback.sessions.diagnose import load_catalogue
from ringback.sessions.service import SessionService
from ringback.timeline import service
from ringback.timeline.schemas import KINDS, Asked, BadPlace, Kind, Page, Row, Source, Subject
from ringback.timeline.sources import sources_of

HOUR = 3600 * SECOND
ALL = Asked(NOON - HOUR, NOON + HOUR)


class Place:
    """One database and one event store for many customers."""

    def __init__(self, engine: Engine, events: EventStore) -> None:
        self.engine, self.events = engine, events
        self.sessions = SessionService(events, load_catalogue(None), books=Books(engine))

    def history(self, name: str = "Jerry Price", us: int = NOON - 2 * HOUR) -> History:
        return History(self.engine, self.events, name, us)

    def sources(self, of: History, role: Role = Role.ADMINISTRATOR, account: bool = False) -> list[Source]:
        subject = Subject(HOME, of.customer, of.account if account else None)
        return sources_of(self.engine, self.sessions, reader(role), subject)

    def page(self, of: History, asked: Asked = ALL, role: Role = Role.ADMINISTRATOR, **more: Any) -> Page:
        account = bool(more.pop("account", False))
        subject = Subject(HOME, of.customer, of.account if account else None)
        sources = self.sources(of, role, account)
        return service.page(sources, reader(role), subject, asked, **more)

    def pages(self, of: History, limit: int, asked: Asked = ALL, **more: Any) -> list[Page]:
        found = [self.page(of, asked, limit=limit, **more)]
        while (cursor := found[-1].cursor) is not None:
            assert len(found) < 500, "it never ends"
            found.append(self.page(of, asked, limit=limit, cursor=cursor, **more))
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("timeline")
    path = folder / "records.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    engine, events = open_engine(f"sqlite:///{path}"), open_store(f"sqlite:{folder / 'events'}")
    yield Place(engine, events)
    events.close()
    engine.dispose()


def ids(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row.what, row.id, row.sentence) for row in rows]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["charge", "use", "pay", "invoice", "void", "block", "call"]), st.integers(0, 4)),
    max_size=10,
)  # fmt: skip


@settings(
    max_examples=25, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(happened=EVENTS, limit=st.integers(1, 9), last=st.sampled_from([0, 2, 5]))
def test_pages_together_are_every_row_of_every_source_once_newest_first(
    place: Place, happened: list[tuple[str, int]], limit: int, last: int
) -> None:
    """Many of them at the same microsecond."""
    of = place.history()
    if "pay" in {what for what, _ in happened}:  # what is paid cannot be void
        happened = [("invoice" if what == "void" else what, second) for what, second in happened]
    wanted: list[tuple[str, int]] = []
    for number, (what, second) in enumerate(sorted(happened, key=lambda each: each[1])):
        us = NOON + second * SECOND
        match what:
            case "charge":
                of.charge(us)
            case "use":
                of.use(us, f"call-{number}")
            case "pay":
                of.pay(us)
            case "invoice":
                of.invoice(us)
            case "void":
                of.void(us, of.invoice(us, "7"))
            case "block":
                of.block(us, blocked=number % 2 == 0)
            case "call":
                of.call(us)
        wanted.append((what, us))
    asked = Asked(ALL.start_us, NOON + last * SECOND)
    shown = [row for page in place.pages(of, limit, asked) for row in page.rows]
    alone = [list(each.rows(asked.start_us, asked.end_us, "", 1000).rows) for each in place.sources(of)]
    assert ids(shown) == ids(sorted((row for rows in alone for row in rows), key=lambda row: -row.at_us))
    assert all(asked.start_us <= row.at_us < asked.end_us for row in shown)
    # What the sources tell is what happened.
    counts = {what: sum(row.what == what for row in shown) for what in ("session", "invoice", "xdr")}
    before = [what for what, us in wanted if us < asked.end_us]
    assert counts["session"] == before.count("call")
    assert counts["invoice"] == before.count("invoice") + 2 * before.count("void")
    assert counts["xdr"] >= before.count("charge") + before.count("use") + before.count("pay")


def test_what_is_written_while_somebody_pages_neither_repeats_nor_hides_a_row(place: Place) -> None:
    of = place.history()
    for second in range(12):
        of.charge(NOON + second * SECOND)
        of.call(NOON + second * SECOND)
    before = [row for page in place.pages(of, 500) for row in page.rows]
    page, shown = place.page(of, limit=5), []
    for second in range(20, 400):
        shown += page.rows
        if page.cursor is None:
            break
        of.call(NOON + second * SECOND)
        of.charge(NOON + second * SECOND)
        page = place.page(of, limit=5, cursor=page.cursor)
    assert ids([row for row in shown if row.kind != "changes"]) == ids(
        [row for row in before if row.kind != "changes"]
    )
    assert all(newer.at_us >= older.at_us for newer, older in pairwise(shown))


def test_a_session_of_two_legs_that_begin_apart_is_one_row_over_all_pages(place: Place) -> None:
    """Its legs match at different times, with other calls between them."""
    of = place.history()
    of.call(NOON, keys={"icid:both"})
    for second in range(1, 9):
        of.call(NOON + second * SECOND)
    of.call(NOON + 9 * SECOND, keys={"icid:both"})
    for limit in (1, 2, 3, 50):
        rows = [row for page in place.pages(of, limit, Asked(NOON, NOON + HOUR, ("sessions",))) for row in page.rows]
        assert len({row.id for row in rows}) == len(rows) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone_is_what_all_show_of_it(place: Place, kind: Kind) -> None:
    of = place.history()
    of.charge(NOON)
    of.void(NOON + 2 * SECOND, of.invoice(NOON + SECOND))
    of.call(NOON + 3 * SECOND)
    whole, alone = place.page(of).rows, place.page(of, Asked(ALL.start_us, ALL.end_us, (kind,))).rows
    assert alone
    assert ids(alone) == ids([row for row in whole if row.kind == kind])


@pytest.mark.parametrize(
    "text",
    ["charge", "CHARGE:", "(usa free)", "18660333777", "free), 60333", "120 modem", "account", "to was", "a", "60 card",
     "mistake", "ann", "void 1", "straße", "%", "_", "\\", "(", ":", "7 was made void", "1 202"],
)  # fmt: skip
@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.READ_ONLY])
def test_words_find_exactly_the_rows_in_which_they_are_read(place: Place, text: str, role: Role) -> None:
    of = place.history()
    of.charge(NOON, text="Modem, 100 % Straße")
    of.use(NOON + SECOND, "one", seconds=1202)
    of.use(NOON + SECOND, "two", called="4420")
    of.void(NOON + 3 * SECOND, of.invoice(NOON + 2 * SECOND, "7"))
    of.pay(NOON + 4 * SECOND)
    of.call(NOON + 5 * SECOND)
    words = tuple(text.split())
    shown = place.page(of, role=role).rows
    wanted = [row for row in shown if all(word.lower() in f"{row.sentence} {row.detail}".lower() for word in words)]
    found = [
        row for page in place.pages(of, 2, Asked(ALL.start_us, ALL.end_us, (), words), role=role) for row in page.rows
    ]
    assert ids(found) == ids(wanted)


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_words_find_what_is_told_on_whichever_page(place: Place, limit: int) -> None:
    of = place.history()
    for second in range(10):
        of.charge(NOON + second * SECOND)
        of.call(NOON + second * SECOND, called="4420" if second % 3 else "33144556677")
    asked = Asked(NOON, NOON + HOUR, words=("33144556677", "FORBIDDEN"))
    rows = [row for page in place.pages(of, limit, asked) for row in page.rows]
    assert [row.at_us for row in rows] == [NOON + second * SECOND for second in (9, 6, 3, 0)]


def test_a_search_for_words_that_takes_too_long_says_how_far_it_came_and_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = place.history()
    for second in range(30):
        of.call(NOON + second * SECOND, outcome="answered" if second % 10 else "failed")
        of.charge(NOON + second * SECOND)
    monkeypatch.setattr(service, "WORDS_SECONDS", -1.0)
    monkeypatch.setattr(service, "WORDS_ROWS", 4)
    asked = Asked(NOON, NOON + HOUR, ("money", "sessions"), ("forbidden",))
    pages = place.pages(of, 10, asked)
    assert pages[0].searched_until_us == NOON + 26 * SECOND
    assert pages[0].rows == []
    assert [row.at_us for page in pages for row in page.rows] == [NOON + at * SECOND for at in (20, 10, 0)]
    assert pages[-1].searched_until_us is None


def test_rows_of_one_cause_are_one_group(place: Place) -> None:
    of = place.history()
    of.invoice(NOON)
    of.pay(NOON + SECOND)
    of.block(NOON + 2 * SECOND)
    call = of.call(NOON + 3 * SECOND, outcome="answered")
    of.use(NOON + 4 * SECOND, call)
    rows = place.page(of, Asked(NOON, NOON + HOUR)).rows
    groups = service.groups(rows)
    by_group: dict[int, list[str]] = {}
    for row, group in zip(rows, groups, strict=True):
        by_group.setdefault(group, []).append(row.what)
    assert sorted(by_group) == [0, 1, 2, 3]
    assert by_group[0] == ["audit_record"]  # the account was blocked: nothing else comes of it
    assert by_group[1] == ["xdr", "session"]
    paid, issued = by_group[2], by_group[3]
    assert paid.count("xdr") == 1
    assert issued.count("invoice") == 1
    assert issued.count("xdr") == 1  # its line was charged
    assert paid.count("audit_record") >= 3


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "e30", "_", "WyJhIiwxLDIse31d"])
def test_what_is_no_place_in_the_list_is_told(place: Place, cursor: str) -> None:
    with pytest.raises(BadPlace):
        place.page(place.history(), cursor=cursor)


def test_a_place_of_another_list_is_none_of_this(place: Place) -> None:
    one, other = place.history(), place.history()
    for second in range(4):
        one.charge(NOON + second * SECOND)
    cursor = place.page(one, limit=2).cursor
    assert cursor
    for of, asked in (
        (other, ALL),
        (one, Asked(ALL.start_us, ALL.end_us, ("money",))),
        (one, Asked(0, 9, (), ("x",))),
    ):
        with pytest.raises(BadPlace):
            place.page(of, asked, cursor=cursor)
    with pytest.raises(BadPlace):
        place.page(one, cursor=cursor, role=Role.API, account=True)


def test_an_account_has_its_own_rows_and_its_customer_those_of_all(place: Place) -> None:
    of = place.history()
    of.invoice(NOON)
    of.use(NOON + SECOND, "c")
    of.call(NOON + SECOND)
    rows = place.page(of, Asked(NOON, NOON + HOUR, ("money", "sessions")), account=True).rows
    assert sorted(row.what for row in rows) == ["session", "xdr"]
    assert {"invoice", "session", "xdr"} == {row.what for row in place.page(of).rows} - {"audit_record"}


@pytest.mark.parametrize("limit", [1, 4])
def test_both_databases_page_alike(engine: Engine, tmp_path: Path, limit: int) -> None:
    events = open_store(f"sqlite:{tmp_path / 'events'}")
    place = Place(engine, events)
    of = place.history()
    for second in (0, 1, 1, 2):
        of.charge(NOON + second * SECOND)
        of.call(NOON + second * SECOND)
        of.void(NOON + second * SECOND, of.invoice(NOON + second * SECOND))
    rows = [row for page in place.pages(of, limit) for row in page.rows]
    assert ids(rows) == ids(place.page(of, limit=200).rows)
    assert [sum(row.what == what for row in rows) for what in ("session", "invoice", "xdr")] == [4, 8, 12]
    for text in ("mod", "MODEM", "%", "was"):
        words = Asked(ALL.start_us, ALL.end_us, words=(text,))
        found = [row for page in place.pages(of, limit, words) for row in page.rows]
        told = [row for row in rows if text.lower() in f"{row.sentence} {row.detail}".lower()]
        assert ids(found) == ids(told), text
    events.close()
