"""A LegRow as the columns of one table row, and back.

Three habits keep rows small and updates cheap. Words that repeat (outcome, phrase, environment, ...) are numbers of the
segment's `word` table, sets of addresses and agents numbers of its `route` table. What stands in the row elsewhere is
referred to: caller and called point into the leg's numbers, source and destination into its addresses. And integers
that an update changes carry a bias, so that SQLite stores every value they are likely to take in the same width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ringback.events.sqlite.schema import LOW_BITS
from ringback.events.store import FINE_OUTCOMES, LegRow

Stored = str | bytes | int | None  # a text as it is stored: bytes where it holds what UTF-8 cannot

# Widths: 2 bytes hold -2^15..2^15, 3 bytes ..2^23, 4 bytes ..2^31, 6 bytes ..2^47.
CODE = TROUBLE = MESSAGES = 1 << 8
HEAD = 1 << 16
DURATION = 1 << 24
DELTA = 1 << 40
NEVER = 1 << 46  # in `answered`
FIRST_WORD = 2  # 0 and 1 take no byte, all others up to 127 one

COLUMNS = (
    "id, slice, environment, kind, method, outcome, code, unusual, trouble, duration, ended, answered, messages, head,"
    " phrase, reason, route, source, destination, caller, called, call_id, numbers, keys"
)
INSERT = f"INSERT INTO leg ({COLUMNS}) VALUES ({', '.join('?' * 24)})"
UPDATE = (
    "UPDATE leg SET outcome = ?, code = ?, unusual = ?, trouble = ?, duration = ?, ended = ?, answered = ?,"
    " messages = ?, head = ?, phrase = ?, reason = ? WHERE id = ?"
)
UPDATE_REST = (
    "UPDATE leg SET kind = ?, method = ?, route = ?, source = ?, destination = ?, caller = ?, called = ?,"
    " numbers = ?, keys = ? WHERE id = ?"
)
CODE_OF_TROUBLE = 300  # from here on a final response makes a leg unusual
_PORT_BITS, _INDEX_BITS = 16, 8
_BRACKETS = 1 << (_PORT_BITS + _INDEX_BITS)

_LAST = "\U0010ffff"
_DIGITS, _LENGTH_BITS = 17, 5
_UNITS: list[int] = [10 ** (_DIGITS - length) << _LENGTH_BITS for length in range(_DIGITS + 1)]

Word = Callable[[str], Stored]


def storable(text: str) -> Stored:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: a byte that was not UTF-8 on the wire
        return text.encode(errors="surrogatepass")
    return text


def readable(value: Stored) -> str:
    return (
        value if isinstance(value, str) else value.decode(errors="surrogatepass") if isinstance(value, bytes) else ""
    )


def mutable_columns(leg: LegRow, head: int, word: Word, phrase: Word, id_: int) -> tuple[Stored, ...]:
    """What any later message may change, in the order of UPDATE."""
    outcome, trouble, code, started = leg.outcome, leg.trouble, leg.code, leg.started_us
    return (
        word(outcome),
        code + CODE,
        1 if trouble or code >= CODE_OF_TROUBLE or outcome not in FINE_OUTCOMES else 0,
        trouble + TROUBLE,
        leg.duration_ms + DURATION,
        leg.ended_us - started + DELTA,
        leg.answered_us - started + DELTA if leg.answered_us else NEVER,
        leg.messages + MESSAGES,
        head + HEAD,
        phrase(leg.phrase),
        phrase(leg.reason),
        id_,
    )


def rest_columns(leg: LegRow, route: int) -> tuple[Stored, ...]:
    """What the first messages settle, after `kind` and `method`, in the order of INSERT and UPDATE_REST."""
    numbers, addresses = leg.numbers, leg.addresses
    return (
        route,
        socket_column(leg.source, addresses),
        socket_column(leg.destination, addresses),
        party_column(leg.caller, numbers),
        party_column(leg.called, numbers),
    )


def numbers_column(numbers: dict[str, int]) -> Stored:
    return _lines([f"{roles:x}:{number}" for number, roles in numbers.items()]) if numbers else None


def keys_column(keys: set[str]) -> Stored:
    return _lines(sorted(keys)) if keys else None


def _lines(items: Sequence[str]) -> Stored:
    text = "\n".join(items)
    if text.count("\n") >= len(items):  # sip:+1%0A555@... is allowed
        text = "\n".join([item.replace("\n", " ") for item in items])
    return storable(text)


def party_column(text: str, numbers: dict[str, int]) -> Stored:
    """2·i: the leg's i-th number; 2·i + 1: the same after a plus sign; else the text itself."""
    plus = text[:1] == "+"
    bare = text[1:] if plus else text
    if bare in numbers:
        for index, number in enumerate(numbers):
            if number == bare:
                return 2 * index + plus
    return storable(text)


def socket_column(text: str, addresses: Sequence[str]) -> Stored:
    """``10.0.0.1:5060`` -> the position of 10.0.0.1 in the leg's addresses, and the port, as one integer."""
    host, _, port = text.rpartition(":")
    flags = 0
    if host[:1] == "[":
        host, flags = host[1:-1], _BRACKETS
    if host in addresses and port.isdecimal() and port.isascii() and len(port) <= 5:
        index, number = addresses.index(host), int(port)
        packed = flags | index << _PORT_BITS | number
        if index < 1 << _INDEX_BITS and number < 1 << _PORT_BITS and _socket_text(packed, addresses) == text:
            return packed
    return storable(text)


def _socket_text(packed: int, addresses: Sequence[str]) -> str:
    host = addresses[packed >> _PORT_BITS & 0xFF]
    return f"[{host}]:{packed & 0xFFFF}" if packed & _BRACKETS else f"{host}:{packed & 0xFFFF}"


def leg_row(
    columns: Sequence[Any],
    midnight_us: int,
    segment: str,
    word: Callable[[Stored], str],
    route: Callable[[int], tuple[list[str], list[str]]],
) -> LegRow:
    """Raises ValueError, TypeError, LookupError where the columns make no sense: the row is damaged."""
    (
        id_, _, environment, kind, method, outcome, code, _, trouble, duration, ended, answered, messages, _,
        phrase, reason, route_id, source, destination, caller, called, call_id, numbers, keys,
    ) = columns  # fmt: skip
    started = midnight_us + (id_ >> LOW_BITS)
    addresses, agents = route(route_id)
    roles: dict[str, int] = {}
    if numbers is not None:
        for item in readable(numbers).split("\n"):
            bits, colon, number = item.partition(":")
            if not colon:
                raise ValueError("numbers")
            roles[number] = int(bits, 16)
    order = list(roles)
    return LegRow(
        environment=word(environment),
        call_id=readable(call_id),
        kind=word(kind),
        method=word(method),
        started_us=started,
        ended_us=started + ended - DELTA,
        caller=_party_text(caller, order),
        called=_party_text(called, order),
        outcome=word(outcome),
        code=code - CODE,
        phrase=word(phrase),
        reason=word(reason),
        answered_us=0 if answered == NEVER else started + answered - DELTA,
        duration_ms=duration - DURATION,
        source=_socket_text(source, addresses) if isinstance(source, int) else readable(source),
        destination=_socket_text(destination, addresses) if isinstance(destination, int) else readable(destination),
        addresses=addresses,
        agents=agents,
        messages=messages - MESSAGES,
        trouble=trouble - TROUBLE,
        numbers=roles,
        keys=set(readable(keys).split("\n")) if keys is not None else set(),
        ref=f"{segment}/{id_:x}",
    )


def _party_text(value: Stored, order: list[str]) -> str:
    if not isinstance(value, int):
        return readable(value)
    return "+" + order[value >> 1] if value & 1 else order[value >> 1]


def packed_number(number: str) -> Stored:
    """Up to 17 digits as one integer that sorts as the text does: left-aligned, with their count in the low bits. A
    longer number, or a name, stays text."""
    if not number.isascii():
        return number.encode(errors="replace").decode()
    length = len(number)
    if length > _DIGITS or not number.isdecimal():
        return number
    return int(number) * _UNITS[length] | length


def packed_prefix(text: str) -> list[tuple[Stored, Stored]]:
    """[low, high) of all packed numbers that begin with `text`: of digits there are two, packed and as part of a name."""
    name = text.encode(errors="replace").decode()
    ranges: list[tuple[Stored, Stored]] = [(name, name + _LAST)]
    if text.isdecimal() and text.isascii() and len(text) <= _DIGITS:
        unit = _UNITS[len(text)]
        # What has fewer digits than `text` and zeros behind them sorts below its low bits: 12 is not in 120.
        ranges.append((int(text) * unit | len(text), (int(text) + 1) * unit))
    return ranges


def text_prefix(text: str) -> list[tuple[Stored, Stored]]:
    """[low, high) of all stored texts that begin with `text`, whether or not what follows is UTF-8."""
    raw = text.encode(errors="surrogatepass")
    ranges: list[tuple[Stored, Stored]] = [(raw, raw + b"\xff")]
    return ranges if isinstance(storable(text), bytes) else [*ranges, (text, text + _LAST)]


def path_list(values: Sequence[str]) -> Stored:
    """Of addresses or agents: each between newlines, so that one is found by a search for it with its newlines."""
    return storable("\n" + "\n".join([value.replace("\n", " ") for value in values]) + "\n") if values else ""


def from_path_list(value: Stored) -> list[str]:
    text = readable(value)
    return text[1:-1].split("\n") if text else []
