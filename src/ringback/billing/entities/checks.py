"""What a value of a field must be, beyond its kind: returns it in canonical spelling, or raises ValueError with a
sentence fit to be shown."""

from __future__ import annotations

import re
from functools import cache
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from iso4217 import Currency

CURRENCIES: tuple[tuple[str, str], ...] = tuple(
    (each.code, f"{each.code} · {each.currency_name}") for each in Currency if each.exponent is not None
)
_PLACEHOLDERS = {"id", "name", "environment"}


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())  # which looks through a folder


def time_zone(value: str) -> str:
    if value not in _time_zones():
        raise ValueError(f"{value!r} is no time zone such as Europe/Prague or UTC.")
    return value


def key(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value):
        raise ValueError("A key has lower-case letters, digits and dashes, 63 at most.")
    return value


def prefix(value: str) -> str:
    """Digits of a destination; "" is the default of a tariff."""
    return value.removeprefix("+")


def mac(value: str) -> str:
    plain = re.sub(r"[.:\-\s]", "", value).lower()
    if plain and not re.fullmatch(r"[0-9a-f]{12}", plain):
        raise ValueError(f"{value!r} is no MAC address such as 00:1a:2b:3c:4d:5e.")
    return ":".join(plain[at : at + 2] for at in range(0, len(plain), 2))


def country(value: str) -> str:
    value = value.upper()
    if value and not re.fullmatch(r"[A-Z]{2}", value):
        raise ValueError("A country is given by its two letters (ISO 3166), such as CZ.")
    return value


def iccid(value: str) -> str:
    """With its check digit (ITU-T E.118), where it has 19 or 20 digits."""
    plain = value.replace(" ", "")
    if not re.fullmatch(r"\d{18,20}", plain):
        raise ValueError("An ICCID has 18 to 20 digits.")
    if len(plain) > 18 and _luhn(plain[:19]) != 0 and _luhn(plain) != 0:
        raise ValueError(f"{plain} is mistyped: its check digit is wrong.")
    return plain


def imsi(value: str) -> str:
    if value and not re.fullmatch(r"\d{14,15}", value):
        raise ValueError("An IMSI has 14 or 15 digits.")
    return value


def address(value: str) -> str:
    try:
        return str(ip_network(value, strict=False)) if "/" in value else str(ip_address(value)) if value else ""
    except ValueError:
        raise ValueError(f"{value!r} is no address or network, such as 192.0.2.10 or 192.0.2.0/28.") from None


def colour(value: str) -> str:
    value = value.lower()
    if value and not re.fullmatch(r"#[0-9a-f]{6}", value):
        raise ValueError(f"{value!r} is no colour such as #1f5fbf.")
    return value


def capture_id(value: str) -> str:
    """Of a HEP sender (chunk 0x000c), in decimal."""
    if not (value.isascii() and value.isdigit()) or len(value) > 20 or int(value) > 0xFFFFFFFF:
        raise ValueError(f"{value!r} is no capture id: a whole number from 0 to 4294967295.")
    return str(int(value))


def sender_address(value: str) -> str:
    """``192.0.2.1``, ``192.0.2.1:5060``, ``2001:db8::1`` or ``[2001:db8::1]:5060``, spelled one way."""
    host, port = value, ""
    if value.startswith("["):
        host, closed, port = value[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            host = ""
        port = port[1:]
    elif value.count(":") == 1:
        host, _, port = value.partition(":")
        if not port:
            host = ""
    try:
        found = ip_address("" if "%" in host else host)  # a zone is of the machine that wrote it
    except ValueError:
        raise ValueError(
            f"{value!r} is no address, or address:port, such as 192.0.2.1, 192.0.2.1:5060 or [2001:db8::1]:5060."
        ) from None
    if not port:
        return str(found)
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise ValueError(f"{value!r}: the port is a number from 1 to 65535.")
    return f"[{found}]:{int(port)}" if found.version == 6 else f"{found}:{int(port)}"


def link_template(value: str) -> str:
    """A URL with {id}, {name} or {environment} in it."""
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("Give a whole URL, such as https://crm.example.net/customers/{id}.")
    unknown = set(re.findall(r"\{(\w*)\}", value)) - _PLACEHOLDERS
    if unknown:
        raise ValueError(f"{{{min(unknown)}}} is not known: {{id}}, {{name}} and {{environment}} are.")
    return value


def _luhn(number: str) -> int:
    total = 0
    for place, figure in enumerate(reversed(number)):
        value = int(figure) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10
