"""How long each node kept what it should have passed on or answered at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringback.sessions.diagnose.facts.attempts import Attempt, began_us
from ringback.sessions.story import Arrow, Transaction

# Requests that no person has to decide on: their final response is the machine's own.
MACHINE_ANSWERED = frozenset({"REGISTER", "OPTIONS", "BYE", "CANCEL", "UPDATE", "PRACK", "INFO", "PUBLISH"})


@dataclass(frozen=True, slots=True)
class Held:
    """A node had `came` and sent `went` this much later."""

    node: str  # Participant.id
    came: Arrow
    went: Arrow
    us: int
    what: str  # "passed the INVITE on"


def held_by(attempt: Attempt) -> Iterator[Held]:
    """Every wait inside a node that is its own: forwarding of requests and of responses, and first responses.

    Not its own: waiting for other branches before a refusal is passed on, a next branch after a refusal, a person who
    lets it ring.
    """
    for hop in attempt.hops:
        branches = attempt.children(hop)
        yield from _forwarded(hop, branches)
        yield from _passed_back(hop, branches)
        if not branches:
            yield from _first_response(hop)


def _forwarded(hop: Transaction, branches: list[Transaction]) -> Iterator[Held]:
    first = min(branches, key=began_us, default=None)
    if hop.request and first and first.request:
        waited = first.request.time_us - hop.request.time_us
        yield Held(hop.destination, hop.request, first.request, waited, f"passed the {hop.method} on")


def _passed_back(hop: Transaction, branches: list[Transaction]) -> Iterator[Held]:
    """2xx at once; the refusal that is passed back only after the last branch ended."""
    if hop.final is None or not branches:
        return
    same = [one.final for one in branches if one.final and one.final.sip.to_tag == hop.final.sip.to_tag]
    if not same or any(one.final is None for one in branches):
        return
    came = (
        same[0]
        if hop.final.sip.status < 300
        else max((one.final for one in branches if one.final), key=lambda a: a.time_us)
    )
    waited = hop.final.time_us - came.time_us
    yield Held(hop.destination, came, hop.final, waited, f"passed the {came.sip.status} back")


def _first_response(hop: Transaction) -> Iterator[Held]:
    if hop.request is None:
        return
    first = next(iter([*hop.provisional, *hop.finals]), None)
    if first is None or (hop.method not in MACHINE_ANSWERED and hop.method != "INVITE"):
        return
    waited = first.time_us - hop.request.time_us
    yield Held(hop.destination, hop.request, first, waited, f"sent the first response to the {hop.method}")
