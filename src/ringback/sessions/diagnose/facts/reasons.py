"""Why a message says it was sent: Reason, Warning and the phrase (RFC 3326, RFC 3261 section 20.43, RFC 6432)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ringback.sessions.story import Arrow

_PARAMETER = re.compile(r';\s*(\w[\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))')
_WARNING = re.compile(r'(\d{3})\s+\S+\s+"((?:[^"\\]|\\.)*)"')

Q850 = "Q.850"
SIP = "SIP"

# Codes that say little of the cause, so that a Q.850 cause beside them says more (RFC 3398 maps many causes to one).
GENERIC_CODES = frozenset({400, 403, 404, 408, 480, 487, 500, 502, 503, 504, 600, 603})
# Causes that say what was wrong. Left out: 16, 31, 127 and the like, which name nothing (ITU-T Q.850 section 2.2.7).
TELLING_CAUSES = frozenset(
    {1, 2, 3, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 29, 34, 38, 41, 42, 44, 47, 50, 52, 53, 54, 55, 57, 58,
     65, 69, 70, 79, 87, 88, 102, 111}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reason:
    protocol: str  # "SIP", "Q.850", or as written
    cause: int | None
    text: str


def reasons_of(arrow: Arrow) -> tuple[Reason, ...]:
    """The values of its Reason headers, in order; the broken parts of a value are left out."""
    found = []
    for value in arrow.sip.values("reason"):
        protocol = value.partition(";")[0].strip()
        parameters = {name.lower(): quoted or token for name, quoted, token in _PARAMETER.findall(value)}
        cause = parameters.get("cause", "")
        known = next((name for name in (Q850, SIP) if protocol.lower() == name.lower()), protocol)
        found.append(Reason(known, int(cause) if cause.isdigit() else None, parameters.get("text", "")))
    return tuple(found)


def q850_cause(reasons: tuple[Reason, ...]) -> int | None:
    """The first Q.850 cause, None when none is told."""
    return next((one.cause for one in reasons if one.protocol == Q850 and one.cause is not None), None)


def sip_cause(reasons: tuple[Reason, ...]) -> int | None:
    """The first SIP status told as a reason, None when none is."""
    return next((one.cause for one in reasons if one.protocol == SIP and one.cause is not None), None)


def warnings_of(arrow: Arrow) -> tuple[tuple[int, str], ...]:
    """(code, text) of its Warning headers."""
    pairs = (match for value in arrow.sip.values("warning") for match in _WARNING.findall(value))
    return tuple((int(code), text) for code, text in pairs)


def words_of(arrow: Arrow) -> str:
    """Everything the message says in words, in lower case: phrase, reason texts, warning texts; "_" stands for a space."""
    parts = [arrow.sip.phrase, *(reason.text for reason in reasons_of(arrow))]
    parts += [text for _, text in warnings_of(arrow)]
    return " | ".join(part for part in parts if part).lower().replace("_", " ")
