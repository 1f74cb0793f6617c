"""Story 1, the forbidden destination: a phone, the shipped Kamailio, `ringback serve`, and an administrator in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge import Edge
from playwright.sync_api import Browser, Locator, Page, expect
from provider import TOLL_FREE, Provider, provider

from chromium import sign_in
from running import command, until

pytestmark = [pytest.mark.story1, pytest.mark.nodes, pytest.mark.browser, pytest.mark.timeout(400)]
JOHN = "12103355787"
SLOW_MS = 60_000  # the machine may be busy with other tests


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Provider]:
    """John Doe, whose product's tariff forbids 1866; nodes have a token that may ask the engine and nothing else."""
    with provider(tmp_path / "data") as running:
        running.account(JOHN)
        data = str(tmp_path / "data")
        made = command(
            "token", "create", "edge1", "--scope", "engine.ask", "--environment", "default", "--data", data
        )
        assert made.returncode == 0, made.stderr
        running.token = made.stdout.strip()
        yield running


@pytest.fixture
def node(books: Provider, tmp_path: Path) -> Iterator[Edge]:
    folder = tmp_path / "edge"
    folder.mkdir()
    with books.edge(folder) as running:
        running.caller, running.called = JOHN, TOLL_FREE
        yield running


@pytest.fixture
def page(books: Provider, browser: Browser) -> Iterator[Page]:
    """Signed in with the password that the first start printed; whatever the browser complains about fails the test."""
    complaints: list[str] = []
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="America/Chicago", locale="en-GB"
    )
    context.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    sign_in(page, books.server.web, "admin", books.server.password or "")
    yield page
    context.close()
    assert complaints == []


def search(page: Page, text: str, said: str) -> Locator:
    """By the box of the Sessions page, for the last hour: the one row that says so."""
    page.get_by_role("link", name="Sessions", exact=True).first.click()
    page.fill("[name=q]", text)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**q={text}*")
    page.get_by_role("link", name="1 h", exact=True).click()
    page.wait_for_url("**last=1h*")
    return reloaded(page, page.locator("tr[data-row]", has_text=said))


def reloaded(page: Page, wanted: Locator) -> Locator:
    """Messages and the billing log come in batches."""

    def shown() -> bool:
        page.reload()
        return wanted.count() == 1

    until(shown)
    return wanted


def test_the_forbidden_destination(books: Provider, node: Edge, page: Page) -> None:
    node.refused(403)

    row = search(page, JOHN, "The destination is forbidden for this account")
    row.locator("a[data-open]").click()
    page.wait_for_url("**/sessions/*")
    expect(page.locator("h1")).to_have_text(f"{JOHN} → {TOLL_FREE}")
    answer = page.locator(".answer")
    expect(answer.locator("h2")).to_contain_text("The destination is forbidden for this account")
    expect(answer).to_contain_text(f"the account {JOHN} may not call {TOLL_FREE}")
    expect(answer).to_contain_text("403 Destination forbidden")
    expect(page.locator(".whose")).to_contain_text("John Doe")

    diagram = page.locator("#diagram .diagram")
    for words in ("edge1", "Billing engine", "may it begin?", "403 Destination forbidden"):
        expect(diagram).to_contain_text(words)
    page.locator("#diagram").get_by_role("link", name="By node").click()
    expect(diagram).to_contain_text("refused: destination-forbidden")
    timeline = page.locator("#timeline-rows")
    for step in ("Request", "Account", "Status", "Balance", "Product", "Rate", "Decision"):
        expect(timeline.locator(".step").filter(has_text=f"{step}:")).to_have_count(1)
    refusal = "Calls to USA (prefix 1866) are forbidden by the tariff Home of the product Home Phone."
    expect(timeline).to_contain_text(refusal)
    page.locator("#diagram").get_by_role("link", name="Classic").click()
    expect(page.locator("pre.classic")).to_contain_text(refusal)

    answer.get_by_role("link", name="Open the rate").click()
    page.get_by_role("link", name="Edit", exact=True).click()
    forbidden = page.locator("[type=checkbox][name=forbidden]")
    expect(forbidden).to_be_checked()
    forbidden.uncheck()
    page.get_by_label("Why", exact=True).fill("John Doe may call toll-free numbers")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile(r"/rates/\d+(\?|$)"))

    node.answered(1.2)
    xdr = books.charged(JOHN, 1)
    assert xdr["called"] == TOLL_FREE
    assert xdr["charged_seconds"] >= 1
    cost = f"{xdr['charged_seconds'] / 100:.2f}"
    assert float(xdr["amount"]) == float(cost)

    page.goto(f"{books.server.web}/accounts/{books.made[JOHN]}/xdrs")
    page.get_by_role("link", name=str(xdr["i_xdr"]), exact=True).click()
    expect(page.locator("header .balance")).to_have_text(f"{cost} USD")
    page.get_by_role("link", name="Find its trace").click()
    reloaded(page, page.locator("tr[data-row] a[data-open]")).click()
    expect(page.locator("h1")).to_have_text(f"{JOHN} → {TOLL_FREE}")
    expect(page.locator(".page-head .tag")).to_contain_text("Answered")
    reloaded(page, page.get_by_role("link", name="What was charged")).click()
    expect(page.locator("h1")).to_have_text(f"xDR {xdr['i_xdr']}")

    search(page, JOHN, "Answered")
    page.goto(f"{books.server.web}/audit?type=rate&id={books.made['1866']}&property=forbidden&kind=change")
    record = page.locator("tr").filter(has_text="Calls to 1866 were allowed again.")
    expect(record).to_have_count(1)
    expect(record).to_contain_text("admin")
    record.locator("td.said a").click()
    expect(page.locator("main")).to_contain_text("John Doe may call toll-free numbers")
