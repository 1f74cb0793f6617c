"""How a value of an entity is written on a page: its text, its alignment, its sign, and where it leads.

Everything comes from the field's description. Who may not see personal data gets masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from iso4217 import Currency

from ringback import clock
from ringback.billing.entities.fields import Field, Kind
from ringback.billing.entities.personal import masked

NOTHING = "–"
_NARROW = "\u202f"  # thousands apart; no locale reads it as a decimal sign
_MONO = {Kind.DIGITS, Kind.WORDS}

# What a value that is looked for first looks like: field, value -> tone, sign. Others are plain text.
_SIGNS: dict[tuple[str, str], tuple[str, str]] = {
    ("blocked", "yes"): ("bad", "✕"),
    ("forbidden", "yes"): ("bad", "✕"),
    ("limited", "yes"): ("warn", "!"),
    ("active", "yes"): ("ok", "✓"),
    ("active", "no"): ("neutral", "○"),
    ("state", "free"): ("ok", "✓"),
    ("state", "assigned"): ("neutral", "●"),
    ("state", "frozen"): ("warn", "!"),
    ("status", "available"): ("ok", "✓"),
    ("status", "in_use"): ("neutral", "●"),
    ("status", "reserved"): ("warn", "!"),
    ("status", "disposed"): ("neutral", "○"),
    ("status", "active"): ("ok", "✓"),
    ("bill_status", "open"): ("ok", "✓"),
}
_SIGN_NAMES = {name for name, _ in _SIGNS}
_WORDS = {"blocked": ("Blocked", "no"), "forbidden": ("Forbidden", "no"), "limited": ("Limited", "no"),
          "active": ("Active", "Not active")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as a page writes it."""

    text: str
    href: str = ""
    tone: str = ""  # of a tag, with its sign; "" no tag
    sign: str = ""
    align: str = ""  # num
    mono: bool = False
    us: int | None = None  # a moment, written in the viewer's zone
    lines: tuple[str, ...] = ()  # several values
    pairs: tuple[tuple[str, str], ...] = ()
    soft: bool = False  # nothing is there
    outside: bool = False  # the link leaves this site


def shown(
    field: Field,
    value: Any,
    *,
    sees_personal: bool,
    currency: str = "",
    places: int | None = None,
    link: Shown | None = None,
) -> Shown:
    """`link`: how the entity is written that a link leads to. `places`: of an amount, at least."""
    numeric = field.kind in (Kind.WHOLE, Kind.MONEY, Kind.DECIMAL)
    if field.kind is Kind.SECRET:
        return Shown("set" if value else "not set", soft=not value)
    if field.kind is Kind.FLAG:
        return _flag(field, bool(value))
    if value is None or value in ("", [], {}):
        return Shown(NOTHING, soft=True, align="num" if numeric else "")
    if field.personal and not sees_personal:
        value = masked(field, value)
    match field.kind:
        case Kind.CHOICE:
            label = dict(field.choices).get(value, str(value))
            label = value if field.name == "currency" else label
            return _tag(field.name, str(value), label) if field.name in _SIGN_NAMES else Shown(label)
        case Kind.WHOLE:
            return Shown(_with_unit(f"{value:,}".replace(",", _NARROW), field.unit), align="num")
        case Kind.MONEY | Kind.DECIMAL:
            text = amount(value, currency, places)
            return Shown(f"{text} {currency}".rstrip(), align="num")
        case Kind.DATE:
            return Shown(day_text(value))
        case Kind.TIME:
            return Shown(clock.isoformat(clock.to_us(value)), us=clock.to_us(value))
        case Kind.LINK:
            return link or Shown(f"#{value}")
        case Kind.WORDS:
            lines = tuple(str(each) for each in value)
            return Shown(", ".join(lines), lines=lines, mono=True)
        case Kind.PAIRS:
            pairs = tuple((str(name), str(one)) for name, one in value.items())
            return Shown(", ".join(f"{name} = {one}" for name, one in pairs), pairs=pairs, mono=True)
        case Kind.URL if urlsplit(value).scheme in ("http", "https"):
            return Shown(value, href=value, outside=True)
        case Kind.EMAIL if sees_personal or not field.personal:
            return Shown(value, href=f"mailto:{value}", outside=True)
        case _:
            return Shown(str(value), mono=field.kind in _MONO or field.personal == "number")


def amount(value: Decimal, currency: str = "", places: int | None = None) -> str:
    """``1 234.50``: with the currency's places, or as many more as the amount has."""
    least = exponent(currency) if places is None else places
    return f"{value:,.{max(least, decimals(value))}f}".replace(",", _NARROW)


def decimals(value: Decimal) -> int:
    """Places behind the point that are no trailing zeros."""
    exponent_ = value.normalize().as_tuple().exponent
    return max(0, -exponent_) if isinstance(exponent_, int) else 0


def exponent(currency: str) -> int:
    """Places of a currency (ISO 4217); 2 where it is not known."""
    try:
        return int(Currency(currency).exponent or 0)
    except ValueError:
        return 2


def aligned(values: Sequence[Decimal | None], currency: str = "") -> int:
    """How many places all amounts of a column are written with."""
    return max([exponent(currency), *(decimals(value) for value in values if value is not None)])


def balance_words(balance: Decimal, currency: str, *, holds_funds: bool = False) -> tuple[str, str]:
    """What a balance means, and its tone: positive is owed. `holds_funds`: prepaid, where what is left is spent."""
    text = f"{amount(abs(balance), currency)} {currency}".rstrip()
    if balance > 0:
        return f"owes {text}", "warn"
    if balance < 0:
        return (f"{text} available" if holds_funds else f"{text} in credit"), "ok"
    return ("no funds available" if holds_funds else "owes nothing"), ("warn" if holds_funds else "ok")


def day_text(value: date) -> str:
    return f"{value.day} {value:%b %Y}"


def in_sentence(label: str) -> str:
    """A label inside a sentence: "customer", but "DID number" and "CPE"."""
    first = label.split(" ", 1)[0]
    return label if len(first) > 1 and first.isupper() else label[:1].lower() + label[1:]


def _flag(field: Field, value: bool) -> Shown:
    if field.name not in _WORDS:
        return Shown("yes" if value else "no", soft=not value)
    yes, no = _WORDS[field.name]
    tone, sign = _SIGNS.get((field.name, "yes" if value else "no"), ("", ""))
    return Shown(yes if value else no, tone=tone, sign=sign, soft=not value and not tone)


def _tag(name: str, value: str, label: str) -> Shown:
    tone, sign = _SIGNS.get((name, value), ("warn", "!"))
    return Shown(label, tone=tone, sign=sign)


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text
