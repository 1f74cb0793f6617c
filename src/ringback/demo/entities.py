"""The demo provider's books: who the callers of the recording are, what they pay, and where they may not call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from ringback import clock
from ringback.billing.entities import service
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import TYPES
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.demo.cast import subscriber
from ringback.demo.nodes import NODES
from ringback.records.engine import UnitOfWork
from ringback.records.tables import DEFAULT_ENVIRONMENT

DEMO = Actor("system", "demo", "cli")


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """As it was then: the demo has a past, and nothing else runs while it is made."""
    kept, then = clock.now_us, clock.to_us(moment)
    clock.now_us = lambda: then
    try:
        yield
    finally:
        clock.now_us = kept


Make = Callable[[str, Mapping[str, Any]], int]  # (entity type, API field -> value) -> id

_CITY = {"city": "San Antonio", "postal_code": "78205", "country": "US"}
_HOME, _BUSINESS, _INBOUND = "Home voice", "Business voice", "Calls from outside"

# Tariff -> (prefix, destination, price a minute, forbidden). The longest prefix wins; "" is everything else.
_RATES: dict[str, tuple[tuple[str, str, str, bool], ...]] = {
    _HOME: (
        ("", "All other destinations", "0.45", False),
        ("1", "United States and Canada", "0.015", False),
        ("1210555", "Our own customers", "0", False),
        ("1866", "Premium numbers 866", "0", True),
        ("1900", "Premium numbers 900", "0", True),
        ("44", "United Kingdom", "0.028", False),
        ("447", "United Kingdom, mobile", "0.095", False),
        ("49", "Germany", "0.0255", False),
        ("4930", "Germany, Berlin", "0.019", False),
        ("870", "Inmarsat", "0", True),
        ("881", "Satellite networks", "0", True),
    ),
    _BUSINESS: (
        ("", "All other destinations", "0.32", False),
        ("1", "United States and Canada", "0.0085", False),
        ("1210555", "Our own customers", "0", False),
        ("1900", "Premium numbers 900", "0", True),
        ("44", "United Kingdom", "0.0175", False),
        ("447", "United Kingdom, mobile", "0.062", False),
        ("49", "Germany", "0.0162", False),
        ("881", "Satellite networks", "6.5", False),
    ),
    _INBOUND: (("", "All callers", "0", False),),
}

# Customer -> the cast's subscribers whose phones are theirs. Their numbers are those of the recorded calls.
_COMPANIES: tuple[tuple[str, tuple[int, ...], dict[str, Any]], ...] = (
    ("Blue Ridge Hotel", (28, 29, 30, 31, 32, 33, 34, 35), {"external_id": "CRM-20417"}),
    ("Northside Clinic", (36, 37, 38, 39, 40), {"external_id": "CRM-20733", "credit_limit": "500"}),
    (
        "Riverwalk Dental",
        (44, 45),
        {"blocked": True, "notes": "Blocked on request of accounting, until the address is known."},
    ),
    (subscriber(23).name, (22, 23, 24, 25), {"external_id": "CRM-19002", "due_days": 30}),
)
_PEOPLE: tuple[tuple[int, dict[str, Any]], ...] = (
    (0, {}),
    (1, {}),
    (2, {}),
    (3, {"credit_limit": "80"}),
    (4, {}),
    (6, {}),
    (12, {}),
    (13, {}),
    (56, {}),
    (60, {}),
)  # fmt: skip

_LATER: tuple[tuple[tuple[str, str], dict[str, Any], str], ...] = (
    (("customer", "Riverwalk Dental"), {"blocked": True, "notes": "Invoices came back: ask for the address."},
     "Invoices came back twice"),
    (("customer", subscriber(6).name), {"bill_status": "suspended"}, "Nothing was paid for 60 days"),
    (("customer", subscriber(56).name), {"limited": True}, "Nothing was paid for 30 days"),
    (("account", subscriber(24).number), {"blocked": True}, "The phone was stolen"),
    (("account", subscriber(1).number), {"credit_limit": "50"}, "The customer asked for a limit"),
    (("product", "Business Line"), {"subscription_fee": "24.90"}, "Prices of the new year"),
)  # fmt: skip


def make_entities(engine: Engine, today: date, since: datetime | None = None) -> None:
    """Everything by the service, in the order in which one needs the other, as it was made at `since` (None: now); some
    of it is changed afterwards, so that the audit log has more to tell than beginnings."""

    def all_of_it(work: UnitOfWork) -> None:
        def make(kind: str, given: Mapping[str, Any]) -> int:
            return service.create(work, TYPES[kind], DEFAULT_ENVIRONMENT, given).id

        nodes = _nodes(make)
        tariffs = _tariffs(make, datetime(today.year - 1, 1, 1, tzinfo=UTC))
        products = _products(make, tariffs, nodes)
        accounts = _customers(make, products, today)
        _extras(make, accounts, products, tariffs, today)

    with at(since or clock.now()):
        do_changing(engine, DEMO, (DEFAULT_ENVIRONMENT,), all_of_it, reason="The demo begins")
    for (kind, key), given, comment in _LATER:

        def later(work: UnitOfWork, kind: str = kind, key: str = key, given: Mapping[str, Any] = given) -> None:
            known = Known(work, DEFAULT_ENVIRONMENT)
            title = (TYPES[kind].about.title,)
            row = known.taken(TYPES[kind], title, (key,))
            if row is None:
                raise LookupError(f"the demo has no {kind} {key}")
            service.change(work, TYPES[kind], DEFAULT_ENVIRONMENT, row.id, given, None)

        do_changing(engine, DEMO, (DEFAULT_ENVIRONMENT,), later, comment=comment)


def _nodes(make: Make) -> dict[str, int]:
    return {
        form.name: make(
            "node",
            {
                "name": form.name,
                "kind": form.kind,
                "cluster": form.cluster,
                "hostname": f"{form.name}.acme.example" if form.cluster else "",
                "agents": list(form.agents),
                "addresses": list(form.addresses),
            },
        )
        for form in NODES
    }


def _tariffs(make: Make, effective_from: datetime) -> dict[str, int]:
    tariffs = {}
    for name, rates in _RATES.items():
        tariffs[name] = make("tariff", {"name": name, "service": "voice", "currency": "USD"})
        for prefix, destination, price, forbidden in rates:
            make(
                "rate",
                {
                    "i_tariff": tariffs[name], "prefix": prefix, "destination": destination, "forbidden": forbidden,
                    "price_first": price, "price_next": price, "interval_first": 60 if name == _HOME else 6,
                    "interval_next": 60 if name == _HOME else 6, "effective_from": effective_from.isoformat(),
                },
            )  # fmt: skip
    return tariffs


def _products(make: Make, tariffs: Mapping[str, int], nodes: Mapping[str, int]) -> dict[str, int]:
    home = make(
        "access_policy",
        {"name": "Home 50", "regular_speed": 50_000, "turbo_speed": 100_000, "limited_speed": 2_000, "blocked_speed": 0,
         "schedule": "Mo-Su 00:00-06:00", "attributes": {"Mikrotik-Rate-Limit": "10M/50M"}},
    )  # fmt: skip
    business = make(
        "access_policy",
        {"name": "Business 200", "regular_speed": 200_000, "limited_speed": 20_000, "blocked_speed": 0,
         "attributes": {"Mikrotik-Rate-Limit": "200M/200M"}},
    )  # fmt: skip
    products = {
        "Home Phone": make(
            "product",
            {"name": "Home Phone", "currency": "USD", "subscription_fee": "12.50", "i_access_policy": home,
             "description": "One line for a household. Premium and satellite numbers are not allowed."},
        ),
        "Business Line": make(
            "product",
            {"name": "Business Line", "currency": "USD", "subscription_fee": "24", "i_access_policy": business,
             "description": "A line of a company, billed by six seconds."},
        ),
        "Standard TV": make("product", {"name": "Standard TV", "currency": "USD", "subscription_fee": "9.90"}),
    }  # fmt: skip
    for product, tariff in (("Home Phone", _HOME), ("Business Line", _BUSINESS)):
        entry = {"i_product": products[product], "service": "voice"}
        make("rating_entry", {**entry, "direction": "outgoing", "i_tariff": tariffs[tariff]})
        make("rating_entry", {**entry, "direction": "incoming", "i_tariff": tariffs[_INBOUND]})
    entry = {"i_product": products["Business Line"], "service": "voice", "direction": "outgoing"}
    make("rating_entry", {**entry, "i_node": nodes["pbx1"], "i_tariff": tariffs[_INBOUND]})
    return products


def _customers(make: Make, products: Mapping[str, int], today: date) -> dict[int, int]:
    """The cast's subscriber -> their account."""
    accounts = {}
    for index, details in _PEOPLE:
        person = subscriber(index)
        first, _, last = person.name.partition(" ")
        customer = make(
            "customer",
            {"name": person.name, "first_name": first, "last_name": last, "customer_class": "Residential", "currency": "USD",
             "email": f"{first[:1].lower()}.{last.lower()}@acme.example".encode("ascii", "ignore").decode(),
             "phone": f"+{person.number}", "address": f"{100 + index} Elm Street", **_CITY, **details},
        )  # fmt: skip
        accounts[index] = _account(make, customer, products["Home Phone"], index, today, role="phone line")
    for name, indices, details in _COMPANIES:
        customer = make(
            "customer",
            {"name": name, "company": name, "customer_class": "Business", "currency": "USD",
             "phone": f"+{subscriber(indices[0]).number}",
             "address": f"{indices[0]} Commerce Street", **_CITY, **details},
        )  # fmt: skip
        for index in indices:
            accounts[index] = _account(make, customer, products["Business Line"], index, today, role="phone line")
    return accounts


def _account(make: Make, customer: int, product: int, index: int, today: date, *, role: str) -> int:
    since = today - timedelta(days=400 - 3 * index)
    return make(
        "account",
        {"id": subscriber(index).number, "i_customer": customer, "i_product": product, "billing_model": "credit",
         "role": role, "activation_date": since.isoformat(),
         "expiration_date": (today - timedelta(days=9)).isoformat() if index == 40 else None,
         "service_password": clock.random_token(9)},
    )  # fmt: skip


def _extras(
    make: Make, accounts: Mapping[int, int], products: Mapping[str, int], tariffs: Mapping[str, int], today: date
) -> None:
    started = today - timedelta(days=90)
    for index in (0, 3):
        make("account_add_on", {"i_account": accounts[index], "i_product": products["Standard TV"],
                                "effective_from": started.isoformat()})  # fmt: skip
    for index in (28, 36):
        make("account_commitment", {"name": "24 months", "i_account": accounts[index], "fee": "5", "minimum_term": 24,
                                    "penalty": "60", "assigned_from": started.isoformat()})  # fmt: skip
    for name, vendor, address in (("East carrier", "Eastern Voice", "192.0.2.20:5060"),
                                  ("West carrier", "Pacific Tel", "192.0.2.80:5060")):  # fmt: skip
        make("connection", {"name": name, "vendor": vendor, "direction": "to_vendor", "service": "voice",
                            "address": address, "capacity": 120, "i_tariff": tariffs[_INBOUND]})  # fmt: skip
    profile = make("cpe_profile", {"name": "Yealink T46S, office", "model": "Yealink SIP-T46S",
                                   "parameters": {"account.1.sip_server.1.address": "sip.acme.example",
                                                  "local_time.time_zone": "-6"}})  # fmt: skip
    for index in (0, 1, 2, 3):
        phone = subscriber(index).phone.split("/")[0].rsplit(" ", 1)[0]
        make("cpe", {"device_id": f"phone-{subscriber(index).number[-4:]}", "model": phone, "ports": 1,
                     "mac": f"00:15:65:00:00:{index:02x}", "i_cpe_profile": profile if index == 0 else None})  # fmt: skip
    for offset in range(8):
        owner = {0: 28, 1: 36, 2: 23}.get(offset)
        make("did_number", {"number": f"{12105550180 + offset}", "country": "US", "area": "San Antonio",
                            "state": "frozen" if offset == 7 else "free" if owner is None else "assigned",
                            "i_account": accounts[owner] if owner is not None else None,
                            "setup_fee": "3", "periodic_fee": "1.50"})  # fmt: skip
    for serial in range(3):
        owner = (0, 1, None)[serial]
        make("sim_card", {"iccid": _with_check_digit(f"89012600000000000{serial}"), "imsi": f"31026000000000{serial}",
                          "i_account": accounts[owner] if owner is not None else None,
                          "status": "available" if owner is None else "in_use"})  # fmt: skip


def _with_check_digit(digits: str) -> str:
    """ITU-T E.118: the last digit makes the Luhn sum a multiple of ten."""
    total = 0
    for place, figure in enumerate(reversed(digits)):
        value = int(figure) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"
