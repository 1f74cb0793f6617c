"""Entities in a browser: keys, dialogs, suggestions, imports, two people at once, small screens, no scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser_site import PASSWORD, SLOW_MS, USER, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import Browser, Page, expect

from actors import by_tester
from ringback import clock
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.queries import ListQuery, page
from ringback.composition import compose
from ringback.demo.entities import make_entities
from ringback.records.engine import open_engine, reading
from ringback.records.tables import DEFAULT_ENVIRONMENT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
REFUSED = {422: "Unprocessable Entity", 409: "Conflict", 403: "Forbidden"}


@dataclass(frozen=True, slots=True)
class Books:
    """A site with the demo's books."""

    site: Site

    def read(self, name: str, search: str) -> Any:
        """The one entity that a search finds."""
        engine = open_engine(self.site.settings.records_url)
        with reading(engine, (DEFAULT_ENVIRONMENT,)) as session:
            row = page(session, TYPES[name], ListQuery(search), sees_personal=True).rows[0]
        engine.dispose()
        return row


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    settings = prepared(tmp_path_factory.mktemp("books"))
    compose(settings)  # secrets are sealed with its key
    engine = open_engine(settings.records_url)
    with by_tester(engine) as work:
        for role in (Role.READ_ONLY, Role.NOC):
            add_user(work, role, PASSWORD, role)
    make_entities(engine, clock.now().date())
    engine.dispose()
    for url in serve(settings):
        yield Books(Site(url, {}, settings))


@pytest.fixture
def agent(visit: Visit, books: Books) -> Page:
    """Signed in, and may do everything."""
    return visit(site=books.site)


def go(page: Page, books: Books, path: str) -> None:
    page.context.set_default_timeout(4 * SLOW_MS)
    page.goto(books.site.url + path)


def forgive(visit: Visit, status: int) -> None:
    """A browser calls every refusal an error."""
    said = f"Failed to load resource: the server responded with a status of {status} ({REFUSED[status]})"
    assert said in visit.complaints
    visit.complaints.remove(said)


def sign_in(visit: Visit, books: Books, name: str) -> Page:
    page = visit(f"{books.site.url}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions*")
    return page


def test_a_list_by_keys_search_filters_and_order(agent: Page, books: Books) -> None:
    go(agent, books, "/accounts")
    agent.keyboard.press("/")
    expect(agent.locator("#q")).to_be_focused()
    agent.keyboard.type("5550130")
    agent.keyboard.press("Enter")
    agent.wait_for_url("**q=5550130*")
    expect(agent.locator("table.entities tbody tr")).to_have_count(1)
    go(agent, books, "/accounts")
    agent.locator(".filters summary").click()
    agent.locator("#f-i_customer").fill("blue ri")
    expect(agent.get_by_role("option", name="Blue Ridge Hotel")).to_be_visible()
    agent.keyboard.press("ArrowDown")
    agent.keyboard.press("Enter")
    expect(agent.locator("#f-i_customer")).to_have_value("Blue Ridge Hotel")
    agent.get_by_role("button", name="Apply filters").click()
    agent.wait_for_url("**i_customer=*")
    expect(agent.locator(".chip")).to_contain_text("Blue Ridge Hotel")
    expect(agent.locator("table.entities tbody tr")).to_have_count(8)
    agent.get_by_role("link", name="Account ID").click()
    agent.wait_for_url("**sort=charging_id*")
    expect(agent.locator("tbody .title-cell").first).to_have_text("12105550128")
    agent.get_by_label("Remove filter Customer: Blue Ridge Hotel").click()
    expect(agent.locator(".chip")).to_have_count(0)


def test_many_are_blocked_after_the_dialog_said_which(agent: Page, books: Books) -> None:
    go(agent, books, "/accounts?q=555014")
    go_button = agent.get_by_role("button", name="Show what it does")
    expect(go_button).to_be_disabled()
    agent.get_by_label("Select 12105550145").check()
    agent.get_by_label("Select 12105550144").check()
    expect(agent.locator("[data-bulk-says]")).to_have_text("2 selected on this page.")
    agent.select_option("#bulk-act", "blocked:yes")
    go_button.click()
    dialog = agent.get_by_role("dialog", name="Block 2 accounts")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("not blocked")
    agent.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert not books.read("account", "12105550145").blocked
    go_button.click()
    dialog.get_by_label("Why").fill("ticket 17")
    dialog.get_by_role("button", name="Block 2 accounts").click()
    expect(agent.locator("#messages")).to_contain_text("Block 2 accounts: done.")
    assert agent.url.endswith("/accounts?q=555014")
    assert books.read("account", "12105550145").blocked
    agent.locator("[data-bulk-all] input").check()
    agent.select_option("#bulk-act", "blocked:no")
    go_button.click()
    agent.get_by_role("dialog").get_by_role("button", name="Unblock 2 accounts").click()
    expect(agent.locator("#messages")).to_contain_text("Unblock 2 accounts: done.")


def test_a_value_for_many_is_asked_for_in_the_same_dialog(agent: Page, visit: Visit, books: Books) -> None:
    go(agent, books, "/accounts?q=5550136")
    agent.locator("[data-all]").check()
    agent.select_option("#bulk-act", label="Set credit limit …")
    agent.get_by_role("button", name="Show what it does").click()
    dialog = agent.get_by_role("dialog")
    expect(dialog.get_by_label("Credit limit")).to_be_focused()
    dialog.get_by_label("Credit limit").fill("plenty")
    agent.keyboard.press("Enter")
    expect(dialog.locator(".error")).to_contain_text("an amount such as 12.50")
    forgive(visit, 422)
    dialog.get_by_label("Credit limit").fill("40")
    agent.keyboard.press("Enter")
    expect(dialog.locator(".effects")).to_contain_text("40.00")
    dialog.get_by_role("button", name="Set credit limit of 1 account").click()
    expect(agent.locator("#messages")).to_contain_text("done")
    assert books.read("account", "12105550136").credit_limit == 40


def test_an_account_is_made_with_suggestions_and_its_errors_are_mended(
    agent: Page, visit: Visit, books: Books
) -> None:
    go(agent, books, "/customers")
    agent.get_by_role("link", name="John Doe").click()
    agent.locator("section.card", has_text="Accounts").get_by_role("link", name="Add").click()
    expect(agent.locator("#in-customer_id")).to_have_value("John Doe")
    agent.locator("#in-product_id").fill("hom")
    agent.get_by_role("option", name="Home Phone").click()
    agent.get_by_label("Account ID").fill("12105550100")
    agent.get_by_label("Credit limit").fill("-3")
    agent.get_by_role("button", name="Create account").click()
    summary = agent.locator(".summary")
    expect(summary).to_contain_text("2 fields must be mended")
    expect(summary).to_be_focused()
    forgive(visit, 422)
    expect(agent.locator("#in-product_id")).to_have_value("Home Phone")
    summary.get_by_role("link", name="Account ID").click()
    expect(agent.get_by_label("Account ID")).to_have_attribute("aria-invalid", "true")
    agent.get_by_label("Account ID").fill("12105559999")
    agent.get_by_label("Credit limit").fill("30")
    agent.get_by_role("button", name="Create account").click()
    expect(agent.locator("#messages")).to_contain_text("The account 12105559999 is created.")
    agent.locator("summary", has_text="More").click()
    agent.get_by_role("link", name="Delete …").click()
    agent.get_by_role("dialog").get_by_role("button", name="Delete the account").click()
    expect(agent.locator("#messages")).to_contain_text("The account 12105559999 is deleted.")


def test_two_who_change_the_same_see_each_other(visit: Visit, books: Books) -> None:
    first, second = visit(site=books.site), visit(site=books.site)
    for each in (first, second):
        go(each, books, "/customers?q=Jane+Ortiz")
        each.get_by_role("link", name="Jane Ortiz").click()
        each.get_by_role("link", name="Edit").click()
    second.get_by_label("Credit limit").fill("120")
    second.get_by_label("City").fill("Austin")
    second.get_by_role("button", name="Save").click()
    expect(second.locator("#messages")).to_contain_text("Saved.")
    first.get_by_label("Credit limit").fill("90")
    first.get_by_label("Notes").fill("Rang on Monday")
    first.get_by_role("button", name="Save").click()
    conflict = first.locator(".conflict")
    expect(conflict).to_contain_text("this was changed meanwhile")
    expect(conflict).to_contain_text(USER)
    forgive(visit, 409)
    expect(first.get_by_label("City")).to_have_value("Austin")
    expect(conflict.locator("tr", has_text="Credit limit")).to_contain_text("120.00")
    conflict.locator('[name="keep-credit_limit"][value="theirs"]').check()
    first.get_by_role("button", name="Save").click()
    expect(first.locator("#messages")).to_contain_text("Saved.")
    row = books.read("customer", "Jane Ortiz")
    assert (row.credit_limit, row.city, row.notes) == (120, "Austin", "Rang on Monday")


def test_a_file_is_tried_and_then_imported(agent: Page, books: Books, tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text("id,customer,product\n12105558001,Mei Lin,Home Phone\n12105558002,Nobody,Home Phone\n")
    go(agent, books, "/accounts")
    agent.get_by_role("link", name="Import").click()
    agent.set_input_files("#file", file)
    agent.get_by_role("button", name="Show what it would do").click()
    outcomes = agent.locator(".outcomes")
    expect(outcomes).to_contain_text("There is no customer Nobody.")
    expect(outcomes.locator("tr", has_text="12105558001")).to_contain_text("new")
    agent.get_by_role("button", name="Import 1 account without the refused rows").click()
    expect(agent.locator(".note")).to_contain_text("1 account made")
    assert books.read("account", "12105558001").charging_id == "12105558001"


def test_what_is_in_use_is_refused_in_the_dialog_with_the_way_to_it(agent: Page, books: Books) -> None:
    go(agent, books, "/products?q=Home")
    agent.get_by_role("link", name="Home Phone").click()
    agent.locator("summary", has_text="More").click()
    agent.get_by_role("link", name="Delete …").click()
    dialog = agent.get_by_role("dialog", name="Home Phone cannot be deleted")
    dialog.get_by_role("link", name="accounts").click()
    agent.wait_for_url("**/accounts?i_product=*")


def test_the_head_tells_the_status_with_its_reason(agent: Page, books: Books) -> None:
    go(agent, books, "/customers?status_shown=blocked")
    agent.get_by_role("link", name="Riverwalk Dental").click()
    head = agent.locator(".object-head")
    expect(head).to_contain_text("Blocked")
    expect(head).to_contain_text("The customer was blocked by hand: none of its accounts works.")
    expect(head).to_contain_text("owes nothing")
    agent.get_by_role("navigation", name="Parts of this page").get_by_role("link", name="Accounts").click()
    expect(agent.locator("table.entities tbody tr")).to_have_count(2)
    expect(agent.locator("table.entities")).to_contain_text("Customer blocked")


def test_a_tariff_shows_its_rates_and_which_are_forbidden(agent: Page, books: Books) -> None:
    go(agent, books, "/tariffs?q=Home")
    agent.get_by_role("link", name="Home voice").click()
    agent.get_by_role("navigation", name="Parts of this page").get_by_role("link", name="Rates").click()
    expect(agent.locator("tr", has_text="Premium numbers 866")).to_contain_text("Forbidden")
    expect(agent.locator("tr", has_text="Germany, Berlin")).to_contain_text("0.0190 USD")


@pytest.mark.parametrize("role", [Role.READ_ONLY, Role.NOC])
def test_who_may_not_change_customers_is_offered_nothing_and_sees_masks(
    visit: Visit, books: Books, role: Role
) -> None:
    page = sign_in(visit, books, role)
    go(page, books, "/customers")
    expect(page.locator("main")).to_contain_text("Personal data is masked")
    expect(page.locator("main")).not_to_contain_text("Featherstonehaugh")
    expect(page.locator("main input[type=checkbox]")).to_have_count(0)
    expect(page.get_by_role("link", name="New customer")).to_have_count(0)
    page.locator("tbody .title-cell a").first.click()
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    expect(page.locator("summary", has_text="More")).to_have_count(0)
    go(page, books, "/customers/new")
    expect(page.locator("main")).to_contain_text("without the permission customers.write")
    forgive(visit, 403)
    go(page, books, "/nodes")
    may = role is Role.NOC
    expect(page.get_by_role("link", name="New node")).to_have_count(1 if may else 0)


@pytest.mark.parametrize(("width", "dark"), [(1440, True), (390, False)])
def test_no_page_is_wider_than_its_window(visit: Visit, books: Books, width: int, dark: bool) -> None:
    page = visit(site=books.site, width=width, dark=dark)
    paths = [f"/{kind.about.path}" for kind in TYPES.values()]
    paths += [f"{path}/1" for path in paths] + [
        "/customers/new",
        "/accounts/1/edit",
        "/accounts/import",
        "/nodes/4/edit",
    ]
    for path in paths:
        go(page, books, path)
        expect(page.locator("h1")).to_be_visible(timeout=SLOW_MS)
        assert no_sideways_scroll(page), (path, width)


def test_all_of_it_works_without_scripts(browser: Browser, visit: Visit, books: Books) -> None:
    signed_in = visit(site=books.site)
    context = browser.new_context(java_script_enabled=False, storage_state=signed_in.context.storage_state())
    try:
        page = context.new_page()
        go(page, books, "/accounts?q=5550133")
        page.get_by_label("Select 12105550133").check()
        page.select_option("#bulk-act", "blocked:yes")
        page.get_by_role("button", name="Show what it does").click()
        expect(page.locator("h2", has_text="Block 1 account")).to_be_visible()
        page.get_by_role("button", name="Block 1 account").click()
        expect(page.locator("#messages")).to_contain_text("Block 1 account: done.")
        go(page, books, "/accounts/new")
        for name, text in (("charging_id", "12105558800"), ("customer_id", "Mei Lin"), ("product_id", "Home Phone")):
            page.fill(f"#in-{name}", text)
        page.get_by_role("button", name="Create account").click()
        expect(page.locator("#messages")).to_contain_text("The account 12105558800 is created.")
        page.locator("summary", has_text="More").click()
        page.get_by_role("link", name="Delete …").click()
        page.get_by_role("button", name="Delete the account").click()
        expect(page.locator("#messages")).to_contain_text("The account 12105558800 is deleted.")
    finally:
        context.close()
