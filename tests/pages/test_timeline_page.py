"""The timeline of a customer in a browser: from its page to a call, by kind, by words, page by page, on a narrow screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_site import SLOW_MS, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import expect
from recorded_calls import record

sys.path.insert(0, str(Path(__file__).parent.parent / "timeline"))
from histories import HOME, SECOND, History

from actors import by_tester
from ringback import clock
from ringback.billing.entities.models import Account
from ringback.events import open_store
from ringback.records.engine import open_engine

pytestmark = pytest.mark.browser
expect.set_options(timeout=SLOW_MS)
LONG = "Gesellschaft für Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamte mbH"


@pytest.fixture(scope="module")
def timeline_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, History]]:
    """A customer whose number made the recorded calls, with an invoice, a payment and some more charges than a page has."""
    settings = prepared(tmp_path_factory.mktemp("timeline"))
    engine, events = open_engine(settings.records_url), open_store(settings.store_url)
    now = clock.now_us()
    calls = record(events, now)
    of = History(engine, events, LONG, now - 3000 * SECOND)
    of.invoice(now - 2900 * SECOND)
    of.pay(now - 2800 * SECOND)
    for second in range(60):
        of.use(now - (2700 - second) * SECOND, f"call-{second}")
    with by_tester(engine) as work:
        product = work.get_one(Account, of.account).product_id
        more = {"environment": HOME, "balance": 0, "created_at": clock.now(), "product_id": product}
        work.add(Account(charging_id="12103355787", customer_id=of.customer, **more))
    events.close()
    engine.dispose()
    for url in serve(settings):
        yield Site(url, calls, settings), of


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_a_customers_calls_money_and_changes_are_read_in_one_list(
    visit: Visit, timeline_site: tuple[Site, History], width: int, dark: bool
) -> None:
    site, of = timeline_site
    page = visit(f"{site.url}/customers/{of.customer}", site=site, width=width, dark=dark)
    page.locator(".tabs").get_by_text("Timeline").click()
    rows = page.locator(".timeline tbody tr:not(.loader)")
    expect(rows).to_have_count(50)
    refused = rows.filter(has_text="Call from 12103355787 to 18660333777: failed with 403 Destination forbidden")
    expect(refused.locator(".issue-title")).to_be_visible()
    assert no_sideways_scroll(page)
    page.get_by_role("link", name="Older").click()
    expect(rows.filter(has_text="Invoice 1 of 100.00 USD was issued")).to_be_visible()
    paid = rows.filter(has_text="Payment by card")
    expect(paid.locator(".num").first).to_have_text("−60.00")
    rows.locator(".cause a").first.click()
    expect(page.locator(".chain tbody tr").first).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Newest").click()
    refused.get_by_role("link").first.click()
    expect(page.locator("h1")).to_contain_text("12103355787")


def test_kinds_words_and_intervals_narrow_the_list(visit: Visit, timeline_site: tuple[Site, History]) -> None:
    site, of = timeline_site
    page = visit(f"{site.url}/customers/{of.customer}/timeline", site=site)
    rows = page.locator(".timeline tbody tr:not(.loader)")
    page.get_by_label("Kind").get_by_text("Money").click()
    page.fill("#words", "invoice issued")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Invoice 1 of 100.00 USD was issued")
    assert "kind=money" in page.url
    page.locator(".seg a", has_text="7 days").click()
    page.wait_for_url(lambda url: "last=7d" in url)
    expect(rows).to_have_count(1)
    page.fill("#words", "zebra")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".state")).to_contain_text("zebra")
    page.get_by_role("link", name="Without words").click()
    expect(rows).to_have_count(50)


@pytest.mark.parametrize(("width", "dark"), [(1440, True), (390, False)])
def test_the_tab_sessions_leads_to_them_by_keyboard_too(
    visit: Visit, timeline_site: tuple[Site, History], width: int, dark: bool
) -> None:
    site, of = timeline_site
    page = visit(f"{site.url}/customers/{of.customer}/sessions", site=site, width=width, dark=dark)
    expect(page.locator("a[data-open]").first).to_be_visible()
    assert no_sideways_scroll(page)
    for key in ("/", "ArrowDown", "ArrowUp"):  # there is no box to go to
        page.keyboard.press(key)
    expect(page.locator("a[data-open]").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("12103355787")
