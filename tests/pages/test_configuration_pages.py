"""The three steps in a browser: by who may and who may not, two people at once, and the way back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher
from browser_site import PASSWORD, SLOW_MS, USER, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import Page, expect

from actors import by_tester
from ringback.access import passwords
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.records.engine import open_engine

pytestmark = pytest.mark.browser
AGE, MAX_AGE, LIFE, KEYS = "Tasks.Log_Max_Age", "Sessions.Max_Age", "Sessions.Share_Link_Life", "Capture.HEP_Keys"
OTHER, OTHER_PASSWORD = "berta", "another horse battery"
READERS = [Role.BILLING, Role.SUPPORT, Role.NOC, Role.READ_ONLY]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of the test's own: nothing is applied."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))  # quickly
    settings = prepared(tmp_path_factory.mktemp("configured"))
    engine = open_engine(settings.records_url)
    with by_tester(engine) as work:
        add_user(work, OTHER, OTHER_PASSWORD)
        add_user(work, "tom", OTHER_PASSWORD, everywhere=False)
        for role in READERS:
            add_user(work, role, OTHER_PASSWORD, role)
    engine.dispose()
    for url in serve(settings):
        yield Site(url, {}, settings)


def sign_in(visit: Visit, site: Site, name: str = USER, password: str = PASSWORD) -> Page:
    page = visit(f"{site.url}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions*")
    return page


def group(page: Page, site: Site, name: str, scope: str = "") -> None:
    page.goto(f"{site.url}/configuration/groups/{name}{scope}")


def fill(page: Page, option: str, text: str) -> None:
    page.locator(f'[name="value:{option}"]').fill(text)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save the draft").click()


def verify(page: Page, site: Site, scope: str = "") -> None:
    page.goto(f"{site.url}/configuration/draft{scope}")
    page.get_by_role("button", name="Verify").click()


def apply(page: Page, reason: str) -> None:
    page.get_by_label("Why").fill(reason)
    page.get_by_role("button", name=re.compile("Apply")).click()


def refused(visit: Visit, page: Page, status: int) -> None:
    """The browser tells of the answer; nothing else is wrong."""
    deadline = time.monotonic() + SLOW_MS / 1000
    while not visit.complaints and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert [f"status of {status}" in each for each in visit.complaints] == [True]
    visit.complaints.clear()


def test_saved_verified_applied_and_told(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site)
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Options")
    page.get_by_role("link", name=AGE).click()
    fill(page, AGE, "90")
    save(page)
    expect(page.locator("#messages")).to_contain_text("The draft is saved: 1 change")
    expect(page.locator(".draft-bar")).to_contain_text("The draft has 1 change, saved by agnes")
    page.get_by_role("link", name="Verify and apply").click()
    expect(page.get_by_label("Why")).to_have_count(0)
    page.get_by_role("button", name="Verify").click()
    row = page.locator("tr", has_text=AGE)
    expect(row).to_contain_text("180 days (default)")
    expect(row).to_contain_text("90 days")
    expect(row).to_contain_text("Nothing is older than 90 days yet.")
    apply(page, "less disk")
    expect(page.locator("#messages")).to_contain_text("Applied: 1 option")
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text("agnes (console)")
    expect(facts).to_contain_text("less disk")
    expect(facts).to_contain_text(f"{AGE}: 180 days (default) → 90 days")
    page.goto(f"{site.url}/configuration")
    row = page.locator("tr", has_text=AGE)
    expect(row).to_contain_text("90 days")
    expect(row).to_contain_text("applied by agnes")
    expect(page.locator(".draft-bar")).to_have_count(0)


def test_what_is_wrong_stands_beside_its_field_and_cannot_be_applied(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site)
    group(page, site, "Tasks")
    fill(page, AGE, "7")
    save(page)
    refused(visit, page, 422)
    field = page.locator(f'[name="value:{AGE}"]')
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("7")
    expect(page.locator(f'[id="error-{AGE}"]')).to_have_text("The least is 30.")
    verify(page, site)
    refused(visit, page, 422)
    expect(page.locator("tr", has_text=AGE)).to_contain_text("The least is 30.")
    expect(page.get_by_label("Why")).to_have_count(0)
    page.get_by_role("button", name="Discard the draft").click()
    expect(page.locator("#messages")).to_contain_text("discarded")
    page.goto(f"{site.url}/configuration/draft")
    expect(page.locator("main")).to_contain_text("The draft is empty")


def test_an_apply_asks_why(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site)
    group(page, site, "Tasks")
    fill(page, AGE, "90")
    save(page)
    verify(page, site)
    page.locator("form.apply").evaluate("form => form.noValidate = true")
    apply(page, "   ")
    refused(visit, page, 422)
    expect(page.locator("#error-reason")).to_contain_text("Say why")
    apply(page, "less disk")
    expect(page.locator("h1")).to_contain_text("Entry")


def test_secrets_are_given_kept_and_dropped_and_never_shown(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site)
    group(page, site, "Capture")
    page.locator(f'[name="add:{KEYS}"]').fill("first-key\nsecond-key")
    save(page)
    verify(page, site)
    expect(page.locator("tr", has_text=KEYS)).to_contain_text("Senders that give no key")
    apply(page, "keys for all")
    group(page, site, "Capture")
    boxes = page.locator(f'[name="keep:{KEYS}"]')
    expect(boxes).to_have_count(2)
    boxes.first.uncheck()
    page.locator(f'[name="add:{KEYS}"]').fill("third-key")
    save(page)
    verify(page, site)
    expect(page.locator("tr", has_text=KEYS)).to_contain_text("Senders that still give a key that goes are refused")
    apply(page, "rotation")
    for path in ("", "/groups/Capture", "/history", "/draft"):
        page.goto(f"{site.url}/configuration{path}")
        assert not re.search("first-key|second-key|third-key", page.content())


def test_two_people_at_once(site: Site, visit: Visit) -> None:
    mine, theirs = sign_in(visit, site), sign_in(visit, site, OTHER, OTHER_PASSWORD)
    group(mine, site, "Sessions")
    group(theirs, site, "Sessions")
    fill(mine, MAX_AGE, "14")
    fill(mine, LIFE, "3")
    save(mine)
    expect(mine.locator("#messages")).to_contain_text("2 changes")
    fill(theirs, MAX_AGE, "20")
    save(theirs)
    refused(visit, theirs, 409)
    expect(theirs.locator("#conflict")).to_contain_text("agnes saved the draft meanwhile")
    expect(theirs.locator(f'[name="value:{MAX_AGE}"]')).to_have_value("20")  # what they changed
    expect(theirs.locator(f'[name="value:{LIFE}"]')).to_have_value("3")  # what I did
    expect(theirs.locator(f'[id="{MAX_AGE}"] .drafted')).to_contain_text("14 days")
    verify(mine, site)
    save(theirs)
    expect(theirs.locator("#messages")).to_contain_text("2 changes")
    apply(mine, "I was first")
    refused(visit, mine, 409)
    expect(mine.locator("#problem")).to_contain_text("Verify again")
    row = mine.locator("tr", has_text=MAX_AGE)
    expect(row).to_contain_text("20 days")
    expect(row).to_contain_text(OTHER)
    mine.get_by_role("button", name="Verify").click()
    apply(mine, "agreed")
    expect(mine.locator("dl.facts")).to_contain_text("20 days")


def test_the_way_back(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site)
    for days in ("90", "60"):
        group(page, site, "Tasks")
        fill(page, AGE, days)
        save(page)
        verify(page, site)
        apply(page, f"to {days}")
    page.get_by_role("link", name="History").first.click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("tr", has_text="to 90").get_by_role("link").first.click()
    page.get_by_role("button", name="Go back to how it was after this entry").click()
    expect(page.locator("#messages")).to_contain_text("The draft now holds what held after entry")
    page.get_by_role("button", name="Verify").click()
    apply(page, "60 was too few")
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text(f"{AGE}: 60 days → 90 days")
    expect(facts).to_contain_text("to entry")
    page.goto(f"{site.url}/configuration/history")
    page.get_by_role("button", name="Go back to before the first entry").click()
    expect(page.locator("tr", has_text=AGE)).to_contain_text("180 days (default)")


def test_an_environment_of_its_own(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site)
    page.goto(f"{site.url}/configuration")
    page.get_by_role("link", name="Environment default").click()
    expect(page.locator("tr", has_text=LIFE)).to_contain_text("7 days")
    expect(page.locator("tr", has_text=AGE)).to_have_count(0)
    page.get_by_role("link", name=LIFE).click()
    fill(page, LIFE, "2")
    save(page)
    verify(page, site, "?scope=environment")
    apply(page, "short links here")
    expect(page.locator("dl.facts")).to_contain_text(f"{LIFE}: 7 days (default) → 2 days")
    page.goto(f"{site.url}/configuration")
    expect(page.locator("tr", has_text=LIFE)).to_contain_text("7 days")
    page.goto(f"{site.url}/configuration/groups/Tasks?scope=environment")
    refused(visit, page, 404)


@pytest.mark.parametrize("role", READERS)
def test_who_may_read_and_not_write_sees_values_and_no_buttons(site: Site, visit: Visit, role: Role) -> None:
    page = sign_in(visit, site)
    group(page, site, "Tasks")
    fill(page, AGE, "90")
    save(page)
    reader = sign_in(visit, site, role, OTHER_PASSWORD)
    reader.goto(f"{site.url}/configuration")
    expect(reader.locator("tr", has_text=AGE)).to_contain_text("180 days")
    for path in ("", "/groups/Tasks", "/draft", "/history", "/groups/Sessions?scope=environment"):
        reader.goto(f"{site.url}/configuration{path}")
        expect(reader.locator("main button")).to_have_count(0)
        expect(reader.locator("main input:not([type=hidden])")).to_have_count(0)
    token = reader.locator("meta[name=csrf-token]").get_attribute("content") or ""
    for path in ("/groups/Tasks", "/verify", "/apply", "/discard", "/rollback"):
        answer = reader.request.post(
            f"{site.url}/configuration{path}",
            form={"version": "1", "to": "0", "verification": "1-0", "reason": "x", "csrf_token": token},
        )
        assert answer.status == 403, path
        assert "configuration.write" in answer.text()


def test_an_administrator_of_an_environment_changes_its_options_alone(site: Site, visit: Visit) -> None:
    page = sign_in(visit, site, "tom", OTHER_PASSWORD)
    group(page, site, "Tasks")
    expect(page.locator("main")).to_contain_text("changed by administrators of the whole installation")
    expect(page.locator("main button")).to_have_count(0)
    group(page, site, "Sessions", "?scope=environment")
    fill(page, LIFE, "2")
    save(page)
    verify(page, site, "?scope=environment")
    apply(page, "short links here")
    expect(page.locator("dl.facts")).to_contain_text("tom (console)")


@pytest.mark.parametrize("dark", [False, True])
def test_narrow_pages_do_not_scroll_sideways(site: Site, visit: Visit, dark: bool) -> None:
    page = sign_in(visit, site)
    group(page, site, "Sessions")
    fill(page, MAX_AGE, "14")
    save(page)
    verify(page, site)
    apply(page, "a reason that is long enough to need several lines on a narrow page, because it says a lot")
    state = page.context.storage_state()
    narrow = visit(width=390, dark=dark)
    narrow.context.add_cookies(state["cookies"])  # type: ignore[arg-type]
    for path in ("", "/groups/Sessions", "/groups/Capture", "/draft", "/history", "/history/1"):
        narrow.goto(f"{site.url}/configuration{path}")
        assert no_sideways_scroll(narrow), path
