"""Rates and prices, beside a naive way to get them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.billing.engine.rating import (
    Rate,
    RatingEntry,
    charged_seconds,
    dialled,
    digits_of,
    entry_for,
    max_seconds,
    price,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
prices = st.decimals(0, 10, places=5).map(lambda value: value.quantize(Decimal("0.00001")))
intervals = st.integers(1, 120)
rates = st.builds(
    Rate, st.integers(1, 99), st.text("124", max_size=5), st.just("Somewhere"), st.booleans(), prices, prices, intervals,
    intervals, st.integers(-3, 3).map(lambda days: NOW + timedelta(days=days)),
)  # fmt: skip


def made(first: str, then: str, interval_first: int = 60, interval_next: int = 60) -> Rate:
    return Rate(1, "420", "Prague", False, Decimal(first), Decimal(then), interval_first, interval_next, NOW)


@given(rates, st.integers(0, 4000))
def test_a_price_is_the_sum_of_begun_intervals_rounded_once(rate: Rate, seconds: int) -> None:
    charged, exact = 0, Fraction(0)
    while charged < seconds:
        step = rate.interval_first if charged == 0 else rate.interval_next
        exact += Fraction(rate.price_first if charged == 0 else rate.price_next) * step / 60
        charged += step
    assert charged_seconds(rate, seconds) == charged
    found = Fraction(price(rate, seconds)) * 100_000
    assert found.denominator == 1
    assert abs(found - exact * 100_000) <= Fraction(1, 2)
    if abs(found - exact * 100_000) == Fraction(1, 2):
        assert found > exact * 100_000, "half away from zero"


@given(rates, st.decimals(0, 50, places=5), st.integers(60, 20_000))
def test_what_is_allowed_is_paid_for_and_no_interval_more_would_be(rate: Rate, funds: Decimal, limit: int) -> None:
    seconds = max_seconds(rate, funds, limit)
    assert 0 <= seconds <= limit
    if rate.free:
        assert seconds == limit
        return
    if seconds:
        assert price(rate, seconds) <= funds
    if seconds < limit:
        one_more = seconds + 1
        assert funds <= 0 or _exact(rate, one_more) > Fraction(funds)


def _exact(rate: Rate, seconds: int) -> Fraction:
    charged = charged_seconds(rate, seconds)
    first = Fraction(rate.price_first) * rate.interval_first
    return (first + Fraction(rate.price_next) * (charged - rate.interval_first)) / 60


@pytest.mark.parametrize(
    ("rate", "seconds", "cost"),
    [
        (made("0.12", "0.10"), 0, "0"),
        (made("0.12", "0.10"), 1, "0.12"),
        (made("0.12", "0.10"), 61, "0.22"),
        (made("0.12", "0.10", 30, 6), 31, "0.07"),
        (made("0.00001", "0.00001", 1, 1), 30, "0.00001"),
        (made("0.00001", "0.00001", 1, 1), 29, "0"),
    ],
)
def test_prices(rate: Rate, seconds: int, cost: str) -> None:
    assert price(rate, seconds) == Decimal(cost)


@pytest.mark.parametrize(
    ("funds", "seconds"), [("0.11999", 0), ("0.12", 60), ("0.21999", 60), ("0.22", 120), ("100", 7200), ("-1", 0)]
)
def test_seconds_of_funds(funds: str, seconds: int) -> None:
    assert max_seconds(made("0.12", "0.10"), Decimal(funds), 7200) == seconds


def test_without_an_end_of_funds_the_limit_is_the_end() -> None:
    assert max_seconds(made("5", "5"), None, 7200) == 7200
    assert max_seconds(made("1", "0"), Decimal(1), 7200) == 7200, "after the first interval it is free"
    assert max_seconds(made("0", "0"), Decimal(-5), 7200) == 7200


@pytest.mark.parametrize(
    ("typed", "digits"), [("+1 (210) 335-5787", "12103355787"), ("alice", ""), ("", ""), ("٣٤", ""), ("12x", "")]
)
def test_digits(typed: str, digits: str) -> None:
    assert digits_of(typed) == digits


@pytest.mark.parametrize(
    ("typed", "digits"),
    [("+1 866-033;npdi", "1866033"), ("1866#", "1866"), ("alice", ""), ("*72", ""), ("12٣", "12")],
)
def test_what_is_rated_is_what_a_number_begins_with(typed: str, digits: str) -> None:
    assert dialled(typed) == digits


@given(
    st.lists(st.tuples(st.sampled_from(["any", "outgoing", "incoming"]), st.sampled_from([None, 1, 2])), unique=True),
    st.sampled_from(["outgoing", "incoming", "forwarded"]),
    st.sampled_from([1, 2, 3]),
)
def test_the_entry_that_names_the_node_goes_first_then_the_direction(
    kinds: list[tuple[str, int | None]], direction: str, node: int
) -> None:
    entries = [RatingEntry(place, 1, way, where, place) for place, (way, where) in enumerate(kinds)]
    wanted = [(direction, node), ("any", node), (direction, None), ("any", None)]
    naive = next((kinds.index(each) for each in wanted if each in kinds), None)
    found = entry_for(entries, direction, node)
    assert (found.id if found else None) == naive
