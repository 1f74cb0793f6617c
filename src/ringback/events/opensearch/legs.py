"""A LegRow as a document, and back.

A number stands in it with its roles behind it, once forwards and once backwards, so that an end is a beginning and a
role is asked for together with its number. What holds a text too long to be indexed is `odd`: every search also finds
the odd ones, and looks at them itself.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from functools import lru_cache
from typing import Any

import orjson

from ringback.events.opensearch.texts import SEPARATOR, USUAL, USUAL_NUMBER, digest, readable, storable
from ringback.events.store import LegQuery, LegRow, NumberPattern, call_hash

_TEXTS = ("caller", "called", "phrase", "reason", "source", "destination")
_FIGURES = ("answered_us", "messages", "trouble")
_A = ord("a")
_REF = re.compile(r"(\d{4}\.\d\d\.\d\d)/([A-Za-z0-9_-]{14})")


def place(leg: LegRow) -> tuple[str, str] | None:
    """(day, id) of a row that an engine of this kind stored; None for any other."""
    found = _REF.fullmatch(leg.ref or "")
    return (found[1], found[2]) if found else None


def new_id(leg: LegRow, writer: str) -> str:
    """The same whenever this writer writes the leg, another for every writer."""
    return digest(leg.environment, leg.call_id, str(leg.started_us), writer)


def ref(day: str, id_: str) -> str:
    return f"{day}/{id_}"


def tie(id_: str) -> int:
    """61 bits that order rows of one microsecond."""
    return int.from_bytes(urlsafe_b64decode(id_ + "==")) >> 19


def document(leg: LegRow, id_: str) -> bytes:
    numbers = {number: letters_of(roles) for number, roles in leg.numbers.items()}
    forwards = [storable(number) + SEPARATOR + letters for number, letters in numbers.items()]
    keys = [storable(key) for key in sorted(leg.keys)]
    addresses = [storable(address) for address in leg.addresses]
    agents = [storable(agent) for agent in leg.agents]
    words = call_id, kind, method, outcome = [
        storable(each) for each in (leg.call_id, leg.kind, leg.method, leg.outcome)
    ]
    found: dict[str, Any] = {
        "environment": storable(leg.environment),
        "call_id": call_id,
        "call": call_hash(leg.environment, leg.call_id),
        "tie": tie(id_),
        "kind": kind,
        "outcome": outcome,
        "started_us": leg.started_us,
        "ended_us": leg.ended_us,
        "duration_ms": leg.duration_ms,
        "code": leg.code,
        "troubled": leg.troubled,
    }
    if numbers:
        found["numbers"] = forwards
        found["reversed"] = [storable(number[::-1]) + SEPARATOR + letters for number, letters in numbers.items()]
    lists = {"keys": keys, "addresses": addresses, "agents": agents, "method": method}
    found.update({name: values for name, values in lists.items() if values})
    found.update({name: storable(text) for name in _TEXTS if (text := getattr(leg, name))})
    found.update({name: figure for name in _FIGURES if (figure := getattr(leg, name))})
    if (
        max(map(len, forwards), default=0) > USUAL_NUMBER
        or max(map(len, (*words, *keys, *addresses, *agents))) > USUAL
    ):
        found["odd"] = True
    return orjson.dumps(found)


def leg_row(source: dict[str, Any], day: str, id_: str) -> LegRow:
    """Raises LookupError, TypeError, ValueError where the document is none of a leg."""
    numbers: dict[str, int] = {}
    for token in source.get("numbers", ()):
        number, _, letters = token.rpartition(SEPARATOR)
        numbers[readable(number)] = sum(1 << ord(letter) - _A for letter in letters)
    optional = source.get
    return LegRow(
        environment=readable(source["environment"]),
        call_id=readable(source["call_id"]),
        kind=readable(source["kind"]),
        method=readable(optional("method", "")),
        started_us=source["started_us"],
        ended_us=source["ended_us"],
        caller=readable(optional("caller", "")),
        called=readable(optional("called", "")),
        outcome=readable(source["outcome"]),
        code=source["code"],
        phrase=readable(optional("phrase", "")),
        reason=readable(optional("reason", "")),
        answered_us=optional("answered_us", 0),
        duration_ms=source["duration_ms"],
        source=readable(optional("source", "")),
        destination=readable(optional("destination", "")),
        addresses=[readable(each) for each in optional("addresses", ())],
        agents=[readable(each) for each in optional("agents", ())],
        messages=optional("messages", 0),
        trouble=optional("trouble", 0),
        numbers=numbers,
        keys={readable(each) for each in optional("keys", ())},
        ref=ref(day, id_),
    )


def matches(query: LegQuery, leg: LegRow) -> bool:
    """What the index cannot tell of an odd leg; the interval is not looked at."""
    among: list[tuple[tuple[Any, ...], set[Any]]] = [
        (query.environments, {leg.environment}),
        (query.call_ids, {leg.call_id}),
        (query.call_hashes, {call_hash(leg.environment, leg.call_id)}),
        (query.keys, leg.keys),
        (query.outcomes, {leg.outcome}),
        (query.codes, {leg.code}),
        (query.kinds, {leg.kind}),
        (query.methods, {leg.method}),
        (query.agents, set(leg.agents)),
    ]
    return (
        all(not wanted or not found.isdisjoint(wanted) for wanted, found in among)
        and leg.call_id.startswith(query.call_id_prefix)
        and (not query.addresses or any(_has(leg, wanted) for wanted in query.addresses))
        and query.troubled in (None, leg.troubled)
        and (query.min_duration_ms is None or leg.duration_ms >= query.min_duration_ms)
        and (query.max_duration_ms is None or leg.duration_ms <= query.max_duration_ms)
        and (query.number is None or _has_number(leg, query.number, query.roles))
        and (not query.numbers or not leg.numbers.keys().isdisjoint(query.numbers))
    )


@lru_cache(maxsize=1024)
def letters_of(roles: int) -> str:
    """A letter for each bit: ``ac`` for 5."""
    return "".join(chr(_A + bit) for bit in range(roles.bit_length()) if roles >> bit & 1)


def _has(leg: LegRow, address: str) -> bool:
    if address.endswith("*"):
        return any(each.startswith(address[:-1]) for each in leg.addresses)
    return address in leg.addresses


def _has_number(leg: LegRow, number: NumberPattern, roles: int) -> bool:
    return any(number.matches(text) and (not roles or roles & found) for text, found in leg.numbers.items())
