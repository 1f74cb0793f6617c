"""Registrations that push each other out: two devices with one account belong together (RFC 3261 section 10.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from ringback.sessions.capture.sip import SipMessage
from ringback.sessions.story import Link, Sighting

_TURNS = 3  # one device, the other, and the first again: a new phone that takes over for good makes two
_CONFIDENCE = 0.8


def displacing_links(sightings: Iterable[Sighting], messages: Mapping[bytes, SipMessage]) -> list[Link]:
    """Legs whose contacts take turns as the only binding of one address-of-record.

    Two devices that both stay registered are healthy, and two sessions.
    """
    asked: dict[tuple[str, int], str] = {}
    alone: dict[str, list[tuple[str, str]]] = defaultdict(list)  # address-of-record -> (contact, Call-ID) in turn
    for sighting in sorted(sightings, key=_time):
        sip = messages[sighting.payload]
        if sip.method != "REGISTER":
            continue
        contacts = [f"{each.uri.host}:{each.uri.port or 5060}" for each in sip.addresses("contact")]
        if len(set(contacts)) != 1:
            continue
        if sip.is_request:
            asked.setdefault((sip.call_id, sip.cseq), contacts[0])
        elif sip.status == 200 and asked.get((sip.call_id, sip.cseq)) == contacts[0]:
            record = next((f"{to.uri.user}@{to.uri.host}" for to in sip.addresses("to")), "")
            alone[record].append((contacts[0], sip.call_id))
    links = []
    for accepted in alone.values():
        turns = accepted[:1] + [after for before, after in pairwise(accepted) if after[0] != before[0]]
        legs = list(dict.fromkeys(call_id for _, call_id in turns))
        if len(turns) >= _TURNS and len({contact for contact, _ in turns}) == 2:
            because = "they take turns in one registration, and only the last one stays"
            links += [Link(legs[0], other, because, _CONFIDENCE) for other in legs[1:]]
    return links


def _time(sighting: Sighting) -> int:
    return sighting.time_us
