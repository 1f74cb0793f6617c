"""Money in the records: exact on both databases, and summed by them, as whole units of 1/100000."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import BigInteger, Dialect
from sqlalchemy.types import TypeDecorator

PLACES = 5
UNITS = Decimal(10**PLACES)
MOST = Decimal(10**13)  # below it all sums of a customer fit


class MoneyColumn(TypeDecorator[Decimal]):
    """A Decimal in code. More than five places, or too much to be kept, is a ValueError."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else to_units(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else from_units(value)


def to_units(amount: Decimal) -> int:
    """Raises ValueError."""
    units = amount * UNITS
    if not units.is_finite() or units != units.to_integral_value() or abs(amount) >= MOST:
        raise ValueError(f"{amount} cannot be kept: five decimals at most, and less than {MOST}")
    return int(units)


def from_units(units: int) -> Decimal:
    return Decimal(units).scaleb(-PLACES)
