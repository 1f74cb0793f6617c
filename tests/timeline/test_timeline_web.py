"""The timeline as a program and a person get it: links, kinds that are withheld or away, masks, limits, and what is noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from histories import HOME, SECOND, History, reader
from starlette.testclient import TestClient

from actors import by_tester
from audited import records
from ringback import clock
from ringback.access.dependencies import require_login, require_user
from ringback.access.permissions import Permission, Role
from ringback.access.schemas import Principal
from ringback.app import create_app
from ringback.billing.entities.models import Account
from ringback.billing.entities.numbers import MOST_NAMES
from ringback.events import StoreAway
from ringback.events.store import LegQuery
from ringback.settings import load_settings

NASTY = '<img src=x onerror="alert(1)">'


class Site:
    def __init__(self, client: TestClient) -> None:
        self.client, self.asks = client, reader()
        app: Any = client.app
        app.dependency_overrides[require_login] = lambda: self.asks
        app.dependency_overrides[require_user] = lambda: self.asks
        self.engine, self.events = app.state.records, app.state.events
        self.now = clock.now_us() - 60 * SECOND

    def history(self, name: str = "Jerry Price") -> History:
        """With something of each kind, a few seconds apart, of this hour."""
        of = History(self.engine, self.events, name, self.now - 10 * SECOND)
        of.invoice(self.now - 8 * SECOND)
        of.pay(self.now - 6 * SECOND)
        of.use(self.now - 4 * SECOND, of.call(self.now - 5 * SECOND, outcome="answered"))
        of.call(self.now - 3 * SECOND)
        return of

    def timeline(self, of: History, status: int = 200, account: bool = False, **asked: Any) -> Any:
        path = f"accounts/{of.account}" if account else f"customers/{of.customer}"
        answer = self.client.get(f"/api/v1/{path}/timeline", params=asked)
        assert answer.status_code == status, answer.text
        return answer.json()

    def page(self, of: History, status: int = 200, account: bool = False, **asked: Any) -> str:
        path = f"accounts/{of.account}" if account else f"customers/{of.customer}"
        answer = self.client.get(f"/{path}/timeline", params=asked)
        assert answer.status_code == status, answer.text
        return answer.text

    @contextmanager
    def asked_by(self, who: Principal) -> Iterator[None]:
        before, self.asks = self.asks, who
        try:
            yield
        finally:
            self.asks = before

    @contextmanager
    def without(self, *permissions: Permission) -> Iterator[None]:
        with self.asked_by(replace(self.asks, permissions=self.asks.permissions - set(permissions))):
            yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    app = create_app(load_settings({}, data=tmp_path_factory.mktemp("timeline") / "data"))
    with TestClient(app, base_url="http://ringback.test", follow_redirects=False) as client:
        yield Site(client)


def test_a_program_reads_what_happened_with_links_and_amounts(site: Site) -> None:
    of = site.history()
    answer = site.timeline(of)
    assert answer["missing"] == answer["notes"] == []
    assert answer["cursor"] is answer["searched_until"] is None
    rows = answer["rows"]
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    refused = rows[0]
    assert refused["sentence"] == f"Call from {of.number} to 18660333777: failed with 403 Forbidden"
    assert (refused["kind"], refused["what"], refused["outcome"]) == ("sessions", "session", "failed")
    used = next(row for row in rows if row["what"] == "xdr")
    assert used["sentence"] == "Voice to 18660333777 (USA toll free) was charged"
    assert (used["amount"], used["balance_after"], used["currency"]) == ("0.12", "40.12", "USD")
    assert used["detail"] == f"account {of.number}, 120 s charged"
    talked = next(row for row in rows if row["what"] == "session" and row["outcome"] == "answered")
    assert used["group"] == talked["group"] is not None
    issued = next(row for row in rows if row["what"] == "invoice")
    assert issued["sentence"].startswith("Invoice 1 of 100.00 USD was issued, due on ")
    [payment] = [row for row in rows if row["sentence"] == "Payment by card"]
    assert payment["amount"] == "-60.00"
    together = [row["sentence"] for row in rows if row["group"] == payment["group"]]
    assert any("Balance of customer" in each for each in together)
    assert any("changed from Unpaid to Partially paid" in each for each in together)
    for row in rows:
        if row["what"] != "session":  # whose messages are not stored here
            assert site.client.get(row["page"]).status_code == 200, row["page"]


def test_a_page_shows_the_same_and_leads_on(site: Site) -> None:
    of = site.history()
    for _ in range(60):
        of.block(site.now - 2 * SECOND)
        of.block(site.now - 2 * SECOND, blocked=False)
    text = site.page(of)
    assert f"Timeline of Jerry Price {of.number}" in text
    assert text.count('<td class="nowrap when">') == 50
    older = text.split('rel="next"')[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&")
    second = site.client.get(older)
    assert second.status_code == 200
    assert 'class="btn" href="' in second.text
    assert "Newest" in second.text
    assert site.page(of, kind="sessions").count('<td class="nowrap when">') == 2
    assert 'hx-get="/sessions/issues?id=' in site.page(of, kind="sessions")
    for path in (f"/customers/{of.customer}", f"/accounts/{of.account}"):
        assert f'href="{path}/timeline"' in site.client.get(path).text
    assert f'href="/customers/{of.customer}/timeline"' in site.page(of, account=True)


@pytest.mark.parametrize(
    ("permission", "kind", "left"),
    [
        (Permission.SESSIONS_READ, "sessions", {"money", "changes"}),
        (Permission.AUDIT_READ, "changes", {"sessions", "money"}),
    ],
)
def test_a_kind_that_the_reader_may_not_see_is_told(
    site: Site, permission: Permission, kind: str, left: set[str]
) -> None:
    of = site.history()
    with site.without(permission):
        answer = site.timeline(of)
        assert {row["kind"] for row in answer["rows"]} == left
        [missing] = answer["missing"]
        assert (missing["kind"], missing["why"]) == (kind, "not allowed")
        assert permission in missing["text"]
        assert permission in site.timeline(of, 403, kind=kind)["detail"]
        assert f"take the permission {permission}" in site.page(of)
        assert f"take the permission {permission}" in site.page(of, 403, kind=kind)
    with site.without(Permission.CUSTOMERS_READ):
        site.timeline(of, 403)
        site.page(of, 403)


def test_an_event_store_that_is_away_leaves_the_rest_and_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    of = site.history()
    whole = site.timeline(of)["rows"]

    def away(*_: object, **__: object) -> None:
        raise StoreAway("no node answers at search.example:9200")

    with monkeypatch.context() as broken:
        broken.setattr(site.events, "search", away)
        answer = site.timeline(of, limit=4)
        assert answer["rows"] == [each | {"group": row["group"]} for each, row in zip(
            [row for row in whole if row["kind"] != "sessions"][:4], answer["rows"], strict=True)]  # fmt: skip
        [missing] = answer["missing"]
        assert (missing["kind"], missing["why"]) == ("sessions", "away")
        assert "no node answers at search.example:9200" in missing["text"]
        assert "no node answers" in site.timeline(of, 503, kind="sessions")["detail"]
        text = site.page(of)
        assert 'role="alert"' in text
        assert "<b>Sessions are missing here.</b> Sessions could not be read: no node answers" in text
        alone = site.page(of, 503, kind="sessions")
        assert "no node answers" in alone
        assert "Nothing here" not in alone
    # It is back: what it has before the last row that was shown follows, nothing twice, nothing out of its order.
    shown = answer["rows"]
    rest = site.timeline(of, cursor=answer["cursor"], limit=200)["rows"]
    assert [row["at"] for row in rest] == sorted((row["at"] for row in rest), reverse=True)
    assert rest[0]["at"] <= shown[-1]["at"]
    told = [(row["what"], row["id"]) for row in shown + rest]
    assert len(set(told)) == len(told)
    older = [(row["what"], row["id"]) for row in whole if row["at"] < shown[-1]["at"]]
    assert set(older) <= set(told)


def test_who_may_not_see_personal_data_sees_none_and_finds_nothing_by_it(site: Site) -> None:
    of = site.history("Zebulon Quagmire")
    assert of.number in site.page(of)
    assert site.timeline(of, words=of.number)["rows"]
    with site.asked_by(reader(Role.READ_ONLY)):
        for text in (site.page(of), str(site.timeline(of)), site.page(of, account=True)):
            for told in (of.number, "18660333777", "Zebulon", "Quagmire"):
                assert told not in text
        assert len(site.timeline(of)["rows"]) > 5
        for words in (of.number, "18660333777", "Quagmire", "zebulon"):
            assert site.timeline(of, words=words)["rows"] == []
        assert site.timeline(of, words="forbidden 403")["rows"]


def test_that_somebody_read_it_is_noted_and_is_no_part_of_it(site: Site) -> None:
    of = site.history()
    site.timeline(of)
    site.page(of, account=True)
    with site.asked_by(reader(Role.READ_ONLY)):
        site.timeline(of)
        site.page(of)
    noted = [each for each in records(site.engine, action="timeline.read") if each.customer_id == of.customer]
    assert [(each.entity_type, each.entity_id) for each in noted] == [
        ("customer", str(of.customer)), ("account", str(of.account)),
    ]  # fmt: skip
    assert not [row for row in site.timeline(of)["rows"] if "timeline" in row["sentence"]]
    log = site.client.get(f"/customers/{of.customer}/audit?kind=read").text
    assert f"in the timeline of customer Jerry Price {of.number}, personal data included" in log


def test_a_customer_with_many_accounts_is_asked_for_at_once_and_the_limit_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = site.history()
    with by_tester(site.engine) as work:
        mine = work.get_one(Account, of.account)
        work.add_all(
            Account(
                environment=HOME, charging_id=f"{of.number}{number:04}", customer_id=of.customer, balance=0,
                product_id=mine.product_id, created_at=clock.now(),
            )
            for number in range(500)
        )  # fmt: skip
    asked: list[LegQuery] = []
    real = site.events.search

    def counted(query: LegQuery, *rest: Any, **more: Any) -> Any:
        asked.append(query)
        return real(query, *rest, **more)

    monkeypatch.setattr(site.events, "search", counted)
    answer = site.timeline(of, kind="sessions")
    assert len(answer["rows"]) == 2
    assert len(asked) <= 4
    assert f"first {MOST_NAMES} numbers and logins" in answer["notes"][0]
    assert f"first {MOST_NAMES} numbers and logins" in site.page(of)
    assert site.timeline(of, account=True)["notes"] == []


def test_what_cannot_be_understood_is_told_at_its_field(site: Site) -> None:
    of = site.history()
    by_api: list[tuple[dict[str, Any], str]] = [
        ({"from": "yesterday"}, "from"),
        ({"from": "-1h", "to": "-2h"}, "from"),
        ({"cursor": "nonsense"}, "cursor"),
    ]
    for asked, field in by_api:
        assert site.timeline(of, 400, **asked)["field"] == field
    site.timeline(of, 422, kind="weather")
    on_page: list[tuple[dict[str, Any], str]] = [
        ({"from": "yesterday"}, "from"),
        ({"last": "9d"}, "last"),
        ({"kind": "weather"}, "kind"),
    ]
    for asked, field in on_page:
        assert f'id="error-{field}"' in site.page(of, 400, **asked)
    assert "The list cannot go on from there" in site.page(of, 400, cursor="nonsense")
    answer = site.client.get(f"/customers/{of.customer}/timeline?from=2026-01-01T00:00&words=a")
    assert answer.status_code == 303
    assert "from=2026-01-01T00%3A00%3A00.000000Z" in answer.headers["location"]


def test_nothing_is_told_with_the_next_thing_to_do(site: Site) -> None:
    of = site.history()
    long_ago: dict[str, Any] = {"from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z"}
    text = site.page(of, **long_ago)
    assert "Nothing here" in text
    assert "Look at 2 years" in text
    assert "has “zebra”" in site.page(of, words="zebra")
    assert "Without words" in site.page(of, words="zebra")


def test_names_and_words_are_only_text(site: Site) -> None:
    of = site.history(NASTY)
    assert NASTY not in site.page(of, words=NASTY)
    assert NASTY not in site.page(of)


def test_there_is_no_timeline_of_nobody(site: Site) -> None:
    of = site.history()
    for path in ("customers/999999", "accounts/999999", f"customers/{2**60}"):
        assert site.client.get(f"/api/v1/{path}/timeline").status_code == 404
        assert site.client.get(f"/{path}/timeline").status_code == 404
    elsewhere = replace(reader(), environments=("elsewhere",), belongs_to=("elsewhere",))
    with site.asked_by(elsewhere):
        site.timeline(of, 404)
        site.page(of, 404)


def test_links_of_kinds_and_intervals_keep_what_is_asked(site: Site) -> None:
    of = site.history()
    text = site.page(of, last="7d", kind="money", words="modem").replace("&amp;", "&")
    path = f"/customers/{of.customer}/timeline"
    assert f'href="{path}?{urlencode({"last": "7d", "words": "modem"})}"' in text  # all kinds
    assert f'href="{path}?{urlencode({"last": "24h", "kind": "money", "words": "modem"})}"' in text
