"""Values of fields: read from what people and programs give, and written for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from ringback import clock
from ringback.billing.entities.fields import Field, Kind
from ringback.changes.schemas import Json
from ringback.records.money import MOST, PLACES

MOST_WORDS = 1000
_STEP = Decimal(1).scaleb(-PLACES)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of characters, which no UTF-8 has
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")
_WORD_LENGTH = 255
_MOST_WHOLE = 10**15
_MOST_NAMED = 12  # choices
_YES, _NO = frozenset({"yes", "true", "1", "on", "y"}), frozenset({"no", "false", "0", "off", "n"})
GREATEST_ID = 2**63 - 1  # that a database keeps


def read(field: Field, given: object) -> Any:
    """The value in canonical spelling; `field.empty` where none is given. A link's is its id, or the name that was
    given. Raises ValueError with a sentence fit to be shown."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return field.empty
    value = _READ.get(field.kind, _line)(field, given)
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and field.kind is not Kind.LINK:
        _check_bounds(field, value)
    if isinstance(value, str) and field.length and len(value) > field.length:
        raise ValueError(f"{field.label} has {field.length} characters at most, not {len(value)}.")
    if field.check is None or value == field.empty:
        return value
    if isinstance(value, list):
        return list(dict.fromkeys(map(field.check, value)))
    return field.check(value)


def plain(value: Any) -> Json:
    """As JSON says it: decimals and times as text."""
    if isinstance(value, datetime):
        return clock.isoformat(clock.to_us(value))
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): str(each) for name, each in value.items()}
    if isinstance(value, list):
        return [str(each) for each in value]
    return value  # type: ignore[no-any-return]


def as_text(value: Any) -> str:
    """As a cell of a table for spreadsheets says it; `read` understands it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, dict):
        return "\n".join(f"{name} = {each}" for name, each in value.items())
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    return str(plain(value))


def _check_bounds(field: Field, value: int | Decimal) -> None:
    least, most = field.least, field.most
    if (least is not None and value < least) or (most is not None and value > most):
        unit = f" {field.unit}" if field.unit and field.kind is Kind.WHOLE else ""
        span = f"from {least} to {most}" if None not in (least, most) else f"at least {least}"
        raise ValueError(
            f"{field.label} is {span}{unit}." if least is not None else f"{field.label} is at most {most}."
        )


def _text(field: Field, given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{field.label} is a text.")
    return given.strip()


def _line(field: Field, given: object) -> str:
    text = _text(field, given)
    if _CONTROL.search(text):
        raise ValueError(f"{field.label} is one line without control characters.")
    return text


def _lines(field: Field, given: object) -> str:
    text = _text(field, given).replace("\r\n", "\n")
    if _CONTROL_IN_LINES.search(text):
        raise ValueError(f"{field.label} has a control character.")
    return text


def _digits(field: Field, given: object) -> str:
    text = re.sub(r"[\s().\-/]", "", _text(field, given)).removeprefix("+")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{field.label} is a number of digits, such as 12103355787.")
    return text


def _email(field: Field, given: object) -> str:
    text = _line(field, given)
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"{text!r} is no e-mail address such as jerry@example.net.")
    return text


def _url(field: Field, given: object) -> str:
    text = _line(field, given)
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{field.label} is a whole URL, such as https://example.net/.")
    return text


def _whole(field: Field, given: object) -> int:
    text = str(given).strip() if isinstance(given, str | int) and not isinstance(given, bool) else ""
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) or abs(int(text)) > _MOST_WHOLE:
        raise ValueError(f"{field.label} is a whole number.")
    return int(text)


def _decimal(field: Field, given: object) -> Decimal:
    text = str(given).strip() if isinstance(given, str | int | Decimal) and not isinstance(given, bool) else ""
    try:
        value = Decimal(text) if re.fullmatch(r"[+-]?[\d.]{1,40}", text, re.ASCII) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ValueError(f"{field.label} is an amount such as 12.50.")
    if abs(value) >= MOST:
        raise ValueError(f"{field.label} is too large: {MOST:,} and more cannot be kept.")
    exact = value.quantize(_STEP)
    if exact != value:
        raise ValueError(f"{field.label} has {PLACES} decimals at most.")
    return exact + 0  # no minus zero


def _flag(field: Field, given: object) -> bool:
    text = str(given).strip().lower()
    if isinstance(given, bool) or text in _YES or text in _NO:
        return given if isinstance(given, bool) else text in _YES
    raise ValueError(f"{field.label} is yes or no.")


def _choice(field: Field, given: object) -> str:
    text = str(given).strip() if isinstance(given, str) else ""
    for value, label in field.choices:
        if text.lower() in (value.lower(), label.lower()):
            return value
    if len(field.choices) > _MOST_NAMED:
        raise ValueError(f"There is no {field.label.lower()} {text[:20]!r}.")
    raise ValueError(f"{field.label} is one of {', '.join(value for value, _ in field.choices)}.")


def _date(field: Field, given: object) -> date:
    if isinstance(given, datetime):
        return given.date()
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(str(given).strip())
    except ValueError:
        raise ValueError(f"{field.label} is a date such as 2026-11-30.") from None


def _time(field: Field, given: object) -> datetime:
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(str(given).strip())
        if moment.tzinfo is not None:
            return clock.from_us(clock.to_us(moment.astimezone(UTC)))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{field.label} is a time with its zone, such as 2026-11-30T12:00:00Z.")


def _link(field: Field, given: object) -> int | str:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    return _line(field, given)


def _words(field: Field, given: object) -> list[str]:
    if isinstance(given, str):
        given = re.split(r"[\s,;]+", given)
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise ValueError(f"{field.label} is a list of texts.")
    found = list(dict.fromkeys(word for each in given if (word := _line(field, each))))
    if len(found) > MOST_WORDS or any(len(word) > _WORD_LENGTH for word in found):
        raise ValueError(f"{field.label} has {MOST_WORDS} entries of {_WORD_LENGTH} characters at most.")
    return found


def _pairs(field: Field, given: object) -> dict[str, str]:
    if isinstance(given, str):
        lines = [line for line in given.splitlines() if line.strip()]
        wrong = next((line for line in lines if "=" not in line), None)
        if wrong is not None:
            raise ValueError(f"{wrong.strip()!r} is not written as name = value.")
        given = {name: value for name, _, value in (line.partition("=") for line in lines)}
    if not isinstance(given, Mapping) or len(given) > MOST_WORDS:
        raise ValueError(f"{field.label} is a list of names with their values, {MOST_WORDS} at most.")
    found = {_line(field, name): _line(field, value) for name, value in given.items()}
    if "" in found:
        raise ValueError(f"{field.label} has a value without a name.")
    if any(len(name) > _WORD_LENGTH or len(value) > 1000 for name, value in found.items()):
        raise ValueError(f"{field.label} has names of {_WORD_LENGTH} and values of 1000 characters at most.")
    return found


def _secret(field: Field, given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{field.label} is a text.")
    if _CONTROL.search(given):
        raise ValueError(f"{field.label} has a control character.")
    return given


_READ: dict[Kind, Callable[[Field, object], Any]] = {
    Kind.LONG: _lines, Kind.DIGITS: _digits, Kind.EMAIL: _email, Kind.URL: _url, Kind.WHOLE: _whole,
    Kind.MONEY: _decimal, Kind.DECIMAL: _decimal, Kind.FLAG: _flag, Kind.CHOICE: _choice, Kind.DATE: _date,
    Kind.TIME: _time, Kind.LINK: _link, Kind.WORDS: _words, Kind.PAIRS: _pairs, Kind.SECRET: _secret,
}  # fmt: skip
