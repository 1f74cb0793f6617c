"""Private addresses told to the outside, in SDP and Contact: the work of NATs, ALGs and edges that do not mend them."""

from __future__ import annotations

from collections.abc import Iterator

from ringback.sessions.diagnose.facts import Facts
from ringback.sessions.diagnose.facts.addresses import Leak, contact_leaks, sdp_leaks
from ringback.sessions.diagnose.finding import Finding, Severity, evidence, remarks
from ringback.sessions.diagnose.predicates.media import unheard_side
from ringback.sessions.diagnose.telling import who
from ringback.sessions.diagnose.wording import said
from ringback.sessions.story import Arrow, Transaction

# Final responses that a node makes when it cannot deliver a request; 477 and 478 are Kamailio's and OpenSIPS' own.
_UNDELIVERED = frozenset({404, 408, 430, 477, 478, 480}) | frozenset(range(500, 600))


@remarks("private-address-in-sdp", "address", "packet_source", "by", "passed", "harm")
def private_address_in_sdp(facts: Facts) -> Finding | None:
    """A connection address that is not reachable from outside, in a packet from a public one, not mended further on.

    A notice where only the sender told it and nothing shows harm: a media relay that latches on to the first packet
    mends that silently. Nothing where media ran in both directions all the same.
    """
    graver: Leak | None = None
    harm = ""
    for leg in facts.legs.values():
        heard = any(one.leg == leg.leg.call_id and one.to_caller and one.to_callee for one in facts.listening)
        leaks = [] if heard else list(sdp_leaks(leg, relayed=bool(facts.downstream(leg))))
        for leak in leaks:
            if graver is None or (leak.passed_on and not graver.passed_on):
                graver = leak
        if leaks and unheard_side(facts, leg.leg.call_id):
            harm = " In this call one side was not heard."
    if graver is None:
        return None
    grave = graver.passed_on or bool(harm)
    return _finding(
        facts, "private-address-in-sdp", graver, harm, None, 0.9 if grave else 0.6, None if grave else "notice"
    )


@remarks("private-address-in-contact", "address", "packet_source", "by", "passed", "harm")
def private_address_in_contact(facts: Facts) -> Finding | None:
    """The same of a Contact. A warning where a request to that address was lost, else a notice: edges mend it silently."""
    found: Finding | None = None
    for leg in facts.legs.values():
        for leak in contact_leaks(leg, relayed=bool(facts.downstream(leg))):
            lost = next(_lost(facts, leak), None)
            if lost and lost.request:
                end = f"was answered {said(lost.final)}" if lost.final else "got no answer"
                harm = f" In this session a {lost.method} to that address {end}."
                return _finding(facts, "private-address-in-contact", leak, harm, lost.request, 0.95, None)
            found = found or _finding(facts, "private-address-in-contact", leak, "", None, 0.6, "notice")
    return found


def _lost(facts: Facts, leak: Leak) -> Iterator[Transaction]:
    """Requests within the dialog to the private address that were not delivered."""
    for hop in facts.session.transactions:
        request = hop.request
        if request is None or hop.leg != leak.leg or not hop.in_dialog or leak.address not in request.sip.request_uri:
            continue
        silent = len(hop.requests) > 1 and not hop.provisional and not hop.finals
        if silent or (hop.final is not None and hop.final.sip.status in _UNDELIVERED):
            yield hop


def _finding(
    facts: Facts, issue: str, leak: Leak, harm: str, lost: Arrow | None, confidence: float, severity: Severity | None
) -> Finding:
    sender, node = who(facts, leak.sender), who(facts, leak.arrow.source)
    values = {
        "address": leak.address,
        "packet_source": leak.arrow.hop.source,
        "by": sender,
        "passed": f" {node} passed it on unchanged." if leak.passed_on and node != sender else "",
        "harm": harm,
    }
    shown = evidence(
        (leak.arrow, f"names {leak.address}, sent from {leak.arrow.hop.source}"), (lost, "a request to that address")
    )
    return Finding(issue, shown, values, confidence, severity=severity)
