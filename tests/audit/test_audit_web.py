"""Pages and API of the audit log, by who may and who may not."""

from __future__ import annotations

import csv
import html
import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import httpx2
import pytest
from chains import intruder
from fastapi.testclient import TestClient
from invoice_story import tell_invoice_story
from sqlalchemy import Engine, text

from actors import by_tester
from audited import ANN, add_customer, add_product, assert_audited, records
from ringback.access.permissions import Role
from ringback.access.service import add_user
from ringback.access.tokens import create_token
from ringback.app import create_app
from ringback.audit.relay import rebuild
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.service import create
from ringback.changes.service import because, changing, note_on
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings, load_settings

PASSWORD = "correct horse battery"


@dataclass
class World:
    settings: Settings
    client: TestClient
    engine: Engine
    customer: int
    root: int
    token: str
    consoles: dict[Role, Console] = field(default_factory=dict)

    def api(self, path: str, status: int = 200) -> dict[str, object]:
        answer = self.client.get(path, headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code == status, (path, answer.status_code, answer.text[:400])
        found: dict[str, object] = answer.json()
        return found

    def copied(self) -> None:
        rebuild(self.settings)


@dataclass
class Console:
    client: TestClient
    csrf: str

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code, shown(answer.text)[:400])
        return answer.text

    def post(self, path: str, status: int = 303) -> httpx2.Response:
        answer = self.client.post(path, data={"csrf_token": self.csrf}, follow_redirects=False)
        assert answer.status_code == status, (path, answer.status_code)
        return answer


def shown(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.split("<main", 1)[-1])).split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = load_settings({}, data=tmp_path_factory.mktemp("audit"))
    with TestClient(create_app(settings), base_url="http://ringback.test") as client:
        engine: Engine = client.app.state.records  # type: ignore[attr-defined]
        with by_tester(engine) as work:
            for role in (Role.ADMINISTRATOR, Role.NOC, Role.READ_ONLY, Role.SUPPORT):
                add_user(work, role, PASSWORD, role)
            token = create_token(work, "crm")
        customer, root = tell_invoice_story(engine)
        world = World(settings, client, engine, customer, root, token)
        world.copied()
        yield world


def console(world: World, role: Role) -> Console:
    if role not in world.consoles:
        client = TestClient(world.client.app, base_url="http://ringback.test")
        answer = client.post("/login", data={"name": role, "password": PASSWORD})
        found = re.search(r'name="csrf-token" content="([^"]+)"', answer.text)
        assert found, answer.status_code
        world.consoles[role] = Console(client, found[1])
    return world.consoles[role]


def test_a_customers_log_is_there_at_once_and_who_read_it_too(world: World) -> None:
    admin = console(world, Role.ADMINISTRATOR)
    page = shown(admin.get(f"/customers/{world.customer}/audit"))
    for sentence in (
        "Product changed from Standard TV to Premium TV.", "Customer Jerry Price was suspended.",
        "Account 12103355787 was blocked.",
        "Balance of customer Jerry Price changed from 100.00 to 70.00 (decreased by 30.00).",
        "Two calls were charged twice (ticket 4711)", "−60.00", "10.00 USD", "198.51.100.4",
    ):  # fmt: skip
        assert sentence in page
    assert_audited(world.engine, "customer", world.customer, "audit.read", actor="administrator")
    assert "looked at the audit log of customer Jerry Price" in shown(
        admin.get(f"/customers/{world.customer}/audit?kind=read")
    )
    assert "looked at the audit log" not in page


def test_who_may_not_see_personal_data_reads_masks_and_leaves_no_read(world: World) -> None:
    noc = console(world, Role.NOC)
    before = len(records(world.engine, action="audit.read"))
    for path in (
        f"/customers/{world.customer}/audit",
        f"/audit/{world.root}",
        "/audit",
        "/audit?kind=change&last=180d",
    ):
        page = noc.get(path)
        assert "Jerry" not in page, path
        assert "12103355787" not in page, path
        assert "ticket 4711" not in page, path
    assert "Jxxxx Pxxxx" in noc.get(f"/audit/{world.root}")
    assert len(records(world.engine, action="audit.read")) == before
    exported = noc.get("/audit/export.csv?last=180d")
    assert "Jerry" not in exported
    assert "12103355787" not in exported


def test_masked_readers_cannot_search_by_name(world: World) -> None:
    refused = shown(console(world, Role.NOC).get("/audit?name=Jerry", 400))
    assert "takes the permission personal.read" in refused
    console(world, Role.NOC).get("/audit/export.csv?name=Jerry", 400)
    assert "Jerry Price" in shown(console(world, Role.ADMINISTRATOR).get("/audit?name=Jerry"))


def test_every_entity_type_has_its_log(world: World) -> None:
    admin = console(world, Role.ADMINISTRATOR)
    for kind in TYPES.values():
        missing = shown(admin.get(f"/{kind.about.path}/987654/audit", 404))
        assert "no record of one" in missing, kind.name
    product = records(world.engine, entity_type="product")[0]
    assert "Product Standard TV was created." in shown(admin.get(f"/products/{product.entity_id}/audit"))
    assert 'href="/products/' in admin.get(f"/products/{product.entity_id}/audit")


def test_what_was_deleted_keeps_its_log(world: World) -> None:
    with changing(world.engine, ANN, EVERYWHERE) as work:
        product = add_product(work, "Short lived", environment="default")
    with changing(world.engine, ANN, EVERYWHERE) as work:
        work.delete(work.get_one(type(product), product.id))
    page = shown(console(world, Role.READ_ONLY).get(f"/products/{product.id}/audit"))
    assert "Product Short lived was deleted." in page
    assert "deleted" in page


def test_the_chain_can_be_walked_from_an_effect_to_its_root(world: World) -> None:
    admin = console(world, Role.ADMINISTRATOR)
    blocked = records(world.engine, action="changed", entity_type="account")[1]
    page = admin.get(f"/audit/{blocked.id}")
    assert "Account 12103355787 was blocked. this record" in shown(page)
    assert "12 records · 0.00 USD in all" in shown(page)
    linked = [int(found) for found in re.findall(r'<a href="/audit/(\d+)"', page)]
    assert world.root in linked
    assert len(set(linked)) >= 11
    positions = [page.index(f'href="/audit/{each}"') for each in sorted(set(linked) - {blocked.id})]
    assert positions == sorted(positions)  # causes above, effects below


def test_many_effects_fold_and_unfold(world: World) -> None:
    with changing(world.engine, ANN, ("default",)) as work:
        first = add_product(work, "Root")
        command = note_on(work, "entities.bulk", first, count=40)
        with because(work, command):
            copies = [add_product(work, f"Copy {number}") for number in range(40)]
    last = records(world.engine, entity_type="product", entity_id=str(copies[-1].id))[0]
    admin = console(world, Role.ADMINISTRATOR)
    page = shown(admin.get(f"/audit/{last.id}"))
    assert "Copy 11 was created" in page
    assert "Copy 12 was created" not in page
    assert "Copy 39 was created. this record" in page  # the one that is looked at is always there
    assert "27 more effects" in page
    assert "Copy 12 was created" in shown(admin.get(f"/audit/{last.id}?unfold={command.record_id}"))
    assert "Copy 25 was created" in shown(admin.get(f"/audit/{last.id}?all=true"))


@pytest.fixture(scope="module")
def elsewhere(world: World) -> int:
    """Id of a record of another environment, caused by one of this."""
    with by_tester(world.engine) as work:
        given = {"name": "Elsewhere", "key": "elsewhere", "currency": "USD", "time_zone": "UTC"}
        create(work, TYPES["environment"], "", given)
    with changing(world.engine, ANN, EVERYWHERE) as work, because(work, world.root):
        add_customer(work, "Secret Customer", environment="elsewhere")
    world.copied()
    return records(world.engine, "elsewhere")[-1].id


def test_no_page_and_no_answer_crosses_to_another_environment(world: World, elsewhere: int) -> None:
    support = console(world, Role.SUPPORT)
    support.get(f"/audit/{elsewhere}", 404)
    for path in ("/audit?last=180d", f"/audit/{world.root}", "/audit/export.csv?last=180d", "/audit?name=Secret"):
        assert "Secret Customer" not in support.get(path), path
    world.api(f"/api/v1/audit/{elsewhere}", 404)
    world.api(f"/api/v1/audit/{elsewhere}/chain", 404)
    assert "Secret Customer" not in str(world.api("/api/v1/audit?last=180d&limit=500"))
    assert "Secret Customer" not in str(world.api(f"/api/v1/audit/{world.root}/chain"))
    everywhere = console(world, Role.ADMINISTRATOR)
    assert "Secret Customer" in everywhere.get(
        f"/audit/{world.root}?all=true"
    )  # who may see both sees the whole tree


def test_a_record_of_another_environment_links_to_no_customer_of_this(world: World, elsewhere: int) -> None:
    page = console(world, Role.ADMINISTRATOR).get(f"/audit/{elsewhere}")
    assert "Customer Secret Customer was created." in page
    assert 'href="/customers/' not in page.split("<main")[1]


def test_who_may_not_read_the_audit_log_is_refused_everywhere(world: World) -> None:
    with by_tester(world.engine) as work:
        token = create_token(work, "narrow", scopes=("sessions.read",))
    for path in (
        "/audit", "/audit/1", "/audit/export.csv", "/audit/verification", f"/customers/{world.customer}/audit",
        "/api/v1/audit", "/api/v1/audit/1", "/api/v1/audit/1/chain",
    ):  # fmt: skip
        answer = world.client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403, path
        unknown = world.client.get(path, headers={"Authorization": "Bearer rb_x"}, follow_redirects=False)
        assert unknown.status_code == (401 if path.startswith("/api/") else 303), path


FILTERS = (
    "type=customer", "type=customer&type=account", "kind=change", "action=changed", "property=blocked", "realm=task",
    "user=bob", "ip=198.51.100.4", "ip=198.51.*", "request=request-9", "min=-60&max=-30", "customer={customer}",
    "name=jerry", "name=12103355787", "personal=yes", "last=24h", "type=customer&id={customer}",
)  # fmt: skip


@pytest.mark.parametrize("asked", FILTERS)
def test_every_filter_finds_what_it_names_and_nothing_else(world: World, asked: str) -> None:
    asked = asked.format(customer=world.customer)
    found = world.api(f"/api/v1/audit?limit=500&{asked}")["records"]
    assert isinstance(found, list)
    assert found
    every = world.api("/api/v1/audit?limit=500")["records"]
    assert isinstance(every, list)
    wanted = dict(each.split("=") for each in asked.split("&"))
    for each in every:
        amount = Decimal(each["amount"] or 0) if each["amount"] else None
        fits = {
            "type": each["entity_type"] in asked, "kind": each["kind"] == "change", "action": each["action"] == "changed",
            "property": "blocked" in each["changes"], "realm": each["realm"] == "task", "user": each["actor"] == "bob",
            "ip": each["address"].startswith("198.51"), "request": each["request_id"] == "request-9",
            "min": amount is not None and amount >= -60, "id": each["entity_id"] == str(world.customer),
            "max": amount is not None and amount <= -30,
            "customer": each["i_customer"] == world.customer,
        }  # fmt: skip
        checked = [fits[name] for name in wanted if name in fits]
        if checked and all(checked):
            assert each["id"] in {one["id"] for one in found}, each["sentence"]
        elif checked:
            assert each["id"] not in {one["id"] for one in found}, each["sentence"]


@pytest.mark.parametrize(
    ("asked", "field_", "status"),
    [
        ("min=abc", "min", 400), ("last=9y", "last", 400), ("from=yesterday", "from", 400), ("kind=x", "kind", 400),
        ("customer=x", "customer", 400), ("customer=" + "9" * 30, "customer", 400), ("realm=moon", "realm", 400),
        ("from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z", "from", 400), ("cursor=nonsense", "cursor", 400),
        ("max=1e400", "max", 400), ("max=NaN", "max", 400), ("limit=0", None, 422), ("limit=501", None, 422),
    ],
)  # fmt: skip
def test_a_search_that_makes_no_sense_names_the_field(
    world: World, asked: str, field_: str | None, status: int
) -> None:
    problem = world.api(f"/api/v1/audit?{asked}", status)
    if field_:
        assert problem["field"] == field_
        console(world, Role.ADMINISTRATOR).get(f"/audit?{asked}", status)


def test_pages_of_the_api_follow_each_other_without_gaps(world: World) -> None:
    every: list[int] = []
    cursor = ""
    while True:
        page = world.api(
            f"/api/v1/audit?kind=change&from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=7{cursor}"
        )
        assert isinstance(page["records"], list)
        every += [each["id"] for each in page["records"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert every == sorted(set(every), reverse=True)
    assert world.root in every


def test_the_api_tells_a_record_and_its_chain(world: World) -> None:
    one = world.api(f"/api/v1/audit/{world.root}")
    assert one["sentence"] == "Balance of customer Jerry Price changed from 0.00 to 100.00 (increased by 100.00)."
    assert (one["amount"], one["balance_after"], one["currency"]) == ("100.00000", "100.00000", "USD")
    assert one["changes"] == {
        "balance": {"old": "0", "new": "100", "label": "Balance", "old_text": "0.00", "new_text": "100.00"}
    }
    chain = world.api(f"/api/v1/audit/{world.root}/chain")
    assert chain["complete"] is True
    assert isinstance(chain["nodes"], list)
    assert [node["depth"] for node in chain["nodes"]][:4] == [0, 1, 2, 3]
    for identifier in (0, -1, 2**63, 2**70):
        world.api(f"/api/v1/audit/{identifier}", 404)


def test_the_export_has_everything_the_search_finds_and_no_formula(world: World) -> None:
    with changing(world.engine, ANN, ("default",), reason="=cmd()") as work:
        add_product(work, "+1 formula")
    world.copied()
    answer = console(world, Role.ADMINISTRATOR).get("/audit/export.csv?type=product")
    rows = list(csv.DictReader(io.StringIO(answer)))
    assert rows[0]["sentence"] == "Product +1 formula was created."
    assert rows[0]["entity_name"] == "'+1 formula"
    assert rows[0]["reason"] == "'=cmd()"
    money = list(
        csv.DictReader(io.StringIO(console(world, Role.ADMINISTRATOR).get("/audit/export.csv?min=-30&max=-30")))
    )
    assert money[0]["amount"] == "-30.00000"
    assert_audited(world.engine, "audit_log", "default", "audit.export.read", actor="administrator")


def test_the_button_verifies_in_a_process_of_its_own(world: World) -> None:
    console(world, Role.SUPPORT).post("/audit/verification", 403)
    admin = console(world, Role.ADMINISTRATOR)
    assert "was not verified from here yet" in shown(admin.get("/audit/verification"))
    admin.post("/audit/verification")
    page = wait_for_verification(admin)
    assert "✓ Whole." in page
    assert_audited(world.engine, "audit_log", "default", "audit.verified", actor="administrator")
    assert "Verify" not in shown(console(world, Role.SUPPORT).get("/audit/verification"))


def test_the_button_names_the_first_broken_record(world: World) -> None:
    """The last test of this world: its chain is not mended."""
    broken = records(world.engine)[3]
    with intruder(world.engine) as connection:
        connection.execute(text(f"UPDATE audit_records SET actor = 'eve' WHERE id = {broken.id}"))
    admin = console(world, Role.ADMINISTRATOR)
    admin.post("/audit/verification")
    page = wait_for_verification(admin, but="✓ Whole.")
    assert "✕ Broken: changed. Record 4 is not as it was written." in page
    assert f"Open record {broken.id}" in page


def wait_for_verification(reader: Console, but: str = "Nobody") -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        page = shown(reader.get("/audit/verification"))
        if ("Whole" in page or "Broken" in page) and but not in page:
            return page
        time.sleep(0.2)
    raise AssertionError(page)
