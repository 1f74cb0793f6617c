"""Money is kept to five places and asked for at its currency's (ISO 4217), rounded half away from zero."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from ringback.billing.entities.pages_values import decimals, exponent
from ringback.records.money import PLACES

_STEP = Decimal(1).scaleb(-PLACES)


def rounded(amount: Decimal, currency: str) -> Decimal:
    """At the places of the currency: 0.125 USD is 0.13, -0.125 USD is -0.13, 2.5 JPY is 3."""
    return amount.quantize(Decimal(1).scaleb(-exponent(currency)), ROUND_HALF_UP)


def kept(amount: Decimal) -> Decimal:
    """At the places that xDRs have."""
    return amount.quantize(_STEP, ROUND_HALF_UP)


def split(total: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Parts in proportion to the weights (none negative; all zero: equal parts), each at the currency's places, that are
    together `total`, which is too. What rounding leaves goes to the largest, one unit each, the first of equals first.
    """
    unit = Decimal(1).scaleb(-exponent(currency))
    units, sign = int(abs(total) / unit), -1 if total < 0 else 1
    shares = [int(weight.scaleb(PLACES)) for weight in weights]
    if not any(shares):
        shares = [1] * len(shares)
    parts = [units * share // sum(shares) for share in shares]
    left = units - sum(parts)
    for place in sorted(range(len(parts)), key=lambda at: -shares[at])[:left]:
        parts[place] += 1
    return [sign * part * unit for part in parts]


def spelled(amount: Decimal, currency: str) -> str:
    """For programs: with the currency's places, or as many more as the amount has."""
    return f"{amount:.{max(exponent(currency), decimals(amount))}f}"
