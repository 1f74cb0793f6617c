"""Money is kept to five places and asked for at its currency's (ISO 4217), rounded half away from zero."""

from __future__ import annotations

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


def spelled(amount: Decimal, currency: str) -> str:
    """For programs: with the currency's places, or as many more as the amount has."""
    return f"{amount:.{max(exponent(currency), decimals(amount))}f}"
