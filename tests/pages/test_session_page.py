"""The session page in a browser."""

import re

import pytest
from browser_site import Site, Visit, no_sideways_scroll
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def open_call(visit: Visit, site: Site, name: str, query: str = "", **how: object) -> Page:
    return visit(site.session(name) + query, site=site, **how)  # type: ignore[arg-type]


def test_the_answer_comes_first_with_its_evidence_and_the_guide(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    expect(page.locator("h1")).to_have_text("12103355787 → 18660333777")
    expect(page.locator(".page-head .tag")).to_contain_text("403")
    answer = page.locator(".answer")
    expect(answer.locator("h2")).not_to_have_text("")
    expect(answer.locator(".steps li").first).to_be_visible()
    expect(answer.locator('a[href^="/guide/"]')).to_be_visible()
    answer.locator(".evidence .chip").first.click()
    expect(page.locator("tr.pointed .open-entry")).to_be_focused()
    expect(page.locator("tr.raw:visible pre")).to_contain_text("SIP/2.0")


def test_a_healthy_call_says_so(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "answered")
    expect(page.locator(".answer h2")).to_contain_text("Nothing unusual")
    expect(page.locator(".answer")).to_contain_text("It lasted 12 s")
    expect(page.locator("#media tbody tr")).to_have_count(2)


def test_an_entry_opens_in_place_and_on_a_page_of_its_own(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    page.locator('[data-expand="1"]').focus()
    page.keyboard.press("Enter")
    raw = page.locator("#raw-1 pre")
    expect(raw).to_contain_text("INVITE sip:18660333777@acme.example SIP/2.0")
    expect(raw).to_contain_text("m=audio")
    expect(raw.locator(".key b").first).to_have_text("Via")
    page.locator("#raw-1").get_by_text("own page").click()
    page.wait_for_url("**/messages/1")
    expect(page.locator("pre")).to_contain_text("Call-ID: 7d0f3c1e-refused@acme")


def test_two_messages_are_compared(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    expect(page.locator("[data-compare]")).to_be_disabled()
    page.get_by_label("Choose #1 to compare").check()
    page.locator(".entries tr", has_text="INVITE sip:18660333777@192.0.2.20").locator("input").check()
    page.click("[data-compare]")
    dialog = page.locator("#compare")
    expect(dialog).to_be_visible()
    expect(dialog.locator("tr.right th").first).to_contain_text("Via")
    expect(dialog.locator("tr.changed mark").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_timeline_is_filtered_by_kind_and_the_url_says_so(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    page.locator("#timeline .seg a", has_text="LOG").click()
    expect(page.locator("tr.entry")).to_have_count(1)
    expect(page.locator("tr.entry")).to_contain_text("Rate 1866 of tariff Retail US is forbidden")
    assert re.search(r"kind=\w+", page.url)
    page.reload()
    expect(page.locator("tr.entry")).to_have_count(1)


def test_the_diagram_by_node_has_a_lane_each_and_leads_to_the_messages(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    page.locator("#diagram .seg a", has_text="By node").click()
    expect(page.locator(".flow-head")).to_be_visible()
    assert "view=nodes" in page.url
    expect(page.locator(".flow-head .lane")).to_have_count(3)
    page.locator(".diagram a.failing, .diagram .failing a, .diagram a:has(.failing)").first.click()
    expect(page.locator("tr.raw:visible pre").first).to_contain_text("SIP/2.0")


def test_three_hundred_messages_stay_readable(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "long", "?view=nodes")
    assert page.locator("tr.entry").count() >= 300
    assert page.locator("tr.entry:visible").count() < 60
    expect(page.locator("tr.entry:visible .failure").first).to_be_visible()
    page.locator("[data-unfold]").first.click()
    assert page.locator("tr.entry:visible").count() > 100
    page.goto(site.session("long") + "#m100")
    expect(page.locator("#raw-100 pre")).to_be_visible()


def test_the_lane_heads_stay_in_sight_while_a_long_diagram_scrolls(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "long", "?view=nodes")
    page.locator(".flow-fold summary").first.click()
    top = page.evaluate(
        """() => { const d = document.querySelector(".diagram"); d.scrollTop = 2000;
        return d.querySelector(".flow-head").getBoundingClientRect().top - d.getBoundingClientRect().top }"""
    )
    assert page.evaluate("document.querySelector('.diagram').scrollTop") > 500
    assert abs(top) < 2


def test_a_call_of_few_messages_is_drawn_whole(visit: Visit, site: Site) -> None:
    for view in ("", "?view=nodes"):
        page = open_call(visit, site, "answered", view)
        expect(page.locator(".diagram.whole")).to_be_visible()
        assert page.evaluate(
            "(d => d.scrollHeight <= d.clientHeight && d.scrollWidth <= d.clientWidth)(document.querySelector('.diagram'))"
        )


@pytest.mark.parametrize(("query", "dark"), [("", False), ("?view=nodes", True)])
def test_on_a_phone_what_failed_is_seen_without_scrolling_sideways(
    visit: Visit, site: Site, query: str, dark: bool
) -> None:
    page = open_call(visit, site, "refused", query, width=390, dark=dark)
    failed = page.locator(".diagram .failing .words >> visible=true").first
    expect(failed).to_contain_text("403")
    box, card = failed.bounding_box(), page.locator(".diagram").bounding_box()
    assert box
    assert card
    assert card["x"] <= box["x"]
    assert box["x"] + box["width"] <= card["x"] + card["width"]
    assert no_sideways_scroll(page)


def test_with_twelve_lanes_the_failing_arrow_is_in_sight(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "chain", "?view=nodes")
    expect(page.locator(".flow-head .lane")).to_have_count(12)
    assert page.evaluate(
        """() => { const a = document.querySelector(".diagram .failing .line").getBoundingClientRect(),
        d = document.querySelector(".diagram").getBoundingClientRect();
        return a.left >= d.left && a.right <= d.right && a.top >= d.top && a.bottom <= d.bottom }"""
    )


def test_exports_are_files(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    for label, ending, start in (
        ("Packets (pcap)", ".pcap", b"\xd4\xc3\xb2\xa1"),
        ("Diagram (SVG)", ".svg", b"<svg"),
    ):
        page.locator(".menu summary", has_text="Export").click()
        with page.expect_download() as download:
            page.click(f"text={label}")
        assert download.value.suggested_filename.endswith(ending)
        content = download.value.path().read_bytes()
        assert content.startswith(start) or content[:4] in (b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"<?xm")


def test_the_diagram_is_saved_as_png(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    page.locator(".menu summary", has_text="Export").click()
    with page.expect_download() as download:
        page.click("text=Diagram (PNG)")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_share_link_opens_without_a_login_until_it_is_revoked(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "refused")
    page.click("text=Share…")
    page.locator("#share select").select_option("24")
    page.click("text=Make a link")
    link = page.locator("#new-link").inner_text()
    stranger = visit(link)
    expect(stranger.locator("h1")).to_have_text("121xxxxxx87 → 186xxxxxx77")
    expect(stranger.locator("nav")).to_have_count(0)
    expect(stranger.locator("text=Share…")).to_have_count(0)
    stranger.locator('[data-expand="1"]').click()
    expect(stranger.locator("#raw-1 pre")).to_contain_text("INVITE")
    stranger.goto(f"{site.url}/sessions")
    assert "/login" in stranger.url
    page.click("text=Revoke this link")
    expect(page.locator("#share")).to_contain_text("1 link ended or revoked")
    assert stranger.goto(link).status == 404  # type: ignore[union-attr]
    visit.complaints.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


def test_who_viewed_the_session_is_told(visit: Visit, site: Site) -> None:
    page = open_call(visit, site, "named")
    page.click("text=Share…")
    page.click("text=Who viewed this session")
    expect(page.locator("#share")).to_contain_text("page · agnes")


def test_a_session_that_is_not_stored_says_so(visit: Visit, site: Site) -> None:
    page = visit(f"{site.url}/sessions/20260101-00000000000000ff", site=site)
    expect(page.locator("main")).to_contain_text("never seen here, or its retention is over")
    visit.complaints.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


@pytest.mark.parametrize("name", ["refused", "long", "named"])
def test_on_a_phone_nothing_scrolls_sideways(visit: Visit, site: Site, name: str) -> None:
    page = open_call(visit, site, name, "?view=nodes", width=390)
    page.locator("[data-expand]").first.click()
    expect(page.locator("tr.raw:visible pre")).to_be_visible()
    assert no_sideways_scroll(page)
