"""What worked, but late or on the second try: failover, nodes that hold messages, a long wait for ringing (ITU-T E.721)."""

from __future__ import annotations

from collections.abc import Iterator

from ringback.sessions.diagnose.facts import Facts
from ringback.sessions.diagnose.facts.attempts import Attempt, began_us
from ringback.sessions.diagnose.facts.handling import Held, held_by
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.diagnose.facts.reasons import q850_cause, reasons_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks
from ringback.sessions.diagnose.telling import who
from ringback.sessions.diagnose.wording import counted, duration, said, times
from ringback.sessions.story import Arrow, Evidence, Transaction

HELD_US = 1_000_000  # longer than any look-up should take, and past the first retransmission (T1 is 0.5 s)
POST_DIAL_US = 10_000_000  # 95 % of national calls ring within 8 s, of international ones within 11 s (E.721 table 2)
LOST_COPY_US = 500_000  # a response within T1 of a copy answers that copy
NEXT_BRANCH_US = 400_000  # branches that begin closer together were forked, not tried in turn
_ROUTE_CAUSES = frozenset({2, 3, 27, 34, 38, 41, 42, 44, 47, 58, 102})


@remarks("failover-used", "failed", "worked", "delay")
def failover_used(facts: Facts) -> Finding | None:
    """A branch that failed for its route's own reason (silence, 408, 5xx, Q.850), and a later one that rang or was answered."""
    for broken, next_one in _turns(facts):
        sent, later = broken.request, next_one.request
        if sent is None or later is None:
            continue
        node = who(facts, broken.destination)
        final = broken.final
        failed = (
            f"{node} answered {said(final)}"
            if final
            else f"{node} did not answer (asked {times(len(broken.requests))})"
        )
        values = {
            "failed": failed,
            "worked": who(facts, next_one.destination),
            "delay": duration(later.time_us - sent.time_us),
        }
        shown = evidence(
            (sent, f"first route: {node}"),
            (final or broken.requests[-1], "it fails"),
            (later, f"next route: {who(facts, next_one.destination)}"),
            (next_one.final or next((one for one in next_one.provisional if one.sip.status > 100), None), "it works"),
        )
        return Finding("failover-used", shown, values, 0.95 if final else 0.85)
    return None


def _turns(facts: Facts) -> Iterator[tuple[Transaction, Transaction]]:
    """(the branch that failed, the next one, which worked)."""
    for leg in facts.legs.values():
        for one in leg.tries:
            if one.attempt.method in ("INVITE", "MESSAGE"):
                yield from _in_turn(_branch_sets(one.attempt))
        if leg.method == "INVITE":
            yield from _in_turn([[one.attempt.hops[0] for one in leg.tries]])
        made = facts.downstream(leg)
        firsts = [other.tries[-1].attempt for other in made]
        yield from _in_turn([[attempt.hops[0] for attempt in firsts]])


def _branch_sets(attempt: Attempt) -> list[list[Transaction]]:
    sets = [attempt.roots]
    sets += [attempt.children(hop) for hop in attempt.hops]
    return [branches for branches in sets if len(branches) > 1]


def _in_turn(sets: list[list[Transaction]]) -> Iterator[tuple[Transaction, Transaction]]:
    for branches in sets:
        ordered = sorted(branches, key=began_us)
        for position, broken in enumerate(ordered):
            if not _route_failed(broken):
                continue
            for other in ordered[position + 1 :]:
                ended = broken.final.time_us if broken.final else broken.requests[0].time_us + NEXT_BRANCH_US
                same = other.source == broken.source and other.destination != broken.destination
                if same and began_us(other) >= ended and _worked(other):
                    yield broken, other


def _route_failed(branch: Transaction) -> bool:
    final = branch.final
    if final is None:
        return bool(branch.requests) and not any(one.sip.status > 100 for one in branch.provisional)
    if any(one.sip.status in (180, 183) for one in branch.provisional):
        return False
    return final.sip.status == 408 or 500 <= final.sip.status < 600 or q850_cause(reasons_of(final)) in _ROUTE_CAUSES


def _worked(branch: Transaction) -> bool:
    rang = any(one.sip.status in (180, 183) for one in branch.provisional)
    return rang or (branch.final is not None and branch.final.sip.status < 300)


@remarks("slow-response", "slow_node", "held", "limit", "others")
def slow_response(facts: Facts) -> Finding | None:
    """A node took more than a second to pass a message on, to pass it back, or to respond at all."""
    slow = sorted(_slow(facts), key=lambda held: -held.us)
    if not slow:
        return None
    worst = slow[0]
    node = who(facts, worst.node)
    again = _sent_again(facts, worst)
    others = f" The request was sent again {times(again)} meanwhile." if again else ""
    if again and worst.went.time_us - _last_copy(facts, worst).time_us < LOST_COPY_US:
        others += " It came just after the last copy, so the earlier ones may have been lost on the way."
    if len(slow) > 1:
        others += f" It is the longest of {counted(len(slow), 'such wait')} in this session."
    shown: list[Evidence] = []
    for held in slow[:4]:
        shown += evidence(
            (held.came, f"reaches {who(facts, held.node)}"), (held.went, f"goes on {duration(held.us)} later")
        )
    values = {
        "slow_node": node,
        "held": f"{worst.what} {duration(worst.us)} after it had it",
        "limit": duration(HELD_US),
        "others": others,
    }
    return Finding("slow-response", tuple(shown), values, 0.9)


def _slow(facts: Facts) -> Iterator[Held]:
    for attempt in facts.attempts:
        for held in held_by(attempt):
            if held.us > HELD_US:
                yield held


def _last_copy(facts: Facts, held: Held) -> Arrow:
    hop = facts.session.transactions[held.came.transaction] if held.came.transaction is not None else None
    copies = [one for one in hop.requests if one.time_us < held.went.time_us] if hop else []
    return copies[-1] if copies else held.came


def _sent_again(facts: Facts, held: Held) -> int:
    hop = facts.session.transactions[held.came.transaction] if held.came.transaction is not None else None
    if hop is None or not held.came.sip.is_request:
        return 0
    return sum(held.came.time_us < one.time_us < held.went.time_us for one in hop.requests)


@remarks("long-post-dial-delay", "delay", "limit", "first_sign")
def long_post_dial_delay(facts: Facts) -> Finding | None:
    """More than ten seconds from the first INVITE to the first 180, 183 or 200 that the caller got."""
    for ending in facts.endings:
        leg = ending.leg
        if leg.method != "INVITE" or leg.deciding is None:
            continue
        last = leg.dialog.attempt if leg.dialog else leg.deciding
        sign, first = _first_sign(last), _first_try(leg, last)
        if sign is None or first is None:
            continue
        delay = sign.time_us - first.time_us
        if delay > POST_DIAL_US:
            values = {
                "delay": duration(delay),
                "limit": duration(POST_DIAL_US),
                "first_sign": said(sign),
            }
            shown = evidence((first, "the caller dials"), (sign, f"the first sign of life, {duration(delay)} later"))
            return Finding("long-post-dial-delay", shown, values, 0.95)
    return None


def _first_sign(attempt: Attempt) -> Arrow | None:
    signs = [one for hop in attempt.roots for one in hop.provisional if one.sip.status > 100]
    if attempt.final and attempt.final.sip.status < 300:
        signs.append(attempt.final)
    return min(signs, key=lambda one: one.time_us, default=None)


def _first_try(leg: LegFacts, last: Attempt) -> Arrow | None:
    """The INVITE from which the caller waits: the first of the tries that followed each other at once."""
    first = last
    for one in reversed(leg.tries):
        if one.attempt.began_us < first.began_us:
            final = one.attempt.final
            if final is None or first.began_us - final.time_us > HELD_US * 2:
                break
            first = one.attempt
    return first.request
