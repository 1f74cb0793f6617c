"""Whose traffic it is, in a browser: an administrator makes, orders, changes, tries and removes rules; others may not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from argon2 import PasswordHasher
from browser_site import PASSWORD, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import Locator, Page, expect

from actors import by_tester
from ringback import clock
from ringback.access import passwords
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.billing.entities.models import Environment
from ringback.records.engine import open_engine
from ringback.sessions.ownership.rules import Rule
from ringback.sessions.ownership.service import MAX_AGE_SECONDS, list_rules, replace_rules

pytestmark = pytest.mark.browser
PATH = "/environments/traffic"
LONG = "The Very Long And Winding Telephone Company of Upper and Lower Featherstonehaugh-Cholmondeley"


@pytest.fixture(scope="module")
def traffic_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With two tenants more, somebody of each other role, and an administrator of one environment."""
    settings = prepared(tmp_path_factory.mktemp("traffic"))
    kept = passwords._hasher
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    engine = open_engine(settings.records_url)
    try:
        with by_tester(engine) as work:
            for key, name in (("acme", LONG), ("voice", "Voice")):
                row = Environment(environment=key, key=key, name=name, created_at=clock.now())
                row.currency, row.time_zone = "USD", "UTC"
                work.add(row)
            for role in (Role.SUPPORT, Role.NOC, Role.BILLING, Role.READ_ONLY):
                add_user(work, role, PASSWORD, role)
            add_user(work, "tom", PASSWORD, everywhere=False)
    finally:
        passwords._hasher = kept
        engine.dispose()
    for url in serve(settings):
        yield Site(url, {}, settings)


@pytest.fixture
def put(traffic_site: Site) -> Iterator[Callable[..., None]]:
    """Sets the rules; afterwards they are as in a new installation."""
    engine = open_engine(traffic_site.settings.records_url)

    def put(*rules: Rule) -> None:
        with by_tester(engine) as work:
            replace_rules(work, list_rules(engine).version, rules)

    yield put
    put(Rule("everything", "", "default"))
    engine.dispose()


def open_page(
    visit: Visit, site: Site, name: str = "", query: str = "", *, width: int = 1440, dark: bool = False
) -> Page:
    """As the administrator, or as `name`."""
    if not name:
        return visit(f"{site.url}{PATH}{query}", site=site, width=width, dark=dark)
    page = visit(f"{site.url}/login", width=width)
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions*")
    return page


def add(page: Page, kind: str, value: str, environment: str) -> None:
    form = page.locator("#add form")
    form.get_by_label("What").select_option(kind)
    form.get_by_label("Which").fill(value)
    form.get_by_label("Comes to").select_option(environment)
    form.get_by_role("button", name="Add the rule").click()


def values(page: Page) -> list[str]:
    """What the rules are about, in order."""
    return [text.split()[0] for text in page.locator("table.traffic-rules tbody td.mono").all_inner_texts()]


def row(page: Page, text: str) -> Locator:
    return page.locator("table.traffic-rules tbody tr", has_text=text)


@pytest.mark.usefixtures("put")
def test_rules_are_made_ordered_changed_and_removed(visit: Visit, traffic_site: Site) -> None:
    page = open_page(visit, traffic_site)
    expect(page.locator("#left-title").locator("xpath=../..")).to_contain_text("Nothing: every session")
    assert values(page) == ["—"]
    add(page, "domain", "SIP.Acme.Example", "acme")
    expect(page.locator("#messages")).to_contain_text(
        "Domain sip.acme.example comes to acme from now on: the 1st rule."
    )
    add(page, "account", "+44%", "voice")
    expect(page.locator("#messages")).to_contain_text("Account 44%")
    assert values(page) == ["sip.acme.example", "44%", "—"]
    expect(row(page, "sip.acme.example")).to_contain_text(LONG)

    page.get_by_role("button", name="Move Account 44% up").click()
    expect(page.locator("#messages")).to_contain_text("The rule is the 1st now.")
    assert values(page) == ["44%", "sip.acme.example", "—"]
    expect(page.get_by_role("button", name="Move Account 44% up")).to_have_count(0)

    row(page, "44%").get_by_role("link", name="Change the rule for Account 44%").click()
    edit = page.locator("#edit")
    edit.get_by_label("Place").fill("2")
    edit.get_by_label("Which").fill("4477%")
    edit.get_by_label("Comes to").select_option("acme")
    edit.get_by_role("button", name="Save").click()
    expect(page.locator("#messages")).to_contain_text("The rule for Account 4477% is changed.")
    assert values(page) == ["sip.acme.example", "4477%", "—"]

    row(page, "everything").get_by_role("link", name="Change").click()
    page.get_by_text("Remove this rule").click()
    expect(page.locator(".removal")).to_contain_text("What matches no other rule will be unassigned")
    page.get_by_role("button", name="Remove the rule for everything").click()
    expect(page.locator("#messages")).to_contain_text("The rule is removed.")
    assert values(page) == ["sip.acme.example", "4477%"]
    expect(page.locator("#rules")).to_contain_text("What matches no rule is unassigned")


def test_rules_are_tried(visit: Visit, traffic_site: Site, put: Callable[..., None]) -> None:
    put(Rule("domain", "*.acme.example", "acme"), Rule("address", "192.0.2.0/24", "voice"))
    time.sleep(MAX_AGE_SECONDS)  # until the running application has noticed
    page = open_page(visit, traffic_site)
    form = page.locator("#try form")
    form.get_by_label("From").fill("sip:1@sip.acme.example")
    form.get_by_role("button", name="Which rule decides?").click()
    expect(page.locator("#try .note")).to_contain_text(f"Rule 1 decides, domain *.acme.example: it comes to {LONG}.")
    expect(form.get_by_label("From")).to_have_value("sip:1@sip.acme.example")
    form.get_by_label("From").fill("")
    form.get_by_label("Sender’s address").fill("192.0.2.9:5060")
    form.get_by_role("button", name="Which rule decides?").click()
    expect(page.locator("#try .note")).to_contain_text("Rule 2 decides, address 192.0.2.0/24")
    form.get_by_label("Sender’s address").fill("203.0.113.1")
    form.get_by_role("button", name="Which rule decides?").click()
    expect(page.locator("#try .note")).to_contain_text("No rule matches")


@pytest.mark.usefixtures("put")
def test_a_mistake_is_told_beside_its_field_and_what_was_typed_stays(visit: Visit, traffic_site: Site) -> None:
    page = open_page(visit, traffic_site)
    add(page, "address", "300.1.2.3", "voice")
    field = page.locator("#add").get_by_label("Which")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("300.1.2.3")
    expect(page.locator("#add")).to_contain_text("is no address or network")
    expect(page.locator("#add").get_by_label("Comes to")).to_have_value("voice")
    visit.complaints[:] = [one for one in visit.complaints if "status of 400" not in one]


def test_who_changed_the_rules_meanwhile_is_not_overwritten(
    visit: Visit, traffic_site: Site, put: Callable[..., None]
) -> None:
    page = open_page(visit, traffic_site)
    put(Rule("domain", "b.example", "voice"))
    add(page, "domain", "a.example", "acme")
    expect(page.locator("#messages")).to_contain_text("The rules were changed meanwhile.")
    assert values(page) == ["b.example"]


@pytest.mark.parametrize("name", [Role.SUPPORT, Role.NOC, Role.BILLING, Role.READ_ONLY, "tom"])
def test_who_does_not_look_after_all_environments_may_not(visit: Visit, traffic_site: Site, name: str) -> None:
    page = open_page(visit, traffic_site, name)
    expect(page.locator(f"a[href='{PATH}']")).to_have_count(0)
    answer = page.goto(f"{traffic_site.url}{PATH}")
    assert answer is not None
    assert answer.status == 403
    expect(page.locator("#rules")).to_have_count(0)
    visit.complaints[:] = [one for one in visit.complaints if "status of 403" not in one]


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1440, True)])
def test_many_rules_and_long_names_fit(
    visit: Visit, traffic_site: Site, put: Callable[..., None], width: int, dark: bool
) -> None:
    long = f"{'very-long-label-of-a-host.' * 6}example.net"
    put(*(Rule("domain", f"d{number}.example", "voice") for number in range(40)), Rule("domain", long, "acme"))
    page = open_page(visit, traffic_site, width=width, dark=dark)
    assert len(values(page)) == 41
    assert no_sideways_scroll(page)
    page.get_by_label("Find rules").fill("d3")
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.locator("#rules")).to_contain_text("11 of 41 rules")
    row(page, "d37.example").get_by_role("link", name="Change").click()
    expect(page.locator("#edit").get_by_label("Place")).to_have_value("38")
    assert no_sideways_scroll(page)


@pytest.mark.parametrize("width", [390, 1440])
def test_no_rule_at_all_says_what_that_means(
    visit: Visit, traffic_site: Site, put: Callable[..., None], width: int
) -> None:
    put()
    page = open_page(visit, traffic_site, width=width)
    expect(page.locator("#rules")).to_contain_text("There is no rule: all traffic is unassigned.")
    assert no_sideways_scroll(page)
