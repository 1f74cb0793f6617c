"""What a NOC engineer sees of a call in a browser: everything but the people; and support the people, too."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher
from browser_site import PASSWORD, Site, Visit, no_sideways_scroll
from playwright.sync_api import Page, expect

from actors import by_tester
from ringback.access import passwords
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.records.engine import open_engine

NUMBERS = ("12103355787", "18660333777", "442079460101", "198.51.100.23", "203.0.113.9")


@pytest.fixture(scope="module")
def people(site: Site) -> Site:
    """The site with somebody of the NOC and somebody of the support."""
    kept = passwords._hasher
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    engine = open_engine(site.settings.records_url)
    try:
        with by_tester(engine) as work:
            add_user(work, "nina", PASSWORD, Role.NOC)
            add_user(work, "sam", PASSWORD, Role.SUPPORT)
    finally:
        passwords._hasher = kept
        engine.dispose()
    return site


@pytest.fixture
def engineer(visit: Visit, people: Site) -> Page:
    return signed_in(visit, people, "nina")


def signed_in(visit: Visit, site: Site, name: str) -> Page:
    page = visit(f"{site.url}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions*")
    return page


def assert_masked(page: Page) -> None:
    for text in (page.content(), page.title()):
        assert not [number for number in NUMBERS if number in text]


def test_an_engineer_reads_the_story_without_the_people(engineer: Page, people: Site) -> None:
    page = engineer
    expect(page.locator("p.masked")).to_contain_text("personal.read")
    rows = page.locator("tr[data-row]")
    expect(rows.first).to_be_visible()
    expect(page.locator("body")).to_contain_text("121xxxxxx87")
    assert_masked(page)
    page.goto(people.session("refused"))
    expect(page.locator("h1")).to_contain_text("121xxxxxx87 → 186xxxxxx77")
    expect(page.get_by_role("note")).to_contain_text("An administrator can grant it to you.")
    expect(page.locator("#answer-title")).to_contain_text("Not allowed by policy")
    assert_masked(page)
    page.locator("a.open-entry").first.click()
    expect(page.locator("pre.wire").first).to_contain_text("From: <sip:121xxxxxx87@acme.example>")
    assert_masked(page)
    page.goto(people.session("refused") + "?view=nodes")
    expect(page.locator("svg").first).to_be_visible()
    assert_masked(page)
    assert no_sideways_scroll(page)


def test_an_engineer_makes_a_masked_link_and_support_chooses(engineer: Page, visit: Visit, people: Site) -> None:
    engineer.goto(people.session("answered") + "/shares")
    expect(engineer.locator(".shares")).to_contain_text("The link masks numbers, names and addresses")
    expect(engineer.locator("[name=personal]")).to_have_count(0)
    support = signed_in(visit, people, "sam")
    support.goto(people.session("answered"))
    expect(support.locator("h1")).to_contain_text("12103355787")
    expect(support.locator(".note.masked")).to_have_count(0)
    for shown in (False, True):
        support.goto(people.session("answered") + "/shares")
        if shown:
            support.check("[name=personal]")
        support.get_by_role("button", name="Make a link").click()
        link = support.locator("#new-link").inner_text()
        page = visit(link)
        expect(page.locator("h1")).to_contain_text("12103355787" if shown else "121xxxxxx87")
        if not shown:
            assert_masked(page)
            expect(page.get_by_role("note")).to_contain_text("Ask sam, who made it.")


def test_a_part_of_a_number_is_refused_with_the_reason(engineer: Page, visit: Visit) -> None:
    engineer.fill("#q", "%5787")
    engineer.keyboard.press("Enter")
    expect(engineer.locator("body")).to_contain_text("write the whole number or name, without %")
    assert all("400" in complaint for complaint in visit.complaints)
    visit.complaints.clear()
    engineer.fill("#q", "+1 210 335 5787")
    engineer.keyboard.press("Enter")
    expect(engineer.locator("tr[data-row]").first).to_contain_text("121xxxxxx87")
