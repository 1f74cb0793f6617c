"""Story 2, the September invoice, as people live it: in a browser, on a clock that stands still between the steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser_site import SLOW_MS, Site, Visit, prepared, serve
from playwright.sync_api import Locator, Page, expect

from goods import World
from ringback import clock
from ringback.audit.relay import rebuild
from ringback.billing.ledger.commands import notice
from ringback.changes.schemas import Actor
from ringback.composition import compose
from ringback.records.engine import open_engine

pytestmark = [pytest.mark.browser, pytest.mark.story2, pytest.mark.timeout(300)]
OVERDUE = Actor("task", "overdue handling", "task", "312")


@dataclass
class Office:
    """A site on a day of which the test says when it ends."""

    site: Site
    world: World
    now_us: int = 0

    def on(self, month: int, day: int, hour: int = 9) -> None:
        self.now_us = clock.to_us(datetime(2026, month, day, hour, tzinfo=UTC))


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    settings = prepared(tmp_path)
    compose(settings)
    engine = open_engine(settings.records_url)
    found = Office(Site("", {}, settings), World(engine))
    found.on(9, 1)
    monkeypatch.setattr(clock, "now_us", lambda: found.now_us)
    for url in serve(settings):
        found.site = Site(url, {}, settings)
        yield found
    engine.dispose()


def sign_in(visit: Visit, office: Office) -> Page:
    """Each day anew: a login does not last for weeks."""
    visit.forget(office.site)
    page = visit(site=office.site, zone="UTC")
    page.context.set_default_timeout(4 * SLOW_MS)
    return page


def confirm(dialog: Locator, button: str, *effects: str) -> None:
    """The effect is read before it is confirmed."""
    dialog.get_by_role("button", name="Show what it does").click()
    for effect in effects:
        expect(dialog.locator(".effects")).to_contain_text(effect)
    dialog.get_by_role("button", name=button).click()
    page = dialog.page
    expect(page).to_have_url(re.compile(r"/billing/done\?"))
    expect(page.locator("main h2")).to_contain_text("Done")


def sentences(page: Page) -> list[str]:
    """The log that is shown, the oldest first."""
    expect(page.locator("td.said").first).to_be_visible()
    return [re.sub(r"\s+", " ", text).strip() for text in page.locator("td.said > a").all_inner_texts()][::-1]


def test_the_september_invoice(visit: Visit, office: Office) -> None:
    world, url = office.world, office.site.url
    customer = world.make("customer", name="Jerry Price", due_days=14)
    office.on(10, 1)
    page = sign_in(visit, office)
    page.goto(f"{url}/customers/{customer}/billing")
    page.locator("summary", has_text="More").click()
    page.get_by_role("link", name="New invoice").click()
    page.get_by_label("Line 1", exact=True).fill("Standard TV, September")
    page.get_by_label("Amount of line 1").fill("100")
    confirm(page.locator("main"), "Make the invoice", "owes 100.00 USD", "Unpaid, 100.00 USD due")
    page.get_by_role("link", name="The invoice", exact=True).click()
    invoice = page.url
    expect(page.locator("h1")).to_have_text("Invoice 1")
    expect(page.locator(".balance")).to_have_text("100.00 USD due on 15 Oct 2026")

    office.on(10, 5)
    page = sign_in(visit, office)
    page.goto(invoice)
    page.locator("summary", has_text="More").click()
    page.get_by_role("link", name="Adjust").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Amount").fill("30")
    dialog.get_by_label("What for").fill("Two calls were charged twice (ticket 4711)")
    confirm(dialog, "Adjust the invoice", "owes 70.00 USD", "Unpaid, 70.00 USD due")

    office.on(10, 12)
    page = sign_in(visit, office)
    page.goto(invoice)
    page.get_by_role("link", name="Make payment").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Amount")).to_have_value("70.00")
    dialog.get_by_label("Amount").fill("60.00")
    dialog.get_by_label("Method").select_option("card")
    confirm(dialog, "Take the payment", "owes 10.00 USD", "Partially paid, 10.00 USD due")
    page.goto(invoice)
    expect(page.locator("header .tag")).to_contain_text("Partially paid")

    office.on(10, 15, hour=23)
    page = sign_in(visit, office)
    page.goto(invoice)
    expect(page.locator("header .tag")).to_contain_text("Partially paid")
    office.on(10, 16)
    assert notice(world.engine, OVERDUE) == {"default": 1}
    page = sign_in(visit, office)
    page.goto(f"{url}/invoices?settlement=overdue")
    expect(page.locator("table.entities tbody tr")).to_have_count(1)
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.locator("header .tag")).to_contain_text("Overdue")
    expect(page.locator(".balance")).to_have_text("10.00 USD was due on 15 Oct 2026")
    page.goto(f"{url}/customers/{customer}/billing")
    expect(page.locator(".figure.bad")).to_contain_text("10.00 USD")

    rebuild(office.site.settings)
    month = "from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:00Z&kind=change"
    page.goto(f"{url}/audit?customer={customer}&{month}")
    assert sentences(page) == [
        "Invoice 1 of 100.00 was issued to customer Jerry Price; it is due on 15 Oct 2026.",
        "Balance of customer Jerry Price changed from 0.00 to 100.00 (increased by 100.00). Source: issue of an invoice.",
        "Invoice 1 was adjusted by -30.00: Two calls were charged twice (ticket 4711) (xDR 2); 70.00 is due.",
        "Balance of customer Jerry Price changed from 100.00 to 70.00 (decreased by 30.00). Source: adjustment (xDR 2).",
        "Payment 1 of 60.00 by card was received from customer Jerry Price (xDR 3).",
        "60.00 of payment 1 went to invoice 1.",
        "Balance of customer Jerry Price changed from 70.00 to 10.00 (decreased by 60.00). Source: customer payment (xDR 3).",
        "Status of invoice 1 changed from Unpaid to Partially paid: 10.00 of 70.00 is due.",
        "Status of invoice 1 changed from Partially paid to Overdue: 10.00 of 70.00 was due on 15 Oct 2026.",
    ]
    page.goto(invoice)
    page.get_by_role("link", name="Audit log: what led to this").click()
    expect(page.locator("main")).to_contain_text("changed from Partially paid to Overdue")
    expect(page.locator("main")).to_contain_text("Payment 1 of 60.00 by card was received")


def test_a_payment_that_finds_nothing_to_settle(visit: Visit, office: Office) -> None:
    customer = office.world.make("customer", name="Jerry Price")
    page = sign_in(visit, office)
    for amount, effect in (("10", "0.00 USD"), ("60", "70.00 USD")):
        page.goto(f"{office.site.url}/customers/{customer}/billing")
        page.get_by_role("link", name="Make payment").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Amount").fill(amount)
        confirm(dialog, "Take the payment", effect)
    xdr = re.search(r"\d+", page.get_by_role("link", name="xDR").inner_text())
    assert xdr is not None
    page.get_by_role("link", name="Audit record").click()
    said = "Unallocated payments changed from 10.00 to 70.00 (increased by 60.00). Source: customer payment"
    expect(page.locator("main")).to_contain_text(f"{said} (xDR {xdr[0]}).")
