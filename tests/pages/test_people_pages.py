"""People and the profile in a browser: an administrator at work, and what others see of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyotp
import pytest
from browser_site import PASSWORD, USER, Site, Visit, no_sideways_scroll, prepared, serve
from playwright.sync_api import Page, expect

from actors import by_tester
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.records.engine import open_engine

pytestmark = pytest.mark.browser
OTHERS = {"sam": Role.SUPPORT, "nora": Role.NOC, "rea": Role.READ_ONLY, "bill": Role.BILLING}


@pytest.fixture(scope="module")
def people_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With an administrator and one of each role that signs in."""
    settings = prepared(tmp_path_factory.mktemp("people"))
    engine = open_engine(settings.records_url)
    with by_tester(engine) as work:
        for name, role in OTHERS.items():
            add_user(work, name, PASSWORD, role)
    engine.dispose()
    for url in serve(settings):
        yield Site(url, {}, settings)


def sign_in(visit: Visit, site: Site, name: str, password: str = PASSWORD) -> Page:
    page = visit(f"{site.url}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/(sessions|login/code|account/password|profile)"))
    return page


def forgive(visit: Visit, status: int) -> None:
    """That a page was refused is what the test is about, and the browser's console says it too."""
    visit.complaints[:] = [one for one in visit.complaints if f"status of {status}" not in one]


def test_somebody_is_added_signs_in_and_is_shut_out(visit: Visit, people_site: Site) -> None:
    page = visit(f"{people_site.url}/people", site=people_site)
    page.click("text=Add somebody")
    page.fill("[name=name]", "zoe")
    page.fill("[name=full_name]", "Zoe Kazan")
    page.check("[name=role][value=support]")
    page.click("button:text-is('Add')")
    password = page.locator(".secret code").inner_text()

    zoe = sign_in(visit, people_site, "zoe", password)
    assert zoe.url.endswith("/account/password"), "the password was chosen by somebody else"
    expect(zoe.locator("nav[aria-label=Main]")).not_to_contain_text("Sessions")
    zoe.fill("[name=current_password]", password)
    for field in ("new_password", "repeated_password"):
        zoe.fill(f"[name={field}]", "winter coats in august")
    zoe.click("button:text-is('Change password')")
    zoe.wait_for_url("**/sessions*")

    page.goto(f"{people_site.url}/people?q=kaz")
    expect(page.locator("table.people tbody tr")).to_have_count(1)
    page.click("table.people a")
    page.check("[name=role][value=noc]")
    page.click("button:text-is('Save')")
    expect(page.locator("#messages")).to_contain_text("Saved.")
    expect(page.locator(".page-head")).to_contain_text("NOC")
    page.click("button:text-is('Deactivate')")
    expect(page.locator(".page-head")).to_contain_text("not active")
    zoe.goto(f"{people_site.url}/sessions")
    assert "/login" in zoe.url


def test_a_mistake_is_told_beside_its_field_and_what_was_typed_stays(visit: Visit, people_site: Site) -> None:
    page = visit(f"{people_site.url}/people/new", site=people_site)
    page.fill("[name=name]", USER)
    page.fill("[name=full_name]", "Another One")
    page.check("[name=role][value=billing]")
    page.click("button:text-is('Add')")
    expect(page.locator("#error-name")).to_have_text(f"There is a user {USER} already.")
    expect(page.locator("[name=full_name]")).to_have_value("Another One")
    expect(page.locator("[name=role][value=billing]")).to_be_checked()
    forgive(visit, 422)


def test_nobody_edits_themselves(visit: Visit, people_site: Site) -> None:
    page = visit(f"{people_site.url}/people?q={USER}", site=people_site)
    page.click("table.people a")
    expect(page.locator("main")).to_contain_text("This is you")
    expect(page.locator("main button")).to_have_count(0)


@pytest.mark.parametrize("name", list(OTHERS))
def test_others_do_not_come_near_people(visit: Visit, people_site: Site, name: str) -> None:
    page = sign_in(visit, people_site, name)
    expect(page.locator("header.bar, nav.subnav").first).not_to_contain_text("People")
    for path in ("/people", "/people/new", "/people/1", "/people/roles"):
        answer = page.goto(people_site.url + path)
        assert answer
        assert answer.status == 403
        expect(page.locator("main")).to_contain_text("users.read")
    page.goto(f"{people_site.url}/profile")
    expect(page.locator("h1")).to_have_text(name)
    makes_tokens = OTHERS[name] is not Role.READ_ONLY
    expect(page.locator("summary:text-is('Make a token')")).to_have_count(1 if makes_tokens else 0)
    if makes_tokens:
        page.click("summary:text-is('Make a token')")
        expect(page.locator("[name=scope][value='users.write']")).to_have_count(0)
    forgive(visit, 403)


def test_a_token_is_made_seen_once_and_revoked(visit: Visit, people_site: Site) -> None:
    page = visit(f"{people_site.url}/profile", site=people_site)
    page.click("summary:text-is('Make a token')")
    page.fill("[name=token_name]", "grafana")
    page.check("[name=scope][value='sessions.read']")
    page.click("button:text-is('Make the token')")
    token = page.locator("#made-token").inner_text()
    answer = page.request.get(f"{people_site.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["permissions"] == ["sessions.read"]
    page.goto(f"{people_site.url}/profile")
    assert token not in page.content()
    page.click("button[aria-label='Revoke grafana']")
    expect(page.locator("#messages")).to_contain_text("The token grafana is revoked.")
    assert page.request.get(
        f"{people_site.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"}
    ).status == 401  # fmt: skip


def test_a_second_factor_is_set_up_used_and_reset(visit: Visit, people_site: Site) -> None:
    page = sign_in(visit, people_site, "bill")
    page.goto(f"{people_site.url}/profile/second-factor")
    page.fill("[name=password]", PASSWORD)
    page.click("button:text-is('Set up')")
    expect(page.locator(".qr svg")).to_be_visible()
    secret = page.locator("code.wrap").inner_text()
    page.fill("[name=code]", pyotp.TOTP(secret).now())
    page.click("button:text-is('Turn it on')")
    codes = page.locator("ol.codes li").all_inner_texts()
    assert len(codes) == 10

    again = sign_in(visit, people_site, "bill")
    assert "/login/code" in again.url
    again.fill("[name=code]", codes[0])
    again.keyboard.press("Enter")
    again.wait_for_url("**/sessions*")

    admin = visit(f"{people_site.url}/people?q=bill", site=people_site)
    admin.click("table.people a")
    admin.click("button:text-is('Reset second factor')")
    expect(admin.locator("#messages")).to_contain_text("password alone")
    assert sign_in(visit, people_site, "bill").url.endswith("/sessions")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_pages_fit_wide_and_narrow(visit: Visit, people_site: Site, width: int, dark: bool) -> None:
    page = visit(f"{people_site.url}/people", site=people_site, width=width, dark=dark)
    for path in ("/people", "/people?q=nobody-like-that", "/people/roles", "/people/new", "/people/2", "/profile",
                 "/profile/second-factor"):  # fmt: skip
        page.goto(people_site.url + path)
        assert no_sideways_scroll(page), path
        assert page.locator("h1").count() == 1, path


def test_who_may_only_look_is_offered_no_more(visit: Visit, site: Site) -> None:
    engine = open_engine(site.settings.records_url)
    with by_tester(engine) as work:
        add_user(work, "lena", PASSWORD, Role.READ_ONLY)
        add_user(work, "olaf", PASSWORD, Role.SUPPORT)
    engine.dispose()
    session = site.session(next(iter(site.calls)))
    offered = ".page-head .actions :text-matches('Export|Share')"
    reads = sign_in(visit, site, "lena")
    reads.goto(session)
    expect(reads.locator("h1")).to_be_visible()
    expect(reads.locator(offered)).to_have_count(0)
    for path in (f"{session}/export?format=text", f"{session}/shares", f"{site.url}/upload", f"{site.url}/capture"):
        assert reads.request.get(path).status == 403, path
    supports = sign_in(visit, site, "olaf")
    supports.goto(session)
    expect(supports.locator(offered)).to_have_count(2)
    assert supports.request.get(f"{session}/export?format=text").status == 200
