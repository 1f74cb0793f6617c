"""The audit log in a browser: the story of an invoice, many effects, nothing, and an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_site import PASSWORD, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).parent.parent / "audit"))
from invoice_story import tell_invoice_story

from actors import by_tester
from audited import ANN, add_product
from ringback.access.permissions import PERMISSIONS, Permission, Role
from ringback.access.service import add_user
from ringback.audit.relay import rebuild
from ringback.changes.service import because, changing, note_on
from ringback.records.engine import open_engine

pytestmark = pytest.mark.browser
LOGINS = [role for role in Role if role is not Role.API]
BOTH_WIDTHS = pytest.mark.parametrize("width", [1440, 390])


@pytest.fixture(scope="module")
def audited_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Customer 1 with the story of an invoice, and a command that led to 300 records."""
    settings = prepared(tmp_path_factory.mktemp("audited"))
    engine = open_engine(settings.records_url)
    tell_invoice_story(engine)
    with by_tester(engine) as work:
        for role in LOGINS:
            add_user(work, role, PASSWORD, role)
    with changing(engine, ANN, ("default",), reason="price list of November") as work:
        command = note_on(work, "entities.bulk", add_product(work, "Bulk"), count=300)
        with because(work, command):
            for number in range(300):
                add_product(work, f"Copy {number}")
    engine.dispose()
    rebuild(settings)
    for url in serve(settings):
        yield Site(url, {}, settings)


def open_page(visit: Visit, site: Site, path: str, width: int = 1440, dark: bool = False) -> Page:
    return visit(site.url + path, site=site, width=width, dark=dark)


@BOTH_WIDTHS
def test_the_story_of_an_invoice_is_read_from_the_customers_page(
    visit: Visit, audited_site: Site, width: int
) -> None:
    page = open_page(visit, audited_site, "/customers/1", width)
    page.locator(".tabs").get_by_text("Audit log").click()
    rows = page.locator(".trail tbody tr")
    expect(rows).to_have_count(15)
    expect(rows.nth(0)).to_contain_text("Product changed from Standard TV to Premium TV.")
    paid = rows.filter(has_text="Card payment 2204")
    expect(paid).to_contain_text("Balance of customer Jerry Price changed from 70.00 to 10.00 (decreased by 60.00).")
    expect(paid.locator(".num").nth(0)).to_have_text("−60.00")
    expect(paid.locator(".num").nth(1)).to_have_text("10.00 USD")
    assert no_sideways_scroll(page)
    rows.filter(has_text="Account 12103355787 was blocked.").get_by_role("link").first.click()
    expect(page.locator("h1")).to_have_text("Account 12103355787 was blocked.")
    expect(page.locator(".chain tbody tr")).to_have_count(12)
    expect(page.locator(".chain [aria-current]")).to_contain_text("this record")
    assert no_sideways_scroll(page)
    page.locator(".chain tbody tr").first.get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text("changed from 0.00 to 100.00")


def test_amounts_stand_under_each_other(visit: Visit, audited_site: Site) -> None:
    page = open_page(visit, audited_site, "/audit?min=100&max=100")
    page.locator(".said a").first.click()
    expect(page.locator(".chain tbody tr")).to_have_count(12)
    rights = page.locator(".chain tbody td.num:not(:empty)").evaluate_all(
        "cells => cells.map(cell => Math.round(cell.getBoundingClientRect().right))"
    )
    assert len(set(rights)) == 2


def test_the_search_is_its_url_and_filters_go_one_by_one(visit: Visit, audited_site: Site) -> None:
    page = open_page(visit, audited_site, "/audit")
    page.fill("#name", "jerry")
    page.locator("#type").select_option("customer")
    page.fill("#user", "overdue handling")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".trail tbody tr")).to_have_count(4)
    assert "name=jerry" in page.url
    page.get_by_label("Without User overdue handling").click()
    page.wait_for_url(lambda url: "user=" not in url)
    expect(page.locator(".trail tbody tr").first).to_be_visible()
    page.locator(".seg a", has_text="180 days").click()
    page.wait_for_url(lambda url: "last=180d" in url)
    assert "name=jerry" in page.url
    with page.expect_download() as download:
        page.get_by_text("Export CSV").click()
    assert "Customer Jerry Price was suspended." in download.value.path().read_text()


def test_older_records_follow_on_the_next_page(visit: Visit, audited_site: Site) -> None:
    page = open_page(visit, audited_site, "/audit?type=product&last=24h")
    first = page.locator(".trail tbody tr").first.inner_text()
    expect(page.locator(".trail tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newest")).to_be_visible()
    assert page.locator(".trail tbody tr").first.inner_text() != first


@BOTH_WIDTHS
def test_three_hundred_effects_fold_and_are_shown_when_asked(visit: Visit, audited_site: Site, width: int) -> None:
    page = open_page(visit, audited_site, "/audit?action=entities.bulk", width)
    page.locator(".said a").first.click()
    expect(page.locator(".chain tbody tr")).to_have_count(13)
    expect(page.locator(".chain .fold")).to_have_text("+ 288 more effects")
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(".chain tbody tr")).to_have_count(301)
    assert no_sideways_scroll(page)


@BOTH_WIDTHS
def test_nothing_found_says_what_to_do(visit: Visit, audited_site: Site, width: int) -> None:
    page = open_page(visit, audited_site, "/audit?user=nobody", width, dark=True)
    expect(page.locator(".state")).to_contain_text("Take one away, or widen the interval")
    assert no_sideways_scroll(page)
    page.get_by_text("Clear all filters").click()
    expect(page.locator(".trail tbody tr").first).to_be_visible()


def test_what_cannot_be_read_is_told_at_its_field(visit: Visit, audited_site: Site) -> None:
    page = open_page(visit, audited_site, "/audit?min=abc")
    expect(page.locator("#error-min")).to_contain_text("is no amount")
    expect(page.locator("#min")).to_have_value("abc")
    visit.complaints.remove("Failed to load resource: the server responded with a status of 400 (Bad Request)")


def test_a_record_that_is_not_there_is_an_error_page(visit: Visit, audited_site: Site) -> None:
    page = open_page(visit, audited_site, "/audit/999999")
    expect(page.locator("h1")).to_have_text("No such record")
    visit.complaints.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


def test_verification_is_started_by_a_button_and_tells_its_end(visit: Visit, audited_site: Site) -> None:
    page = open_page(visit, audited_site, "/audit/verification")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator(".note.ok")).to_contain_text("Whole.", timeout=60_000)


@pytest.mark.parametrize("role", LOGINS)
def test_each_role_sees_what_it_may_of_each_page(visit: Visit, audited_site: Site, role: Role) -> None:
    page = visit(audited_site.url + "/audit?type=customer&last=180d")
    expect(page.locator("[name=password]")).to_be_visible()  # nobody without a login
    page.fill("[name=name]", role)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    rows = page.locator(".trail tbody tr")
    expect(rows.first).to_be_visible()
    sees_names = Permission.PERSONAL_READ in PERMISSIONS[role]
    name = "Jerry Price" if sees_names else "Jxxxx Pxxxx"
    expect(page.get_by_role("navigation").get_by_role("link", name="Audit log")).to_be_visible()
    expect(rows.first).to_contain_text(f"Customer {name} is open again")
    expect(page.locator("#name")).to_have_count(1 if sees_names else 0)
    rows.first.locator(".said a").click()
    expect(page.locator("h1")).to_contain_text(f"Customer {name} is open again")
    expect(page.locator(".chain tbody tr")).to_have_count(12)
    page.locator(".crumbs").get_by_role("link", name=name).click()
    expect(page.locator(".tabs [aria-current]")).to_have_text("Audit log")
    expect(rows).to_have_count(15)
    page.goto(audited_site.url + "/audit?type=user&last=180d")  # of the installation: for who looks after people
    expect(rows if role is Role.ADMINISTRATOR else page.locator(".state")).not_to_have_count(0)
    page.goto(audited_site.url + "/audit/verification")
    expect(page.get_by_role("button", name="Verify")).to_have_count(int(role is Role.ADMINISTRATOR))
    assert ("Jerry" in page.goto(audited_site.url + "/customers/1/audit").text()) is sees_names  # type: ignore[union-attr]
