"""Addresses that cannot be reached from the public network (RFC 1918, 6598, 3927, 4193), and the messages that told one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ringback.sessions.capture.sdp import sdp_of
from ringback.sessions.diagnose.facts.attempts import Attempt
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.story import Arrow

# Python's is_private also holds for the documentation networks, which stand for public ones in examples and tests.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip


@lru_cache(4096)
def is_private(text: str) -> bool:
    """False for names and for what is no address at all."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE if network.version == address.version)


@lru_cache(4096)
def is_public(text: str) -> bool:
    """An address that is neither private nor one of those nobody is reached at."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (is_private(text) or address.is_unspecified or address.is_multicast)


@dataclass(frozen=True, slots=True)
class Leak:
    """A private address that a message carried out of a public one, and was not mended further on."""

    leg: str
    arrow: Arrow  # the last hop on which it was seen
    address: str
    passed_on: bool  # by a node that might have mended it
    sender: str  # Participant.id of who told it first


def sdp_leaks(leg: LegFacts, *, relayed: bool) -> Iterator[Leak]:
    """Of every offer and answer. `relayed`: a node made another leg of this one, with an SDP of its own."""
    for attempt in leg.attempts:
        if attempt.method not in ("INVITE", "UPDATE"):
            continue
        for path in _paths(attempt):
            told = [(arrow, _media_address(arrow)) for arrow in path]
            if leak := _leak(leg, told, relayed=relayed):
                yield leak


def contact_leaks(leg: LegFacts, *, relayed: bool) -> Iterator[Leak]:
    """Of the first request and of the answer to an INVITE; a registrar that notes the real address has mended it."""
    for attempt in leg.attempts:
        if attempt.in_dialog or attempt.method not in ("INVITE", "REGISTER", "SUBSCRIBE"):
            continue
        if attempt.method == "REGISTER" and _noted_by_registrar(attempt):
            continue
        for path in _paths(attempt):
            if attempt.method == "REGISTER" and not path[0].sip.is_request:
                continue  # the registrar repeats what it was told
            told = [(arrow, _contact_host(arrow)) for arrow in path]
            if leak := _leak(leg, told, relayed=relayed):
                yield leak


def _paths(attempt: Attempt) -> Iterator[list[Arrow]]:
    """The request over its hops, sender first; then the 2xx over its hops, answerer first."""
    requests = [hop.request for hop in attempt.hops if hop.request]
    if requests:
        yield requests
    answers = [hop.final for hop in attempt.hops if hop.final and hop.final.sip.status < 300]
    if answers:
        yield sorted(answers, key=lambda arrow: (arrow.time_us, arrow.number))


def _leak(leg: LegFacts, told: Sequence[tuple[Arrow, str]], *, relayed: bool) -> Leak | None:
    leaking = [(arrow, address) for arrow, address in told if is_private(address) and is_public(arrow.hop.source)]
    if not leaking:
        return None
    arrow, address = leaking[-1]
    last, last_address = told[-1]
    if last is not arrow and not is_private(last_address):
        return None
    passed_on = told[0][0] is not arrow or (len(arrow.sip.vias) > 1 and arrow.sip.is_request)
    if relayed and not passed_on:
        return None
    return Leak(leg.leg.call_id, arrow, address, passed_on, told[0][0].source)


def _media_address(arrow: Arrow) -> str:
    sdp = sdp_of(arrow.sip)
    if sdp is None:
        return ""
    return next((one.address for one in sdp.media if one.port and not one.ice), "")


def _contact_host(arrow: Arrow) -> str:
    contacts = arrow.sip.addresses("contact")
    if not contacts or "alias" in contacts[0].uri.parameters:
        return ""
    return contacts[0].uri.host


def _noted_by_registrar(attempt: Attempt) -> bool:
    final = attempt.final
    return final is not None and any("received" in one.parameters for one in final.sip.addresses("contact"))
