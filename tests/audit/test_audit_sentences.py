"""Every record is one sentence that can be read aloud, in any language there is, and masked for who may not see more."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Engine

import ringback
from audited import ANN, add_account, add_customer, add_product, jerry_price
from databases import SQLITE
from ringback import clock
from ringback.access.permissions import PERMISSIONS, Permission, Role
from ringback.access.schemas import Principal
from ringback.audit import catalogue, service
from ringback.audit.catalogue import Message, messages, places
from ringback.audit.queries import of_account, of_customer, of_entity
from ringback.audit.telling import ToldRecord
from ringback.billing.entities.models import TYPES, Account, AddOn, Customer, DidNumber, Product, Rate, Tariff
from ringback.changes.schemas import READ, Json, Owner
from ringback.changes.service import changing, note, note_on
from ringback.events.store import AuditQuery
from ringback.records.engine import UnitOfWork

SOURCES = Path(ringback.__file__).parent
HERE = ("default",)


@pytest.fixture
def database() -> str:
    """What both have to say alike is said by the other tests."""
    return SQLITE


def reader(role: Role, environments: tuple[str, ...] = HERE) -> Principal:
    return Principal("user", role, environments, PERMISSIONS[role])


CLEAR, MASKED = reader(Role.ADMINISTRATOR), reader(Role.READ_ONLY)


def newest(engine: Engine, of: object, who: Principal = CLEAR) -> ToldRecord:
    return service.log_of(engine, who, of).records[0]  # type: ignore[arg-type]


def change_account(values: dict[str, object]) -> Callable[[UnitOfWork], None]:
    def do(work: UnitOfWork) -> None:
        account = work.query(Account).one()
        for name, value in values.items():
            setattr(account, name, value)

    return do


def change_customer(values: dict[str, object]) -> Callable[[UnitOfWork], None]:
    def do(work: UnitOfWork) -> None:
        customer = work.query(Customer).one()
        for name, value in values.items():
            setattr(customer, name, value)

    return do


SENTENCES: list[tuple[Callable[[UnitOfWork], None], str]] = [
    (change_customer({"blocked": True}), "Customer Jerry Price was blocked."),
    (change_customer({"bill_status": "suspended"}), "Customer Jerry Price was suspended."),
    (change_customer({"credit_limit": Decimal("50")}), "A credit limit of 50.00 was set for customer Jerry Price."),
    (
        change_customer({"credit_limit": Decimal("12.345")}),
        "A credit limit of 12.345 was set for customer Jerry Price.",
    ),
    (
        change_customer({"credit_limit": Decimal("1000")}),
        "A credit limit of 1\u202f000.00 was set for customer Jerry Price.",
    ),
    (
        change_customer({"due_days": 30}),
        "Days until due of customer Jerry Price changed from 14 days to 30 days (increased by 16 days).",
    ),
    (
        change_customer({"due_days": 7}),
        "Days until due of customer Jerry Price changed from 14 days to 7 days (decreased by 7 days).",
    ),
    (
        change_customer({"email": "jerry@home.example"}),
        "E-mail of customer Jerry Price was set to jerry@home.example.",
    ),
    (
        change_customer({"name": "Jerry Prize"}),
        "Name of customer Jerry Prize changed from Jerry Price to Jerry Prize.",
    ),
    (
        change_customer({"city": "Waco", "country": "US"}),
        "Customer Jerry Price was changed: City set to Waco, and country set to US.",
    ),
    (
        change_customer({"city": "Waco", "country": "US", "due_days": 7, "phone": "1", "company": "X"}),
        "Customer Jerry Price was changed: City set to Waco, company set to X, country set to US, and 2 more properties.",
    ),
    (change_account({"status": "suspended"}), "Status of account 12103355787 changed from Active to Suspended."),
    (change_account({"expiration_date": date(2026, 12, 31)}), "Account 12103355787 expires after 31 Dec 2026."),
    (change_account({"service_password": "geheim"}), "Service password of account 12103355787 was set."),
    (
        change_account({"allowed_addresses": ["192.0.2.1", "192.0.2.2"]}),
        "Addresses it calls from of account 12103355787 was set to 192.0.2.1, 192.0.2.2.",
    ),
]


@pytest.mark.parametrize(("do", "sentence"), SENTENCES, ids=[sentence for _, sentence in SENTENCES])
def test_a_change_is_told_in_one_sentence(engine: Engine, do: Callable[[UnitOfWork], None], sentence: str) -> None:
    customer, _ = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        do(work)
    assert newest(engine, of_customer("default", customer.id)).sentence == sentence


def test_links_are_told_by_their_names_also_when_what_they_lead_to_is_gone(engine: Engine) -> None:
    customer, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        premium = add_product(work, "Premium TV")
        work.get_one(Account, account.id).product_id = premium.id
    with changing(engine, ANN, HERE) as work:
        work.get_one(Account, account.id).product_id = add_product(work, "Other").id
        work.flush()
        work.delete(work.get_one(Product, premium.id))
    found = service.log_of(engine, CLEAR, of_account("default", account.id)).records
    assert [each.sentence for each in found] == [
        "Product changed from Premium TV to Other.",
        "Product changed from Standard TV to Premium TV.",
        "Account 12103355787 was created for customer Jerry Price with product Standard TV.",
    ]
    assert found[0].changes[0].old == "Premium TV"
    assert (found[0].customer and found[0].customer.name) == "Jerry Price"
    assert (
        newest(engine, of_entity("default", "product", str(premium.id))).sentence == "Product Premium TV was deleted."
    )
    assert customer.id


def test_what_belongs_to_an_account_is_told_with_it(engine: Engine) -> None:
    _, account = jerry_price(engine)
    with changing(engine, ANN, HERE) as work:
        now = clock.now()
        sport = add_product(work, "Sport")
        work.add(
            AddOn(
                account_id=account.id,
                product_id=sport.id,
                effective_from=date(2026, 1, 1),
                priority=1,
                created_at=now,
            )
        )
        number = DidNumber(number="12105550100", created_at=now)
        tariff = Tariff(name="Standard rates", currency="USD", created_at=now)
        work.add_all([number, tariff])
        work.flush()
        rate = {"price_first": Decimal(0), "price_next": Decimal(0), "interval_first": 1, "interval_next": 1}
        work.add(Rate(tariff_id=tariff.id, prefix="1866", effective_from=now, created_at=now, **rate))
        work.flush()
    with changing(engine, ANN, HERE) as work:
        work.query(DidNumber).one().account_id = account.id
        work.query(Rate).one().forbidden = True
    said = [each.sentence for each in service.log_of(engine, CLEAR, of_account("default", account.id)).records]
    assert said[:2] == [
        "DID number 12105550100 was given to account 12103355787.",
        "Add-on product Sport was added to account 12103355787.",
    ]
    rates = service.log_of(engine, CLEAR, of_entity("default", "rate", "1")).records
    assert [each.sentence for each in rates] == [
        "Calls to 1866 were forbidden.", "A rate for 1866 was added to tariff Standard rates."
    ]  # fmt: skip


NOTED: list[tuple[str, str, dict[str, Json], str]] = [
    (READ, "customer", {}, "Ann looked at customer Jerry Price's personal data."),
    (READ, "customer", {"how": "list", "count": 3, "filter": {}}, "Ann looked at personal data of 3 customers in a list."),
    (READ, "customer", {"how": "csv", "count": 1}, "Ann exported one of the customers with personal data (CSV)."),
    ("login.failed", "user", {"why": "password"}, "Signing in of Jerry Price failed (wrong password)."),
    ("login.failed", "user", {"why": "name"}, "Somebody failed to sign in: there is no such user."),
    ("login.failed", "user", {"why": "not allowed"}, "Signing in of Jerry Price failed (not allowed)."),
    ("login.ended", "user", {"count": 2}, "2 logins of Jerry Price ended."),
    ("audit.trimmed", "audit_log", {"records": 12345, "to_seq": 1, "before": "2026-05-01"},
     "12\u202f345 audit records of before 1 May 2026 were removed: they were past their days."),
    ("audit.verified", "audit_log", {"count": 1}, "Ann verified the audit log: one record, whole."),
    ("audit.verified", "audit_log", {"count": 9, "how": "broken", "seq": 7, "wrong": "changed"},
     "Ann verified the audit log and found it broken at record 7 (changed)."),
]  # fmt: skip


@pytest.mark.parametrize(("action", "kind", "arguments", "sentence"), NOTED, ids=[each[3] for each in NOTED])
def test_what_no_diff_shows_is_told_too(
    engine: Engine, action: str, kind: str, arguments: dict[str, Json], sentence: str
) -> None:
    with changing(engine, ANN, HERE) as work:
        note(work, action, kind, "1", "Jerry Price", Owner("default"), arguments=arguments)
    told = newest(engine, of_entity("default", kind, "1"))
    assert told.sentence == sentence
    assert told.is_read == (action == READ)


def test_options_are_told_by_their_names(engine: Engine) -> None:
    with changing(engine, ANN, HERE) as work:
        note(work, "configuration.applied", "configuration", 1, "Configuration", Owner("default"),
             changes={"Tasks.Log_Max_Age": ("180 days", "90 days")})  # fmt: skip
    told = newest(engine, of_entity("default", "configuration", "1"))
    assert told.sentence == "Ann changed the option Tasks.Log_Max_Age from 180 days to 90 days."


def test_who_may_not_see_personal_data_reads_masks_everywhere(engine: Engine) -> None:
    with changing(engine, ANN, HERE, reason="he called", comment="from 12103355787") as work:
        customer = add_customer(work, email="jerry@home.example", phone="12103355787", notes="likes tea")
        account = add_account(work, customer, add_product(work), allowed_addresses=["198.51.100.23"])
        note_on(work, "test.unknown", customer, typed="12103355787", caller="12103355787")
    with changing(engine, ANN, HERE) as work:
        work.get_one(Customer, customer.id).name = "Jerry Prize"
        work.get_one(Account, account.id).charging_id = "12103355788"
    page = service.log_of(engine, MASKED, of_customer("default", customer.id))
    shown = repr(page)
    for secret in ("Jerry", "Price", "Prize", "1210335578", "jerry@", "198.51.100.23", "tea", "he called"):
        assert secret not in shown, secret
    assert "Jxxxx Pxxxx" in shown
    assert "121xxxxxx8" in shown
    clear = repr(service.log_of(engine, CLEAR, of_customer("default", customer.id)))
    for open_ in ("Jerry Price", "12103355787", "jerry@home.example", "198.51.100.23", "likes tea", "he called"):
        assert open_ in clear
    assert [each.id for each in page.records] == [
        each.id for each in service.log_of(engine, CLEAR, of_customer("default", customer.id)).records
    ]


def test_searching_by_name_is_no_way_round_the_masks() -> None:
    query = AuditQuery(HERE, 0, 1, names="Jerry")
    service.check(CLEAR, query)
    with pytest.raises(service.NotForThisReader, match=r"personal\.read"):
        service.check(MASKED, query)
    service.check(MASKED, AuditQuery(HERE, 0, 1, customer_id=1))


def actions() -> Iterator[tuple[str, str]]:
    """(action, where) of every `note(...)` and `note_on(...)` in the product, whatever names they go by."""
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text())
        where = str(path.relative_to(SOURCES))
        if where.startswith("changes/"):
            continue
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            called = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            place = {"note": 1, "note_on": 1, "_started": 0}.get(called)
            if (
                place is None
                or len(call.args) <= place
                or (called == "note" and isinstance(call.func, ast.Attribute))
            ):
                continue
            value = call.args[place]
            if isinstance(value, ast.Constant):
                yield str(value.value), where
            elif isinstance(value, ast.Name):
                module = import_module(".".join(("ringback", *path.relative_to(SOURCES).with_suffix("").parts)))
                if isinstance(constant := getattr(module, value.id, None), str):
                    yield constant, where
                elif value.id == "action":  # a parameter: its callers are looked at, or their constants below
                    continue
                else:
                    raise AssertionError(f"{where}:{call.lineno}: which action this notes cannot be told")
    for name in ("READ", "SEARCHED", "EXPORTED"):
        yield getattr(service, name), "audit/service.py"


def test_every_action_in_the_product_has_an_english_sentence() -> None:
    found = set(actions())
    assert len(found) > 10
    missing = {(action, where) for action, where in found if action not in messages().sentences}
    assert not missing, f"add them to audit/messages/en.toml: {sorted(missing)}"
    for action in ("created", "changed", "deleted", "read"):
        assert action in messages().sentences


def test_every_tracked_type_has_a_name() -> None:
    from ringback.changes.tracked import Tracked
    from ringback.records.tables import Record

    for path in SOURCES.rglob("models.py"):
        import_module(".".join(("ringback", *path.relative_to(SOURCES).with_suffix("").parts)))
    for mapper in Record.registry.mappers:
        if issubclass(mapper.class_, Tracked):
            kind = mapper.class_.__entity__
            assert kind in TYPES or {kind, f"{kind}s"} <= set(messages().types), kind


KNOWN = {
    "actor",
    "entity",
    "type",
    "one",
    "many",
    "label",
    "old",
    "new",
    "by",
    "parts",
    "action",
    "customer",
    "account",
}


def test_messages_are_sound() -> None:
    """Properties that are named exist; a message in several numbers has the last resort."""
    for key, message in messages().sentences.items():
        if not isinstance(message, str):
            assert {"by", "other"} <= set(message), key
        kind = key.partition(".")[0]
        for name, how in places(message):
            if name in ("old", "new") and how:
                fields = {field.name for field in TYPES[kind].fields} if kind in TYPES else {"target"}
                assert how in fields, f"{key}: {how}"
            elif name in KNOWN:
                assert not how, f"{key}: {name}"
        texts = [message] if isinstance(message, str) else [text for name, text in message.items() if name != "by"]
        assert all(text.endswith(".") for text in texts), key


@pytest.fixture
def german(tmp_path: Path) -> catalogue.Messages:
    (tmp_path / "de.toml").write_text(
        '[sentences]\n"changed.blocked.yes" = "{type} {entity} wurde gesperrt."\n'
        '"login.ended" = { by = "count", one = "Eine Anmeldung endete.", other = "{count:number} Anmeldungen endeten." }\n'
        '[types]\ncustomer = "Kunde"\n'
    )
    return messages("de", tmp_path)


def test_another_language_is_a_file_and_falls_back_to_english(german: catalogue.Messages) -> None:
    def fill(name: str, how: str) -> str:
        return {"type": german.types.get("customer", ""), "count": german.number(12345)}.get(name, "Jerry Price")

    said: Message | None = german.sentence(catalogue.keys("customer", "changed", ["blocked.yes", "blocked"]))
    assert said is not None
    assert german.fill(said, fill, {}) == "Kunde Jerry Price wurde gesperrt."
    assert german.fill(german.sentences["login.ended"], fill, {"count": 12345}) == "12.345 Anmeldungen endeten."
    assert german.fill(german.sentences["login.ended"], fill, {"count": 1}) == "Eine Anmeldung endete."
    assert german.sentences["deleted"] == messages().sentences["deleted"]
    assert german.money(Decimal("1234.5"), "EUR", 2) == "1.234,50"
    assert german.day(date(2026, 11, 3)) == "03.11.2026"


def test_a_language_of_four_numbers_has_four_sentences(tmp_path: Path) -> None:
    (tmp_path / "pl.toml").write_text(
        '[sentences]\n"login.ended" = { by = "count", one = "jedno", few = "{count} kilka", other = "{count} wiele" }\n'
    )
    polish = messages("pl", tmp_path)
    said = [polish.fill(polish.sentences["login.ended"], lambda *_: "x", {"count": n}) for n in (1, 3, 5, 22)]
    assert said == ["Jedno", "X kilka", "X wiele", "X kilka"]


def test_a_language_that_is_not_there_is_english() -> None:
    assert messages("xx").language == "en"
    assert messages("../en").language == "en"


def test_permissions_of_readers_are_as_this_test_believes() -> None:
    assert Permission.PERSONAL_READ in CLEAR.permissions
    assert Permission.PERSONAL_READ not in MASKED.permissions
