"""The search page in a browser."""

import re

import pytest
from browser_site import Site, Visit, no_sideways_scroll
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def open_search(visit: Visit, site: Site, query: str = "", **how: object) -> Page:
    return visit(f"{site.url}/sessions{query}", site=site, **how)  # type: ignore[arg-type]


def test_a_number_typed_any_way_finds_the_call_and_says_which_field_matched(visit: Visit, site: Site) -> None:
    page = open_search(visit, site)
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("+1 (866) 033-3777")
    page.keyboard.press("Enter")
    row = page.locator("tr[data-row]", has_text="12103355787")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("matched")
    expect(row).to_contain_text("Failed 403")
    expect(page.locator(".results")).to_contain_text("number ending in")
    assert "q=%2B1+%28866%29" in page.url


def test_the_issue_of_a_row_is_told_in_words(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?q=7d0f3c1e-refused%40acme")
    expect(page.locator("tr[data-row] .issue .issue-title")).to_be_visible()
    expect(page.locator("tr[data-row] .issue")).not_to_contain_text("working it out")


def test_by_keyboard_alone_a_session_is_opened_and_left_again(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=1h")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second = page.locator("a[data-open]").nth(1)
    expect(second).to_be_focused()
    opened = second.get_attribute("data-open")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/sessions/{opened}")
    page.keyboard.press("Escape")
    page.wait_for_url("**/sessions?last=1h")
    expect(page.locator(f'a[data-open="{opened}"]')).to_be_focused()


def test_escape_comes_back_to_the_same_scroll_position(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=1h")
    page.set_viewport_size({"width": 1440, "height": 320})
    page.evaluate("scrollTo(0, 180)")
    page.locator("a[data-open]").last.click()
    page.wait_for_url(re.compile(r"/sessions/\d"))
    page.keyboard.press("Escape")
    page.wait_for_url("**/sessions?last=1h")
    expect(page.locator("a[data-open]").last).to_be_focused()
    page.wait_for_function("scrollY > 100")


def test_dragging_over_the_histogram_zooms_into_that_time(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=1h&q=12103355787")
    plot = page.locator("[data-histogram]")
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.85, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + 20)
    page.mouse.up()
    page.wait_for_url(re.compile("from=.*to="))
    assert "q=12103355787" in page.url
    expect(page.locator("tr[data-row]")).to_have_count(1)  # the call of five minutes ago


def test_the_histogram_zooms_by_keyboard_too(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=1h")
    page.locator("[data-histogram]").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".bucket.chosen")).to_have_count(2)
    expect(page.locator("[data-histogram-says]")).to_contain_text("1 more")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("from=.*to="))


def test_filters_are_chips_that_can_be_taken_away(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=1h")
    page.click("text=Filters")
    page.get_by_label("Failed", exact=True).check()
    page.fill("#code", "403")
    page.click("text=Apply filters")
    page.wait_for_url(re.compile("outcome=failed"))
    expect(page.locator("tr[data-row]")).to_have_count(2)
    page.get_by_label("Remove filter outcome: failed").click()
    page.wait_for_url(lambda url: "outcome" not in url)
    assert "code=403" in page.url


def test_a_picked_interval_is_read_in_the_viewers_zone(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, zone="Asia/Tokyo")
    page.click("text=Pick…")
    page.fill("#from", "2026-01-01T09:00:00")
    page.fill("#to", "2026-01-01T10:00:00")
    page.click("#pick button")
    page.wait_for_url(re.compile("from=2026-01-01T00%3A00%3A00.000000Z&to=2026-01-01T01%3A00%3A00.000000Z"))
    expect(page.locator("#from")).to_have_value(re.compile("2026-01-01T09:00"))


def test_an_empty_answer_says_why_and_offers_one_way_on(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=15m&q=999999")
    expect(page.locator(".state h2")).to_have_text("No session for number ending in 999999")
    expect(page.locator(".state .btn.primary")).to_have_count(1)


def test_a_store_without_any_capture_says_how_to_send_some(visit: Visit, empty_site: Site) -> None:
    page = open_search(visit, empty_site)
    expect(page.locator(".state h2")).to_have_text("Nothing was captured yet")
    expect(page.locator(".state pre")).to_contain_text("sip:127.0.0.1:9060")


def test_what_cannot_be_searched_is_told_at_the_field(visit: Visit, site: Site) -> None:
    page = open_search(visit, site)
    page.goto(f"{site.url}/sessions?code=9999&q=12103355787")
    expect(page.locator("#error-code")).to_contain_text("no SIP response code")
    expect(page.locator("#q")).to_have_value("12103355787")
    visit.complaints.remove("Failed to load resource: the server responded with a status of 400 (Bad Request)")


def test_on_a_phone_nothing_scrolls_sideways(visit: Visit, site: Site) -> None:
    page = open_search(visit, site, "?last=1h", width=390)
    expect(page.locator("tr[data-row]", has_text="a.person.with.a.very.long")).to_be_visible()
    assert no_sideways_scroll(page)


def test_the_chosen_theme_stays(visit: Visit, site: Site) -> None:
    page = open_search(visit, site)
    page.click("[data-theme-toggle]")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
