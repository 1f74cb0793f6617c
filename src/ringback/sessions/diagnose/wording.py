"""How facts are put into words: durations, lists, nodes, and a response with everything it said."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ringback import clock, q850
from ringback.sessions.diagnose.facts.reasons import Q850, reasons_of
from ringback.sessions.story import Arrow, Participant

_MAX_WIRE_TEXT = 160  # of one header value; what senders write has no bound of its own
_MAX_PRODUCT = 40
_SPACE = re.compile(r"\s+")
_BEGINNING = re.compile(r"(\A|[.!?] )(an?(?= )|the(?= )|nobody|somebody)")


def duration(microseconds: int) -> str:
    """0.041 s, 3.5 s, 32 s, 2 min 5 s, 1 h 10 min 3 s."""
    seconds = max(0, microseconds) / 1e6
    if seconds < 1:
        return f"{seconds:.3f} s"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    return clock.seconds_words(round(seconds))


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def counted(count: int, noun: str) -> str:
    """1 packet, 2 packets."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(items: Iterable[str], conjunction: str = "and") -> str:
    """a, b and c. Each once, in the order given."""
    distinct = list(dict.fromkeys(items))
    if len(distinct) < 2:
        return "".join(distinct)
    return f"{', '.join(distinct[:-1])} {conjunction} {distinct[-1]}"


def sentences(text: str) -> str:
    """Our own first words with a capital letter; a sentence that begins with a node's name or a header is left as it is."""
    return _BEGINNING.sub(lambda match: f"{match[1]}{match[2].capitalize()}", text)


def wire_text(value: str) -> str:
    """Text that came from the network, on one line and not too long."""
    value = _SPACE.sub(" ", value).strip()
    return value if len(value) <= _MAX_WIRE_TEXT else f"{value[:_MAX_WIRE_TEXT]}…"


def status(arrow: Arrow) -> str:
    """486 Busy Here."""
    return f"{arrow.sip.status} {wire_text(arrow.sip.phrase)}".rstrip()


def said(arrow: Arrow) -> str:
    """A response with what it gave as its reason: 486 Busy Here (Reason: Q.850;cause=17)."""
    details = reason_text(arrow)
    return f"{status(arrow)} ({details})" if details else status(arrow)


def reason_text(arrow: Arrow) -> str:
    """Reason, Warning and Retry-After as written; a Q.850 cause without a text of its own with its meaning after it."""
    details = [f"{name}: {wire_text(value)}" for name, value in given_reasons(arrow)]
    meanings = [
        q850.MEANINGS[one.cause]
        for one in reasons_of(arrow)
        if one.protocol == Q850 and not one.text and one.cause in q850.MEANINGS
    ]
    return "; ".join(details) + (f", which means {listed(meanings)}" if meanings else "")


def given_reasons(arrow: Arrow) -> list[tuple[str, str]]:
    """The headers in which a message explains itself: Reason (RFC 3326), Warning (RFC 3261 20.43), Retry-After."""
    names = {"reason": "Reason", "warning": "Warning", "retry-after": "Retry-After"}
    return [(names[key], value) for key, value in arrow.sip.headers if key in names]


def _product(user_agent: str) -> str:
    """The first words of a User-Agent: what the device is, without its options."""
    text = wire_text(user_agent.partition(";")[0].partition("(")[0]) or wire_text(user_agent)
    if len(text) <= _MAX_PRODUCT:
        return text
    return text[:_MAX_PRODUCT].rpartition(" ")[0] or text[:_MAX_PRODUCT]


def place(participant: Participant | None) -> str:
    """Who a participant is: its name in the register, else its address and what it says it is."""
    if participant is None:
        return "an unknown node"
    if participant.label and participant.label not in participant.addresses:
        return participant.label
    address = participant.label or (participant.addresses[0] if participant.addresses else participant.id)
    who = f"the phone {address}" if participant.kind == "phone" else address
    agent = _product(participant.user_agent)
    return f"{who} ({agent})" if agent else who
