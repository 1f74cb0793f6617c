"""Pages of every entity type, by who may and who may not: what holds for one holds for all."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from starlette.requests import Request

from actors import by_tester
from goods import HOME, NAMES, World, changed
from ringback.access.dependencies import current_user
from ringback.access.permissions import Permission, Role
from ringback.access.schemas import Principal
from ringback.access.service import add_user
from ringback.app import create_app
from ringback.audit.models import AuditRecord
from ringback.billing.entities.fields import Kind
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_object import tabs
from ringback.billing.entities.queries import filters_of
from ringback.billing.entities.service import create
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE
from ringback.settings import load_settings

PASSWORD = "correct horse battery"
every = pytest.mark.parametrize("name", NAMES)


@dataclass
class Console:
    """One reader's browser, without scripts."""

    client: TestClient
    world: World
    csrf: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code, shown(answer.text)[:400])
        return answer.text

    def post(self, path: str, data: Mapping[str, object], status: int = 303) -> httpx2.Response:
        answer = self.client.post(path, data=dict(data) | self.csrf, follow_redirects=False)
        assert answer.status_code == status, (path, answer.status_code, shown(answer.text)[:600])
        return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = load_settings({}, data=tmp_path_factory.mktemp("entities"))
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        engine = client.app.state.records  # type: ignore[attr-defined]
        with by_tester(engine) as work:
            for role in (Role.ADMINISTRATOR, Role.NOC, Role.READ_ONLY, Role.SUPPORT):
                add_user(work, role, PASSWORD, role)
        made = World(engine)
        made.app = client.app  # type: ignore[attr-defined]
        yield made


def console(world: World, role: Role) -> Console:
    client = TestClient(world.app, base_url="http://ringback.test")  # type: ignore[attr-defined]
    answer = client.post("/login", data={"name": role, "password": PASSWORD})
    found = re.search(r'name="csrf-token" content="([^"]+)"', answer.text)
    assert found, answer.status_code
    return Console(client, world, {"csrf_token": found[1]})


@pytest.fixture(scope="module")
def elsewhere(world: World) -> World:
    """Another environment beside it."""
    with by_tester(world.engine) as work:
        given = {"name": "Elsewhere", "key": "elsewhere", "currency": "USD", "time_zone": "UTC"}
        create(work, TYPES["environment"], "", given)
    return World(world.engine, "elsewhere")


@pytest.fixture(scope="module")
def admin(world: World) -> Console:
    return console(world, Role.ADMINISTRATOR)


@pytest.fixture(scope="module")
def noc(world: World) -> Console:
    return console(world, Role.NOC)


@pytest.fixture(scope="module")
def reader(world: World) -> Console:
    return console(world, Role.READ_ONLY)


def shown(page: str) -> str:
    """What a person reads of a page."""
    main = page.split("<main", 1)[-1]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def typed(name: str, given: Mapping[str, object]) -> dict[str, str]:
    """What a person types to give this."""
    kind, texts = TYPES[name], {}
    for key, value in given.items():
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, list):
            text = "\n".join(map(str, value))
        elif isinstance(value, dict):
            text = "\n".join(f"{one} = {other}" for one, other in value.items())
        else:
            text = f"#{value}" if kind[key].kind is Kind.LINK else str(value)
        texts[kind[key].name] = text
    return texts


def path_of(name: str, id_: int | str = "") -> str:
    return f"/{TYPES[name].about.path}" + (f"/{id_}" if id_ else "")


def records(world: World, action: str) -> list[AuditRecord]:
    with reading(world.engine, EVERYWHERE) as session:
        return list(session.scalars(select(AuditRecord).where(AuditRecord.action == action).order_by(AuditRecord.id)))


@every
def test_one_is_made_listed_changed_and_deleted_without_scripts(admin: Console, world: World, name: str) -> None:
    kind, path = TYPES[name], path_of(name)
    texts = typed(name, world.given(name))
    form = admin.get(f"{path}/new")
    for text in texts:
        assert f'name="{text}"' in form, text
    where = admin.post(f"{path}/new", texts | {"comment": "ticket 7"}).headers["location"]
    if name == "environment":
        with reading(world.engine, EVERYWHERE) as session:
            newest = session.scalars(select(kind.model).order_by(kind.model.id.desc())).first()
        assert newest is not None
        assert newest.told_as() == texts["name"]
        where = f"{path}/{newest.id}"
    id_ = int(where.rpartition("/")[2])
    title = world.read(name, id_).told_as()
    assert title in shown(admin.get(where)) or name in ("rating_entry", "account_add_on")
    assert f'href="{where}"' in admin.get(path)
    edit = admin.get(f"{where}/edit")
    for each in kind.fields:
        if each.fixed or each.kept:
            assert f'name="{each.name}"' not in edit, each.name
    version = re.search(r'name="version" value="(\d+)"', edit)
    assert version
    assert version[1] == "1"
    answer = admin.post(f"{where}/edit", {"version": "1"})
    assert "Nothing was changed" in shown(admin.get(answer.headers["location"])) or world.read(name, id_).version == 1
    admin.post(f"{where}/edit", typed(name, changed(name, world)) | {"version": "1"})
    assert world.read(name, id_).version == 2
    if name == "environment":
        return  # deleted elsewhere: its roots stay
    assert "taken away for good" in shown(admin.get(f"{where}/delete"))
    admin.post(f"{where}/delete", {"version": "2"})
    admin.get(where, 404)


@every
def test_who_may_only_read_is_offered_no_act_and_refused_each(reader: Console, world: World, name: str) -> None:
    id_ = world.make(name) if name != "environment" else 1
    page, path = reader.get(path_of(name)), path_of(name)
    for act in (f"{path}/new", f"{path}/import", f"{path}/bulk", 'name="id"'):
        assert act not in page, act
    page = reader.get(path_of(name, id_))
    for act in (f"{path}/{id_}/edit", f"{path}/{id_}/delete", f"{path}/{id_}/set/", "/new?"):
        assert act not in page, act
    before = world.read(name, id_).version
    for act in (f"{path}/new", f"{path}/{id_}/edit", f"{path}/{id_}/delete"):
        assert "without the permission" in shown(reader.get(act, 403))
        reader.post(act, {"version": before, "name": "evil"}, 403)
    reader.post(f"{path}/bulk", {"act": "delete", "id": id_}, 403)
    reader.post(f"{path}/bulk/apply", {"act": "delete", "id": id_, "count": 1}, 403)
    assert world.read(name, id_).version == before


@every
def test_who_may_not_even_read_gets_a_page_that_says_so(world: World, name: str) -> None:
    id_ = world.make(name) if name != "environment" else 1
    blind = console(world, Role.READ_ONLY)

    def without(request: Request) -> Principal | None:
        principal = current_user(request)
        return principal and replace(principal, permissions=principal.permissions - {TYPES[name].read})

    app = world.app  # type: ignore[attr-defined]
    app.dependency_overrides[current_user] = without
    try:
        for path in ("", "/suggest?q=a", "/export.csv", f"/{id_}", f"/{id_}/details", f"/{id_}/edit", "/new"):
            assert "Not allowed" in blind.get(path_of(name) + path, 403), path
    finally:
        app.dependency_overrides.clear()


@every
def test_what_is_of_another_environment_is_not_there(elsewhere: World, admin: Console, name: str) -> None:
    if name == "environment":
        return  # an administrator of the whole installation sees them all
    other = elsewhere
    id_ = other.make(name)
    path = path_of(name, id_)
    for act in (path, f"{path}/edit", f"{path}/delete", f"{path}/details"):
        admin.get(act, 404)
    admin.post(f"{path}/edit", {"version": "1"}, 404)
    admin.post(f"{path}/delete", {"version": "1"}, 404)
    assert f'href="{path}"' not in admin.get(path_of(name))
    tried = admin.post(f"{path_of(name)}/bulk", {"act": "delete", "id": id_}, 409)
    assert "deleted" in shown(tried.text)
    assert other.read(name, id_).version == 1


def test_personal_data_is_masked_for_who_may_not_see_it_and_reading_it_is_recorded(
    world: World, admin: Console, noc: Console
) -> None:
    id_ = world.make("customer", name="Prudence Featherlight", email="pru@feather.example", phone="+12105550177")
    account = world.make("account", id="12105550177", i_customer=id_)
    before = len(records(world, "read"))
    secrets = ("Featherlight", "pru@", "12105550177")
    for path in (f"/customers/{id_}", f"/customers/{id_}/details", f"/customers/{id_}/accounts", "/customers",
                 f"/accounts/{account}", "/accounts", f"/accounts?i_customer={id_}",
                 "/customers/suggest?q=Prudence"):  # fmt: skip
        page = noc.get(path)
        assert not [one for one in secrets if one in page], path
        assert "masked" in page or "suggest" in path
    assert len(records(world, "read")) == before, "what is masked was not read"
    assert "Prudence Featherlight" in admin.get(f"/customers/{id_}")
    read = records(world, "read")[-1]
    assert (read.entity_type, read.entity_id, read.actor) == ("customer", str(id_), "administrator")
    admin.get("/customers?q=Featherlight")
    assert len(records(world, "read")) == before + 2


def test_secrets_are_written_and_never_shown(world: World, admin: Console) -> None:
    id_ = world.make("account", service_password="sesame-4711")
    page = f"/accounts/{id_}"
    for path in (page, f"{page}/details", f"{page}/edit", "/accounts", "/accounts/export.csv"):
        assert "sesame" not in admin.get(path), path
    assert "leave empty to keep it" in admin.get(f"{page}/edit")
    admin.post(f"{page}/edit", {"version": "1", "role": "fax", "service_password": ""})
    assert world.read("account", id_).service_password == "sesame-4711"
    admin.post(f"{page}/edit", {"version": "2", "service_password": "", "service_password-remove": "1"})
    assert world.read("account", id_).service_password is None


def test_all_that_is_wrong_is_told_at_once_beside_its_field_and_what_was_typed_stays(
    admin: Console, world: World
) -> None:
    world.make("account", id="12103350001")
    data = {"charging_id": "12103350001", "customer_id": "Nobody at all", "product_id": "", "credit_limit": "-1",
            "allowed_addresses": "1.2.3"}  # fmt: skip
    page = admin.post("/accounts/new", data, 422).text
    for name in ("charging_id", "customer_id", "product_id", "credit_limit", "allowed_addresses"):
        assert f'id="error-{name}"' in page, name
        assert f'href="#in-{name}"' in page, name
    assert "5 fields must be mended" in page
    for typed_ in ("12103350001", "Nobody at all", "-1", "1.2.3"):
        assert typed_ in page


def test_a_moment_is_typed_in_the_zone_of_the_reader(admin: Console, world: World) -> None:
    data = {"tariff_id": f"#{world.one('tariff')}", "prefix": "4477", "price_first": "0.1", "price_next": "0.1",
            "effective_from": "2026-07-01T00:00"}  # fmt: skip
    admin.client.cookies.set("zone", "Europe/Prague")
    try:
        where = admin.post("/rates/new", data).headers["location"]
        assert 'value="2026-07-01T00:00:00"' in admin.get(f"{where}/edit")
    finally:
        admin.client.cookies.delete("zone")
    row = world.read("rate", int(where.rpartition("/")[2]))
    assert row.effective_from.isoformat() == "2026-06-30T22:00:00+00:00"


def test_a_stale_save_shows_was_theirs_and_yours_and_takes_the_choice(admin: Console, world: World) -> None:
    id_ = world.make("customer", credit_limit="100", company="Old", notes="-")
    theirs = {"credit_limit": "120", "company": "Theirs", "city": "Austin"}
    world.change("customer", id_, theirs, 1)
    mine = {"version": "1", "credit_limit": "90", "company": "Mine", "city": "", "notes": "Called", "due_days": "14"}
    page = admin.post(f"/customers/{id_}/edit", mine, 409).text
    assert world.read("customer", id_).credit_limit == 120, "nothing was saved"
    text = shown(page)
    assert "Not saved: this was changed meanwhile ann" in text
    assert "Credit limit 100.00 120.00 90" in text
    assert "Company Old Theirs Mine" in text
    assert "City – Austin not changed by you" in text
    assert re.search(r'name="city" [^>]*value="Austin"|value="Austin"', page), "what only they changed is theirs"
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found
    again = mine | {"version": found[1], "city": "Austin", "keep-credit_limit": "theirs", "keep-company": "mine"}
    admin.post(f"/customers/{id_}/edit", again)
    row = world.read("customer", id_)
    assert (row.credit_limit, row.company, row.city, row.notes) == (120, "Mine", "Austin", "Called")


def test_a_link_that_changed_meanwhile_is_told_by_name(admin: Console, world: World) -> None:
    id_ = world.make("account")
    first, second, third = (world.make("product") for _ in range(3))
    world.change("account", id_, {"i_product": first})
    world.change("account", id_, {"i_product": second})
    page = admin.post(f"/accounts/{id_}/edit", {"version": "2", "product_id": f"#{third}"}, 409).text
    names = [world.read("product", one).name for one in (first, second)]
    assert f"Product {names[0]} {names[1]} #{third}" in shown(page)


def test_what_is_in_use_is_not_deleted_and_says_by_what(admin: Console, world: World) -> None:
    customer = world.make("customer")
    world.make("account", i_customer=customer)
    for answer in (
        admin.get(f"/customers/{customer}/delete"),
        admin.post(f"/customers/{customer}/delete", {}, 409).text,
    ):
        assert "used by 1 account" in shown(answer)
        assert f'href="/accounts?i_customer={customer}"' in answer
    assert shown(admin.get(f"/accounts?i_customer={customer}")).count("Select ") <= 2


def test_a_bulk_act_shows_what_it_does_before_it_does_it(admin: Console, world: World) -> None:
    customer = world.make("customer")
    ids = [world.make("account", i_customer=customer) for _ in range(3)]
    world.change("account", ids[0], {"blocked": True})
    page = admin.post("/accounts/bulk", {"act": "blocked:yes", "id": ids}, 200).text
    assert "Block 2 accounts" in shown(page)
    assert "1 account would stay as before" in shown(page)
    assert not world.read("account", ids[1]).blocked, "so far it was only shown"
    data = {"act": "blocked:yes", "id": ids, "count": 3, "comment": "fraud"}
    answer = admin.post("/accounts/bulk/apply", data)
    assert "Block 2 accounts: done. 1 account stayed as before." in shown(
        admin.get(answer.headers["location"])
    ) or all(world.read("account", id_).blocked for id_ in ids)
    assert all(world.read("account", id_).blocked for id_ in ids)
    effects = [one for one in records(world, "changed") if one.entity_id in map(str, ids[1:])]
    assert {one.cause_id is not None for one in effects} == {True}, "the command is their cause"


def test_all_that_match_are_named_by_their_number_and_nothing_else_is_touched(admin: Console, world: World) -> None:
    one, other = world.make("customer"), world.make("customer")
    ids = [world.make("account", i_customer=one) for _ in range(4)]
    outside = world.make("account", i_customer=other)
    query = f"i_customer={one}"
    page = admin.post("/accounts/bulk", {"act": "blocked:yes", "all": "1", "query": query}, 200).text
    assert "Block 4 accounts" in shown(page)
    late = world.make("account", i_customer=one)
    data = {"act": "blocked:yes", "all": "1", "query": query, "count": 4}
    page = admin.post("/accounts/bulk/apply", data, 409).text
    assert "5 are found now where 4 were expected" in shown(page)
    assert not world.read("account", late).blocked
    admin.post("/accounts/bulk/apply", data | {"count": 5})
    assert all(world.read("account", id_).blocked for id_ in [*ids, late])
    assert not world.read("account", outside).blocked


def test_a_bulk_act_that_takes_a_value_asks_for_it_and_says_what_is_wrong_with_it(
    admin: Console, world: World
) -> None:
    ids = [world.make("account") for _ in range(2)]
    page = admin.post("/accounts/bulk", {"act": "credit_limit:", "id": ids}, 200).text
    assert 'name="credit_limit"' in page
    page = admin.post("/accounts/bulk", {"act": "credit_limit:", "id": ids, "credit_limit": "much"}, 422).text
    assert "an amount such as 12.50" in shown(page)
    data = {"act": "credit_limit:", "id": ids, "credit_limit": "12.5"}
    page = admin.post("/accounts/bulk", data, 200).text
    assert "Set credit limit of 2 accounts" in shown(page)
    assert "12.50" in shown(page)
    admin.post("/accounts/bulk/apply", data | {"count": 2})
    assert [world.read("account", id_).credit_limit for id_ in ids] == [12.5, 12.5]


def test_of_many_that_are_deleted_those_in_use_stay_and_say_why(admin: Console, world: World) -> None:
    used, free = world.make("customer"), world.make("customer")
    world.make("account", i_customer=used)
    data = {"act": "delete", "id": [used, free]}
    page = shown(admin.post("/customers/bulk", data, 200).text)
    assert "Delete 1 customer" in page
    assert "1 customer would be refused" in page
    page = shown(admin.post("/customers/bulk/apply", data | {"count": 2}, 409).text)
    assert "Delete 1 customer: done." in page
    assert "used by 1 account" in page
    admin.get(f"/customers/{used}")
    admin.get(f"/customers/{free}", 404)


@pytest.mark.parametrize(
    "data",
    [{}, {"act": "delete"}, {"act": "balance:", "id": 1}, {"act": "nothing:yes", "id": 1}, {"act": "blocked:yes"}],
)
def test_a_bulk_act_on_nothing_or_of_nothing_is_refused(admin: Console, data: dict[str, object]) -> None:
    admin.post("/customers/bulk", data, 422)
    admin.post("/customers/bulk/apply", data, 422)


def test_a_flag_is_set_in_one_step_from_the_page_of_one(admin: Console, world: World) -> None:
    id_ = world.make("customer")
    assert f"/customers/{id_}/set/blocked/yes" in admin.get(f"/customers/{id_}")
    page = admin.get(f"/customers/{id_}/set/blocked/yes")
    assert "Block 1 customer" in shown(page)
    data = {"act": "blocked:yes", "id": id_, "single": id_, "count": 1}
    assert admin.post("/customers/bulk/apply", data).headers["location"] == f"/customers/{id_}"
    text = shown(admin.get(f"/customers/{id_}"))
    assert "Blocked" in text
    assert "The customer was blocked by hand" in text
    admin.get(f"/customers/{id_}/set/name/yes", 404)
    admin.get(f"/customers/{id_}/set/blocked/perhaps", 404)


def upload(admin: Console, name: str, content: bytes, status: int = 200) -> str:
    answer = admin.client.post(f"{path_of(name)}/import", data=admin.csrf, files={"file": ("rows.csv", content)})
    assert answer.status_code == status, shown(answer.text)[:500]
    return answer.text


def packed(page: str) -> dict[str, object]:
    return {
        "packed": re.findall(r'name="packed" value="([^"]+)"', page),
        "file_name": "rows.csv",
        **({"only_good": "1"} if 'name="only_good"' in page else {}),
    }


def test_an_import_shows_the_outcome_of_each_row_and_writes_only_when_it_is_applied(
    admin: Console, world: World
) -> None:
    old = world.make("product", name="Old one", subscription_fee="5")
    content = b"name,currency,subscription_fee\nOld one,USD,7\nNew one,USD,\nBad one,XXQ,1\nWorse,USD,free\n"
    page = upload(admin, "product", content)
    text = shown(page)
    for said in ("1 new", "1 changed", "2 refused", "Subscription fee: 5.00 → 7.00", "Import 2 products without"):
        assert said in text, said
    assert "4 Bad one ✕ refused Currency:" in text
    assert world.read("product", old).subscription_fee == 5
    page = admin.post("/products/import/apply", packed(page), 200).text
    assert "1 product made, 1 changed. 2 refused" in shown(page)
    assert world.read("product", old).subscription_fee == 7
    assert "New one" in admin.get("/products?q=New+one")
    assert "No product matches" in admin.get("/products?q=Bad+one")


def test_an_import_of_nothing_wrong_needs_no_second_thought(admin: Console) -> None:
    page = upload(admin, "cpe_profile", "﻿name;model\nSalón;T46\n".encode())
    assert "Import 1 CPE profile" in shown(page)
    assert "1 CPE profile made" in shown(admin.post("/cpe-profiles/import/apply", packed(page), 200).text)
    assert "Salón" in admin.get("/cpe-profiles?q=Sal%C3%B3n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "first line of the file names its fields"),
        (b"name,currency\n", "no rows below its first line"),
        (b"name,colour\nx,y\n", "no field: colour"),
        (b"name,currency\n\xff\xfe,USD\n", "UTF-8"),
        (b"name,name\nx,y\n", "names name twice"),
    ],
)
def test_a_file_that_is_none_says_what_is_wrong(admin: Console, content: bytes, said: str) -> None:
    assert said in shown(upload(admin, "product", content, 422))


def test_no_file_and_a_form_that_was_cut_are_refused(admin: Console) -> None:
    assert "Choose a CSV file first" in admin.post("/products/import", {}, 422).text
    for torn in ("", "AAAA", "%%%", "eJzLSM3JyVcozy/KSQE="[:-4]):
        assert "come through whole" in admin.post("/products/import/apply", {"packed": torn}, 422).text


def test_the_template_of_an_import_can_be_imported(admin: Console) -> None:
    for name in NAMES:
        if name != "environment":
            head = admin.get(f"{path_of(name)}/import/template.csv")
            assert "no rows" in shown(upload(admin, name, head.encode(), 422)), name


def test_a_list_is_read_page_by_page_and_shows_each_once(admin: Console, world: World) -> None:
    tariff = world.make("tariff")
    for number in range(120):
        world.make("rate", i_tariff=tariff, prefix=f"9{number:03}", price_first=str(number % 7))
    for sort in ("", "&sort=prefix", "&sort=-price_first", "&sort=destination"):
        seen: list[str] = []
        path = f"/rates?i_tariff={tariff}{sort}"
        while path:
            page = admin.get(path)
            seen += re.findall(r'<a href="/rates/(\d+)">', page)
            following = re.search(r'href="([^"]+)" rel="next"', page)
            path = html.unescape(following[1]) if following else ""
        assert len(seen) == len(set(seen)) == 120, sort
    assert "120 match" in shown(admin.get(f"/rates?i_tariff={tariff}"))


def test_a_list_is_narrowed_by_name_of_what_it_links_to(admin: Console, world: World) -> None:
    customer = world.make("customer", name="Only Mine, Ltd & Sons")
    account = world.make("account", i_customer=customer)
    page = admin.get("/accounts?i_customer=Only+Mine%2C+Ltd+%26+Sons")
    assert f'href="/accounts/{account}"' in page
    assert "Customer: Only Mine, Ltd & Sons" in shown(page)
    assert f'href="/accounts/new?customer_id={customer}"' in page
    assert 'value="Only Mine, Ltd &amp; Sons"' in admin.get(f"/accounts/new?customer_id={customer}")
    page = admin.get("/accounts?i_customer=Nobody", 400)
    assert "There is no customer Nobody." in page
    assert "Nothing was searched" in page


def test_what_a_url_cannot_ask_is_told_and_the_list_shown_or_not(admin: Console, world: World) -> None:
    world.make("customer")
    assert "begin at its first page" in admin.get("/customers?cursor=nonsense")
    assert "cannot be sorted" in admin.get("/customers?sort=notes")
    assert "Nothing was searched" in admin.get("/customers?due_days=x&blocked=perhaps", 400)
    assert "No customer matches" in shown(admin.get("/customers?q=zzzzzz"))
    assert "blocked" in admin.get("/customers?status_shown=blocked").lower()


def test_an_empty_list_says_what_it_is_for_and_the_one_next_thing(world: World) -> None:
    with by_tester(world.engine) as work:
        create(work, TYPES["environment"], "", {"name": "Bare", "key": "bare", "currency": "EUR", "time_zone": "UTC"})
    admin, reader = console(world, Role.ADMINISTRATOR), console(world, Role.READ_ONLY)
    admin.client.cookies.set("ringback_environment", "bare")
    for name in NAMES:
        if name == "environment":
            continue
        text = shown(admin.get(path_of(name)))
        assert TYPES[name].about.help in text
        assert "Create the first" in text
    assert reader.client.get("/customers").status_code == 200


def test_a_hostile_name_stays_text_everywhere(admin: Console, world: World) -> None:
    nasty = "<script>alert(1)</script>\"'&{{7*7}}"
    customer = world.make("customer", name=nasty, notes=nasty, external_id="x-nasty")
    account = world.make("account", i_customer=customer)
    for path in (f"/customers/{customer}", f"/customers/{customer}/edit", "/customers?q=x-nasty", f"/accounts/{account}",
                 f"/accounts/{account}/edit", f"/customers/{customer}/delete", "/customers/suggest?q=x-nasty",
                 f"/customers/{customer}/details"):  # fmt: skip
        page = admin.get(path)
        assert "<script>alert" not in page, path
        assert "49" not in shown(page).replace("490", ""), path


def test_links_to_systems_beside_ours_stand_on_the_pages_of_those_who_see_the_name(
    world: World, admin: Console, noc: Console
) -> None:
    with reading(world.engine, EVERYWHERE) as session:
        model = TYPES["environment"].model
        home = session.scalars(select(model).where(model.environment == HOME)).one()
    world.change("environment", home.id, {"customer_link": "https://crm.example.net/{environment}/{id}?n={name}",
                                          "ticket_link": "https://tickets.example.net/new?about={id}"})  # fmt: skip
    customer = world.make("customer", name="A&B Söhne")
    page = admin.get(f"/customers/{customer}")
    assert f'href="https://crm.example.net/default/{customer}?n=A%26B%20S%C3%B6hne"' in page
    assert f'href="https://tickets.example.net/new?about={customer}"' in page
    masked = noc.get(f"/customers/{customer}")
    assert "crm.example.net" not in masked
    assert "tickets.example.net" in masked


def test_an_export_is_what_the_list_shows(admin: Console, world: World) -> None:
    one = world.make("customer")
    account, other = world.make("account", i_customer=one), world.make("account", i_customer=world.make("customer"))
    answer = admin.client.get(f"/accounts/export.csv?i_customer={one}")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = answer.text.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"{account},")
    assert not any(line.startswith(f"{other},") for line in lines)
    assert admin.client.get("/accounts/export.xlsx").content[:2] == b"PK"
    assert admin.client.get("/accounts/export.pdf").status_code == 422


@every
def test_no_text_in_any_place_is_our_fault(admin: Console, world: World, name: str) -> None:
    id_ = world.make(name) if name != "environment" else 1
    path = path_of(name)
    for value in ("", "\x00", "9" * 400, "#99999999999999999999", "\u202eé'; --"):
        every_field = {each.name: value for each in TYPES[name].fields}
        for where, data in (
            (f"{path}/new", every_field),
            (f"{path}/{id_}/edit", every_field | {"version": value}),
            (f"{path}/{id_}/delete", {"version": value or "0", "comment": value}),
            (f"{path}/bulk", {"act": value, "id": value, "all": value, "query": value}),
            (f"{path}/bulk/apply", {"act": "delete", "id": id_, "count": value or "7"}),
        ):
            answer = admin.client.post(where, data=data | admin.csrf, follow_redirects=False)
            assert answer.status_code < 500, (where, value)
            if answer.status_code == 303 and where.endswith("/delete"):
                id_ = world.make(name)
        for each in ("q", "sort", "cursor", "nonsense", *(one.api for one in filters_of(TYPES[name]))):
            assert admin.client.get(path, params={each: value}).status_code < 500, (each, value)
        assert admin.client.get(f"{path}/suggest", params={"q": value}).status_code < 500


def test_tabs_lead_only_where_the_reader_may_go() -> None:
    may = frozenset({Permission.CUSTOMERS_READ, Permission.SESSIONS_READ, Permission.AUDIT_READ})

    def shown_to(*permissions: Permission) -> set[str]:
        reader = Principal("user", "ann", (HOME,), frozenset(permissions))
        found = {kind: [text for _, text, _ in tabs(TYPES[kind], 7, reader)] for kind in ("customer", "account")}
        assert found["customer"] == [found["account"][0], "Accounts", *found["account"][1:]]
        return set(found["account"])

    everything = shown_to(*may)
    assert everything == {"Overview", "Timeline", "Sessions", "Billing", "Audit log", "Details"}
    assert everything - shown_to(*may - {Permission.SESSIONS_READ}) == {"Sessions"}
    assert everything - shown_to(*may - {Permission.AUDIT_READ}) == {"Audit log"}
    assert ("sessions", "Sessions", "/products/7/sessions") not in tabs(
        TYPES["product"], 7, Principal("user", "ann", (HOME,), may)
    )
