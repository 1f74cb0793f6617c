"""What a leg says in short: who called whom, how it ended, when it rang, was answered and hung up.

The outcome is read on the hop nearest the caller; but a call that any branch answered is answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from ringback.sessions.capture.sip import Address, SipMessage, parse_uri
from ringback.sessions.outcomes import kind_of, outcome_of_final, outcome_without_final
from ringback.sessions.story import Arrow, Kind, Leg, Outcome, Transaction

_RINGING = frozenset({180, 183})
_GIVEN_UP_US = 32_000_000  # 64 T1: an INVITE without any response is dead (RFC 3261 17.1.1.2)
_SILENT_US = (
    200_000_000  # timer C is over 3 minutes: a call that hears nothing new for longer is dead (RFC 3261 16.6)
)
_ANONYMOUS = frozenset({"", "anonymous", "restricted", "unavailable", "private", "unknown"})


def legs_of(arrows: Sequence[Arrow], transactions: Sequence[Transaction], until_us: int) -> list[Leg]:
    """In order of their start. `until_us`: when the capture ended, which tells a call that goes on from one that is dead."""
    by_leg: dict[str, list[Arrow]] = {}
    for arrow in arrows:
        by_leg.setdefault(arrow.leg, []).append(arrow)
    exchanged: dict[str, list[Transaction]] = {call_id: [] for call_id in by_leg}
    for transaction in transactions:
        exchanged[transaction.leg].append(transaction)
    return [_leg(call_id, part, exchanged[call_id], until_us) for call_id, part in by_leg.items()]


def _leg(call_id: str, arrows: Sequence[Arrow], transactions: Sequence[Transaction], until_us: int) -> Leg:
    first = next((arrow.sip for arrow in arrows if arrow.sip.is_request), arrows[0].sip)
    calls = any(arrow.sip.method in ("INVITE", "BYE", "CANCEL") for arrow in arrows)
    kind: Kind = "call" if calls else kind_of(first.method)
    tries = _tries(transactions, kind)
    final = _final(tries)
    ringing = [one.time_us for each in tries for one in each.provisional if one.sip.status in _RINGING]
    leg = Leg(
        call_id=call_id,
        kind=kind,
        caller=caller(first),
        called=called(first),
        started_us=arrows[0].time_us,
        ended_us=max(arrow.time_us for arrow in arrows),
        outcome="incomplete",
        final_code=final.sip.status if final else None,
        final_phrase=final.sip.phrase if final else "",
        ringing_us=min(ringing, default=None),
        arrows=[arrow.number for arrow in arrows],
    )
    if tries:
        leg.outcome = _outcome(leg, tries, final, until_us)
        hung_up = any(one.method == "BYE" and one.in_dialog for one in transactions)
        if hung_up and leg.outcome == "in_progress":
            leg.outcome = "incomplete"  # it was answered and is over: the capture lacks the answer
    if leg.outcome == "answered" and final:
        leg.answered_us = final.time_us
        goodbyes = _goodbyes(transactions, tries, final)
        if goodbyes:
            leg.duration_s = max(0, min(goodbyes) - final.time_us) / 1e6
    return leg


def _goodbyes(transactions: Sequence[Transaction], tries: Sequence[Transaction], answer: Arrow) -> list[int]:
    """When BYEs were sent, those apart that hang up other forks that answered too (RFC 3261 section 13.2.2.4)."""
    answers = {final.sip.to_tag for each in tries for final in each.finals if final.sip.status < 300}
    others = answers - {answer.sip.to_tag, ""}
    byes = [one.request for one in transactions if one.method == "BYE" and one.request]
    return [bye.time_us for bye in byes if not others & {bye.sip.from_tag, bye.sip.to_tag}]


def _tries(transactions: Sequence[Transaction], kind: Kind) -> list[Transaction]:
    """The transactions that began the leg, on the hop nearest the caller: the first one and its repetitions with
    credentials, to another server, or as a refresh. Empty where the capture begins inside a call."""
    roots = [one for one in transactions if one.parent is None and kind_of(one.method) == kind]
    fresh = [
        one for one in roots if not one.in_dialog and one.method not in ("BYE", "CANCEL", "PRACK", "UPDATE", "INFO")
    ]
    if not fresh and kind != "call":
        fresh = roots
    first = next((one for one in fresh if one.request), fresh[0] if fresh else None)
    if first is None:
        return []
    return [
        one
        for one in fresh
        if one.method == first.method and one.source == first.source and bool(one.request) == bool(first.request)
    ]


def _final(tries: Sequence[Transaction]) -> Arrow | None:
    """The response that decides: the first 2xx of a call, else that of the last try. None while that is waited for."""
    if tries and tries[0].method == "INVITE":
        answers = [arrow for each in tries for arrow in each.finals if arrow.sip.status < 300]
        if answers:
            return min(answers, key=lambda arrow: arrow.number)
    elif tries and tries[-1].final is None:
        return next((one.final for one in reversed(tries) if one.final and one.final.sip.status < 300), None)
    return tries[-1].final if tries else None


def _outcome(leg: Leg, tries: Sequence[Transaction], final: Arrow | None, until_us: int) -> Outcome:
    began = any(one.request for one in tries)
    cancelled = any(one.cancelled_by is not None for one in tries)
    if final is None:
        return "cancelled" if cancelled else _without_final(leg, tries[-1], began=began, until_us=until_us)
    code = final.sip.status
    if code < 300 and leg.kind == "call" and not began:
        return "incomplete"
    if cancelled and code == 408:
        return "cancelled"  # the branch that was given up timed out in the proxy
    removes = leg.kind == "registration" and any(
        one.final is final and one.request is not None and removes_registration(one.request.sip) for one in tries
    )
    return outcome_of_final(leg.kind, code, ringing=leg.ringing_us is not None, cancelled=cancelled, removes=removes)


def _without_final(leg: Leg, last: Transaction, *, began: bool, until_us: int) -> Outcome:
    silent_us = until_us - leg.ended_us
    unheard = not last.provisional and len(last.requests) > 1
    dead = unheard or silent_us > (_SILENT_US if last.provisional else _GIVEN_UP_US)
    if began and not dead:
        return "in_progress"
    if leg.kind == "call" and leg.ringing_us is not None:
        return "no_answer"
    return outcome_without_final(leg.kind, began=began)


def removes_registration(sip: SipMessage) -> bool:
    """RFC 3261 section 10.2.2: every Contact asks to expire at once."""
    contacts = sip.values("contact")
    if contacts == ["*"]:
        return True
    if not contacts:
        return False
    default = sip.header("expires")
    return all(address.parameters.get("expires", default) == "0" for address in sip.addresses("contact"))


def caller(sip: SipMessage) -> str:
    """Of a request or a response: the user of From, of who vouches for it where From hides it."""
    sender = _user(sip.addresses("from"))
    if sender.lower() not in _ANONYMOUS:
        return sender
    for header in ("p-asserted-identity", "remote-party-id", "p-preferred-identity"):
        asserted = _user(sip.addresses(header))
        if asserted.lower() not in _ANONYMOUS:
            return asserted
    return "anonymous" if sender else _host(sip.addresses("from"))


def called(sip: SipMessage) -> str:
    """The user of the Request-URI, else of To, else the host asked."""
    target = _request_user(sip) if sip.is_request and sip.method != "REGISTER" and not sip.to_tag else ""
    return target or _user(sip.addresses("to")) or _host(sip.addresses("to"))


def _request_user(sip: SipMessage) -> str:
    try:
        return parse_uri(sip.request_uri).user
    except ValueError:
        return ""


def _user(addresses: Sequence[Address]) -> str:
    return addresses[0].uri.user if addresses else ""


def _host(addresses: Sequence[Address]) -> str:
    return addresses[0].uri.host if addresses else ""
