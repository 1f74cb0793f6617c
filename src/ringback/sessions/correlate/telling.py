"""The sightings of one session to its story: arrows, order, transactions, participants, legs, timeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ringback.sessions import timeline
from ringback.sessions.capture.sip import SipMessage
from ringback.sessions.correlate import causality
from ringback.sessions.correlate.arrows import SameBytes, agents_of, arrows_of, deltas, group
from ringback.sessions.correlate.clocks import Clocks
from ringback.sessions.correlate.legs import legs_of
from ringback.sessions.correlate.participants import participants_of
from ringback.sessions.correlate.transactions import Exchange, Reading, exchanges_of, finish, read
from ringback.sessions.story import Arrow, Link, LogLine, NodeInfo, Participant, Session, Sighting, StreamReport


def tell(
    sightings: Iterable[Sighting],
    messages: Mapping[bytes, SipMessage],
    *,
    links: Sequence[Link],
    logs: Iterable[LogLine],
    media: Iterable[StreamReport],
    nodes: Sequence[NodeInfo],
    notes: Sequence[str],
    environment: str,
    until_us: int,
) -> Session:
    """`messages` holds the parse of every payload; at least one sighting. `until_us`: when the capture ended."""
    log_lines, reports = list(logs), list(media)
    readings, exchanges, bundles, corrections = _in_story_order(group(sightings, messages))
    ordered = [reading.arrow for reading in readings]
    participants = participants_of(readings, exchanges, nodes, log_lines, corrections)
    entries = timeline.merged(ordered, log_lines, reports, participants)
    for bundle in bundles:
        for again in bundle[1:]:
            again.retransmission_of = bundle[0].number
    transactions = finish(exchanges)
    legs = sorted(legs_of(ordered, transactions, until_us), key=lambda leg: leg.arrows[0])
    main = next((leg for leg in legs if leg.kind == "call"), legs[0])
    return Session(
        kind=main.kind,
        caller=main.caller,
        called=main.called,
        started_us=min(leg.started_us for leg in legs),
        ended_us=max(leg.ended_us for leg in legs),
        outcome=main.outcome,
        final_code=main.final_code,
        final_phrase=main.final_phrase,
        legs=legs,
        links=list(links),
        arrows=ordered,
        transactions=transactions,
        participants=participants,
        entries=entries,
        media=reports,
        notes=[*notes, *_clock_notes(participants, corrections)],
        environment=environment,
        watched_until_us=until_us,
    )


def _in_story_order(
    groups: Sequence[SameBytes],
) -> tuple[list[Reading], list[Exchange], list[list[Arrow]], dict[str, int]]:
    """Arrows with corrected times in causal order, their exchanges, those of the same bytes together, the corrections."""
    clocks = Clocks(agents_of(groups))
    clocks.add_pairs(deltas(groups))
    corrections = clocks.corrections()
    while True:
        bundles = [arrows_of(same, corrections) for same in groups]
        readings = sorted(read([arrow for bundle in bundles for arrow in bundle]), key=causality.rank)
        exchanges = exchanges_of(readings)
        causes = causality.causes(exchanges, bundles)
        clocks.add_waits(causality.waits(causes))
        better = clocks.corrections()
        if better == corrections:
            return causality.in_order(readings, causes), exchanges, bundles, corrections
        corrections = better


def _clock_notes(participants: Sequence[Participant], corrections: Mapping[str, int]) -> list[str]:
    owners = {agent: participant.label for participant in participants for agent in participant.agents}
    names = {agent: owners.get(agent) or _unowned(agent) for agent in sorted(corrections)}
    notes = []
    for agent, name in names.items():
        correction = corrections[agent]
        if not correction:
            continue
        seconds = f"{abs(correction) / 1e6:.3f}".rstrip("0").rstrip(".")
        if len(names) == 2:
            other = next(names[one] for one in names if one != agent)
            notes.append(
                f"The clocks of {other} and {name} are {seconds} s apart; the times of {name} are corrected."
            )
        else:
            direction = "behind" if correction > 0 else "ahead of"
            notes.append(f"The clock of {name} is {seconds} s {direction} the others; its times are corrected.")
    return notes


def _unowned(agent: str) -> str:
    """The first interface of a capture file has no name where the others are numbered."""
    return f"capture agent {agent}" if agent else "the first capture interface"
