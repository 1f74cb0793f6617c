"""What a session's messages make of it: its kind by method, its outcome by the final response.

The rules stand here once; ingest applies them message by message, correlation to the whole story.
"""

from __future__ import annotations

from ringback.sessions.story import Kind, Outcome

_KINDS: dict[str, Kind] = {
    "INVITE": "call",
    "ACK": "call",
    "BYE": "call",
    "CANCEL": "call",
    "PRACK": "call",
    "UPDATE": "call",
    "INFO": "call",
    "REFER": "call",
    "REGISTER": "registration",
    "MESSAGE": "message",
    "OPTIONS": "options",
    "SUBSCRIBE": "subscription",
    "NOTIFY": "subscription",
    "PUBLISH": "subscription",
}
CHALLENGES = frozenset({401, 407})
BUSY = frozenset({486, 600})
TIMED_OUT = frozenset({408, 480, 487})  # what a ringing timer ends a call with


def kind_of(method: str) -> Kind:
    """The kind of a session whose first request (or the CSeq of its first response) is `method`."""
    return _KINDS.get(method, "other")


def outcome_of_final(
    kind: Kind, code: int, *, ringing: bool = False, cancelled: bool = False, removes: bool = False
) -> Outcome:
    """The outcome that final response `code` to the request which began the session gives it.

    Of several final responses the one on the caller's own hop counts, but one 2xx anywhere means the call was
    answered. A 401 or 407 counts only when the caller does not try again. `ringing`: a 180 or 183 came before;
    `cancelled`: the caller sent CANCEL; `removes`: the REGISTER asked to expire at once (RFC 3261 section 10.2.2).
    """
    if code < 300:
        if kind == "call":
            return "answered"
        if kind == "registration":
            return "unregistered" if removes else "registered"
        return "succeeded"
    if code < 400:
        return "redirected"
    if kind == "registration":
        return "rejected"
    if kind != "call":
        return "failed"
    if code in BUSY:
        return "busy"
    if code == 487 and (cancelled or not ringing):
        return "cancelled"  # without a CANCEL in the capture too: nothing but a hang-up makes a 487 before ringing
    if code in TIMED_OUT and ringing:
        return "no_answer"
    return "failed"


def outcome_without_final(kind: Kind, *, began: bool, challenge: int = 0) -> Outcome:
    """The outcome of a session that fell silent before a final response.

    `began`: the capture holds the request that began it; `challenge`: the 401 or 407 that was left unanswered, else 0.
    """
    if not began:
        return "incomplete"
    if challenge:
        return outcome_of_final(kind, challenge)
    return "rejected" if kind == "registration" else "failed"
