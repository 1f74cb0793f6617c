"""Whatever is given is a value in canonical spelling, or a ValueError with a sentence."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.billing.entities.fields import Field, Kind
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.values import as_text, plain, read

FIELDS = [field for kind in TYPES.values() for field in kind.fields]
CHECKED = [field for field in FIELDS if field.check is not None]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes()
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


def field_of(name: str, field: str) -> Field:
    return TYPES[name][field]


def outcome(field: Field, value: object) -> tuple[Any, str]:
    """The value, or what is wrong with it."""
    try:
        return read(field, value), ""
    except ValueError as error:
        return None, str(error)


@settings(deadline=None)
@given(st.sampled_from(FIELDS), ANYTHING)
def test_anything_is_read_or_refused(field: Field, value: object) -> None:
    kept, told = outcome(field, value)
    if told:
        return
    assert read(field, kept) == kept, "canonical values are their own"
    if field.kind is not Kind.LINK:
        assert isinstance(kept, field.python) or kept == field.empty


@settings(deadline=None)
@given(st.sampled_from(CHECKED), st.text(max_size=80))
def test_any_text_is_spelled_one_way_or_refused(field: Field, text: str) -> None:
    kept, told = outcome(field, text)
    assert len(told) > 10 or read(field, kept) == kept


@settings(deadline=None)
@given(st.sampled_from([field for field in FIELDS if field.kind is Kind.MONEY]), st.decimals(0, 10**12, places=5))
def test_money_keeps_every_place(field: Field, amount: Decimal) -> None:
    kept = read(field, str(amount))
    assert kept == amount
    assert read(field, plain(kept)) == kept
    assert read(field, as_text(kept)) == kept


@settings(deadline=None)
@given(st.sampled_from(FIELDS), ANYTHING)
def test_what_a_spreadsheet_gets_comes_back(field: Field, value: object) -> None:
    kept, told = outcome(field, value)
    if told:
        return
    if field.kind is Kind.PAIRS and any("=" in name for name in kept):
        return  # such a name cannot be written as name = value
    if field.kind is Kind.WORDS and any(any(sign in word for sign in " ,;") for word in kept):
        return
    expected = (
        as_text(kept) if field.kind is Kind.LINK and kept is not None else kept
    )  # an id or a name: the service finds out
    assert read(field, as_text(kept)) == expected


@pytest.mark.parametrize(
    ("name", "field", "given_", "kept"),
    [
        ("account", "credit_limit", "12.5", Decimal("12.50000")),
        ("account", "credit_limit", 7, Decimal(7)),
        ("account", "activation_date", "2026-11-30", date(2026, 11, 30)),
        ("account", "billing_model", "Debit", "debit"),
        ("account", "blocked", "Yes", True),
        ("cpe", "mac", "001A.2B3C.4D5E", "00:1a:2b:3c:4d:5e"),
        ("did_number", "number", "+44 (20) 7946-0958", "442079460958"),
        ("did_number", "country", "cz", "CZ"),
        ("node", "agents", "0101, 7\n8", ["101", "7", "8"]),
        ("account", "allowed_addresses", ["192.0.2.1/28", "2001:DB8::1"], ["192.0.2.0/28", "2001:db8::1"]),
        ("access_policy", "attributes", "A = 1\nB=2", {"A": "1", "B": "2"}),
        ("rate", "prefix", "+1 866", "1866"),
        ("customer", "name", "  Jerry Price ", "Jerry Price"),
        ("sim_card", "iccid", "8942 0100 0000 0000 011", "8942010000000000011"),
    ],
)  # fmt: skip
def test_what_people_type(name: str, field: str, given_: object, kept: object) -> None:
    assert read(field_of(name, field), given_) == kept


@pytest.mark.parametrize(
    ("name", "field", "given_", "told"),
    [
        ("account", "credit_limit", "-1", "at least 0"),
        ("account", "credit_limit", "1.123456", "5 decimals"),
        ("account", "credit_limit", 1.5, "amount such as"),
        ("account", "credit_limit", "1e5", "amount such as"),
        ("account", "credit_limit", "NaN", "amount such as"),
        ("account", "credit_limit", "10000000000000", "too large"),
        ("customer", "due_days", "400", "from 0 to 365 days"),
        ("customer", "due_days", "١٢", "whole number"),
        ("customer", "name", "x" * 121, "120 characters at most, not 121"),
        ("customer", "name", "a\nb", "one line"),
        ("customer", "name", "\ud800", "one line"),
        ("customer", "email", "jerry", "no e-mail address"),
        ("customer", "currency", "XYZ", "There is no currency 'XYZ'"),
        ("customer", "bill_status", "gone", "is one of open, suspended"),
        ("customer", "country", "C1", "two letters"),
        ("environment", "time_zone", "Prague", "no time zone"),
        ("environment", "customer_link", "https://crm/{secret}", "is not known"),
        ("environment", "customer_link", "javascript:alert(1)", "whole URL"),
        ("account", "activation_date", "30.11.2026", "date such as"),
        ("rate", "effective_from", "2026-11-30T12:00:00", "with its zone"),
        ("sim_card", "iccid", "89445000101234567890", "check digit"),
        ("sim_card", "iccid", "123", "18 to 20 digits"),
        ("cpe", "mac", "00:1a", "no MAC address"),
        ("node", "colour", "red", "no colour"),
        ("account", "allowed_addresses", ["192.0.2.300"], "no address"),
    ],
)
def test_what_will_not_do_is_told(name: str, field: str, given_: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(field_of(name, field), given_)
