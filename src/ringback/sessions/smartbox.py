"""How the one search box is read: a session id, an address, a Call-ID, a billing session id, or a number.

One text may be read in several ways ("7d0f3c1e@198.51.100.23" is a Call-ID, "alice@example.com" may be a person): the
readings are tried in order until one finds something, and the page says which one it was.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ringback.events.store import NumberPattern
from ringback.sessions.numbers import pattern
from ringback.sessions.schemas import QueryError

SESSION_ID = re.compile(r"(\d{8})-([0-9a-f]{16})")
_BILLING_ID = re.compile(r"(?:[0-9A-Fa-f]{8}[ -]){3}[0-9A-Fa-f]{8}|(?:[0-9A-Fa-f]{4} ){3,7}[0-9A-Fa-f]{4}")
_ADDRESS_PREFIX = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}\.\*")
_CALL_ID = re.compile(r"[\w.!%*+`'~()<>:\\\"/\[\]?{}=-]+(?:@[\w.!%*+`'~()<>:\\\"/\[\]?{}=-]+)?")
_LOOKS_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z_~=-]).{8,}")
MASKED_SEARCH = "you see personal data masked, and parts of it would tell what is hidden"
NATIONAL_DIGITS = 10  # what is left of a number that was typed with a country code and stored without


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand the box. Exactly one of the fields but `words` is set; none: everything."""

    words: str
    number: NumberPattern | None = None
    call_id: str = ""
    call_hash: int | None = None
    address: str = ""
    key: str = ""
    numbers: tuple[str, ...] = ()  # of an account or a customer: any of them, whole


def readings(text: str, *, whole: bool = False) -> list[Reading]:
    """The ways to read `text`, likeliest first; empty for an empty box. Raises QueryError for what cannot be searched.

    `whole`: of numbers, names and addresses no part is searched for.
    """
    text = text.strip().strip('"<>')
    if not text:
        return []
    if match := SESSION_ID.fullmatch(text):
        return [Reading(f"session {text}", call_hash=int(match[2], 16))]
    if address := _address(text, whole=whole):
        return [Reading(f"address {address}", address=address)]
    found: list[Reading] = []
    if _BILLING_ID.fullmatch(text):
        plain = re.sub("[ -]", "", text).lower()
        found.append(Reading(f"billing session id {text}", key=f"conf:{plain}"))
    scheme, _, rest = text.partition(":")
    if scheme.lower() in ("sip", "sips", "tel") and rest:
        return [*found, *number_readings(rest.partition("@")[0].partition(";")[0], whole=whole)]
    if _CALL_ID.fullmatch(text) and _LOOKS_RANDOM.fullmatch(text):
        found.append(Reading(f"Call-ID {text}", call_id=text))
    found += number_readings(text.partition("@")[0], whole=whole)
    return found


def number_readings(text: str, field: str = "q", *, whole: bool = False) -> list[Reading]:
    """A number or user name as typed. Raises QueryError when too little is left to search for."""
    try:
        wanted = pattern(text)
    except ValueError as error:
        raise QueryError(field, str(error)) from error
    if whole:
        return _whole_number(wanted, text, field)
    found = [Reading(_said(wanted), number=wanted)]
    if wanted.match == "suffix" and wanted.text.isdigit() and len(wanted.text) > NATIONAL_DIGITS:
        national = NumberPattern(wanted.text[-NATIONAL_DIGITS:], "suffix")
        found.append(Reading(f"{_said(national)} (nothing ends in {wanted.text})", number=national))
    return found


def _whole_number(wanted: NumberPattern, text: str, field: str) -> list[Reading]:
    """Digit by digit, the end of a number that is found tells what its mask hides: only who knows all of it finds it."""
    if "%" in text:
        raise QueryError(field, f"write the whole number or name, without %: {MASKED_SEARCH}")
    spellings = [wanted.text]
    if wanted.text.isdigit() and len(wanted.text) > NATIONAL_DIGITS:
        spellings.append(wanted.text[-NATIONAL_DIGITS:])
    return [
        Reading(f"the whole {_said(exact)}", number=exact)
        for exact in (NumberPattern(one, "exact") for one in spellings)
    ]


def _said(wanted: NumberPattern) -> str:
    kind = "number" if wanted.text.isdigit() else "name"
    ways = {"suffix": "ending in", "prefix": "starting with", "contains": "containing"}
    return f"{kind} {ways[wanted.match]} {wanted.text}" if wanted.match in ways else f"{kind} {wanted.text}"


def _address(text: str, *, whole: bool = False) -> str:
    """The address in `text` (without its port), an IPv4 prefix such as 10.1.*, or ""."""
    if _ADDRESS_PREFIX.fullmatch(text):
        if whole:
            raise QueryError("q", f"write the whole address: {MASKED_SEARCH}")
        return text
    bare = text
    if text.startswith("[") and "]" in text:
        bare = text[1 : text.index("]")]
    elif text.count(":") == 1 and "." in text:
        bare = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
