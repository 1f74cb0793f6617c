"""Nodes, capture status, upload, guide and error pages in a browser."""

import struct
from pathlib import Path

import pytest
from browser_site import PASSWORD, USER, Site, Visit, no_sideways_scroll
from playwright.sync_api import Page, expect

from ringback import clock
from ringback.sessions.ingest.status import CollectorStatus, SenderStatus, write_collector_status

pytestmark = pytest.mark.browser

MINUTE_US = 60_000_000


def open_page(visit: Visit, site: Site, path: str, **how: object) -> Page:
    return visit(site.url + path, site=site, **how)  # type: ignore[arg-type]


def test_an_unknown_sender_gets_a_name_that_lists_and_diagrams_show(visit: Visit, empty_nodes: Site) -> None:
    page = open_page(visit, empty_nodes, "/nodes")
    row = page.locator(".senders tr", has=page.get_by_role("cell", name="101", exact=True))
    row.locator("input[name=name]").fill("edge1")
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("101 is edge1 from now on")
    expect(page.locator(".entities tbody tr")).to_contain_text("edge1")
    page.goto(empty_nodes.session("refused") + "?view=nodes")
    expect(page.locator(".flow-head")).to_contain_text("edge1")


def test_the_capture_page_refreshes_itself(visit: Visit, site: Site) -> None:
    write_collector_status(
        site.settings.data, CollectorStatus(updated_us=clock.now_us(), received=1000, lost={"bad key": 3})
    )
    page = open_page(visit, site, "/capture")
    expect(page.locator("#figures")).to_contain_text("1\u202f000 packets")
    expect(page.locator("#figures")).to_contain_text("Capture.HEP_Keys")
    senders = [SenderStatus("192.0.2.10", "101", 2000, clock.now_us())]
    write_collector_status(
        site.settings.data, CollectorStatus(updated_us=clock.now_us(), received=2000, senders=senders)
    )
    expect(page.locator("#figures")).to_contain_text("2\u202f000 packets", timeout=10_000)
    expect(page.locator("#figures")).to_contain_text("192.0.2.10")


@pytest.mark.parametrize("width", [1440, 390])
def test_the_capture_page_says_how_far_behind_storing_is(visit: Visit, site: Site, width: int) -> None:
    now = clock.now_us()
    waiting = CollectorStatus(
        updated_us=now, received=9_000_000, stored=3_300_000, waiting=5_700_000, received_rate=120_000.4,
        stored_rate=52_310.7, spooled=5_900_000, spool_bytes=430_000_000, spool_packets=5_700_000,
        spool_oldest_us=now - 130_000_000, spool_limit=4 * 2**30, receive_buffer=32 * 2**20, lag_ms=131_000.0,
    )  # fmt: skip
    write_collector_status(site.settings.data, waiting)
    page = open_page(visit, site, "/capture", width=width)
    expect(page.locator(".note.warn")).to_contain_text("behind by 2 min 10 s")
    expect(page.locator(".note.warn")).to_contain_text("packets wait on disk")
    expect(page.locator(".figures")).to_contain_text("Behind")
    assert no_sideways_scroll(page)
    write_collector_status(site.settings.data, CollectorStatus(updated_us=clock.now_us(), received=9_000_000))
    expect(page.locator(".figures")).not_to_contain_text("Behind", timeout=10_000)


def test_figures_that_can_no_longer_be_refreshed_are_called_old(visit: Visit, site: Site) -> None:
    page = open_page(visit, site, "/capture")
    page.context.set_offline(True)
    expect(page.locator("#messages")).to_contain_text("what is shown may be old", timeout=10_000)
    page.context.set_offline(False)
    expect(page.locator("#messages")).not_to_contain_text("what is shown may be old", timeout=10_000)
    visit.complaints.clear()


def test_the_capture_page_says_when_no_collector_runs(visit: Visit, empty_site: Site) -> None:
    page = open_page(visit, empty_site, "/capture")
    expect(page.locator(".note.bad")).to_contain_text("has never run")


def pcap(payload: bytes) -> bytes:
    """One UDP packet in an Ethernet capture, a minute ago."""
    udp = struct.pack("!HHHH", 5060, 5060, 8 + len(payload), 0) + payload
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
    )
    frame = bytes(12) + b"\x08\x00" + ip + udp
    seconds = clock.now_us() // 1_000_000 - 60
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + struct.pack("<IIII", seconds, 0, len(frame), len(frame)) + frame


INVITE = (
    b"INVITE sip:4411555123@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKup\r\n"
    b"From: <sip:4930123123@acme.example>;tag=a\r\nTo: <sip:4411555123@acme.example>\r\n"
    b"Call-ID: uploaded-1@test\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


def test_an_uploaded_capture_is_searchable_and_a_bad_one_says_why(visit: Visit, site: Site, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pcap", tmp_path / "notes.txt"
    good.write_bytes(pcap(INVITE))
    bad.write_text("no capture at all")
    page = open_page(visit, site, "/upload")
    page.set_input_files("#file", [good, bad])
    expect(page.locator(".uploads .tag")).to_have_count(2, timeout=60_000)
    expect(page.locator(".uploads li", has_text="good.pcap")).to_contain_text("1 SIP message in 1 leg")
    expect(page.locator(".uploads li", has_text="notes.txt")).to_contain_text("neither a pcap nor a pcapng")
    page.set_input_files("#file", [good])
    again = page.locator(".uploads li").first
    expect(again).to_contain_text("In before", timeout=60_000)
    again.get_by_text("Show its sessions").click()
    expect(page.locator("tr[data-row]")).to_contain_text("4930123123")
    visit.complaints.remove(
        "Failed to load resource: the server responded with a status of 422 (Unprocessable Entity)"
    )


@pytest.mark.parametrize("path", ["/nodes", "/capture", "/upload", "/nowhere"])
def test_on_a_phone_nothing_scrolls_sideways(visit: Visit, site: Site, path: str) -> None:
    page = open_page(visit, site, path, width=390)
    assert no_sideways_scroll(page)
    visit.complaints[:] = [one for one in visit.complaints if "404" not in one]


def test_a_page_that_is_not_there_says_so_and_leads_on(visit: Visit, site: Site) -> None:
    page = open_page(visit, site, "/nowhere")
    expect(page.locator("main")).to_contain_text("There is nothing at /nowhere")
    expect(page.locator("main a.primary")).to_have_attribute("href", "/sessions")
    visit.complaints.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


def test_who_is_not_signed_in_comes_back_to_the_page_after_the_login(visit: Visit, site: Site) -> None:
    page = visit(f"{site.url}/sessions?q=18660333777&last=1h")
    page.fill("[name=name]", USER)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions?q=18660333777&last=1h")
    expect(page.locator("tr[data-row]")).to_have_count(2)
