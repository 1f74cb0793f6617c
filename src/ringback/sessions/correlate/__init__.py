"""From sightings to sessions: what correlation offers to the rest. No I/O; the same input in any order gives the same story."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ringback.sessions.capture.sip import NotSip, SipMessage, parse
from ringback.sessions.correlate import legs, linking
from ringback.sessions.correlate.registrations import displacing_links
from ringback.sessions.correlate.telling import tell
from ringback.sessions.keys import DEFAULT_RULES, KeyRules, correlation_keys
from ringback.sessions.numbers import digits
from ringback.sessions.story import Link, LogLine, NodeInfo, Session, Sighting, SightingTuple, StreamReport

__all__ = ["DEFAULT_RULES", "build_session", "build_sessions"]


def build_sessions(
    sightings: Iterable[SightingTuple],
    *,
    logs: Iterable[LogLine] = (),
    media: Iterable[StreamReport] = (),
    nodes: Sequence[NodeInfo] = (),
    rules: KeyRules = DEFAULT_RULES,
    environment: str = "default",
) -> list[Session]:
    """Every session of a capture, in order of their start.

    Log lines and media reports go to the session that has their Call-ID. Sightings that are no SIP are left out: whoever
    read the capture has counted them.
    """
    everything = list(map(Sighting._make, sightings))
    messages = _parsed(everything)
    by_leg: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in everything:
        message = messages.get(sighting.payload)
        if message is not None:
            by_leg[message.call_id].append(sighting)
    facts = [_facts(call_id, seen, messages, rules) for call_id, seen in by_leg.items()]
    links = linking.exact_links(facts)
    links += linking.uncertain_links(facts, links)
    links += displacing_links((one for seen in by_leg.values() for one in seen), messages)
    logs_of: dict[str, list[LogLine]] = defaultdict(list)
    for log in logs:
        logs_of[log.call_id].append(log)
    media_of: dict[str, list[StreamReport]] = defaultdict(list)
    heard_hosts: set[str] = set()
    for report in media:
        media_of[report.leg].append(report)
        if not report.from_report:
            heard_hosts |= {socket.rpartition(":")[0].strip("[]") for socket in (report.source, report.destination)}
    media_hosts = frozenset(heard_hosts)
    until_us = max((sighting.time_us for sighting in everything), default=0)
    sessions = []
    for call_ids, notes in linking.sessions_of(facts, links):
        together = set(call_ids)
        sessions.append(
            tell(
                [sighting for call_id in call_ids for sighting in by_leg[call_id]],
                messages,
                links=[link for link in links if link.from_call_id in together and link.to_call_id in together],
                logs=[log for call_id in call_ids for log in logs_of[call_id]],
                media=[report for call_id in call_ids for report in media_of[call_id]],
                nodes=nodes,
                notes=notes,
                environment=environment,
                until_us=until_us,
            )
        )
    for session in sessions:
        session.media_hosts = media_hosts
    return sorted(sessions, key=lambda session: (session.started_us, session.call_ids))


def build_session(
    sightings: Iterable[SightingTuple],
    *,
    logs: Iterable[LogLine] = (),
    media: Iterable[StreamReport] = (),
    nodes: Sequence[NodeInfo] = (),
    rules: KeyRules = DEFAULT_RULES,
    links: Iterable[Link] = (),
    notes: Iterable[str] = (),
    environment: str = "default",
    until_us: int | None = None,
) -> Session:
    """One session of everything that is given: the legs were chosen by the caller.

    `links` and `notes` are what choosing them found (see `trace.close_over`); the messages tell the reasons of exact links
    better and add theirs. `until_us`: up to when messages would have been seen, now for a running capture; it tells a call
    that goes on from one that is dead. Raises ValueError when none of the sightings is SIP.
    """
    everything = list(map(Sighting._make, sightings))
    messages = _parsed(everything)
    readable = [sighting for sighting in everything if sighting.payload in messages]
    if not readable:
        raise ValueError("no SIP message among the sightings")
    by_leg: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in readable:
        by_leg[messages[sighting.payload].call_id].append(sighting)
    facts = [_facts(call_id, seen, messages, rules) for call_id, seen in by_leg.items()]
    exact = linking.exact_links(facts)
    known = {frozenset((link.from_call_id, link.to_call_id)) for link in exact}
    given = [
        link
        for link in links
        if frozenset((link.from_call_id, link.to_call_id)) not in known
        and {link.from_call_id, link.to_call_id} <= by_leg.keys()
    ]
    unreadable = len(everything) - len(readable)
    all_notes = [*notes, *([f"{unreadable} captured packets could not be read as SIP."] if unreadable else [])]
    return tell(
        readable,
        messages,
        links=[*exact, *given, *linking.uncertain_links(facts, [*exact, *given])],
        logs=logs,
        media=media,
        nodes=nodes,
        notes=all_notes,
        environment=environment,
        until_us=max(sighting.time_us for sighting in readable) if until_us is None else until_us,
    )


def take_turns(sightings: Iterable[Sighting]) -> list[Link]:
    """Links between registrations of one address-of-record that push each other out."""
    seen = list(sightings)
    messages = _parsed(seen)
    return displacing_links([each for each in seen if each.payload in messages], messages)


def _parsed(sightings: Iterable[Sighting]) -> dict[bytes, SipMessage]:
    """Every payload parsed once; what is no SIP is left out."""
    messages: dict[bytes, SipMessage] = {}
    refused: set[bytes] = set()
    for sighting in sightings:
        payload = sighting.payload
        if payload not in messages and payload not in refused:
            try:
                messages[payload] = parse(payload)
            except NotSip:
                refused.add(payload)
    return messages


def _facts(
    call_id: str, seen: Sequence[Sighting], messages: Mapping[bytes, SipMessage], rules: KeyRules
) -> linking.LegFacts:
    keys: dict[str, str] = {}
    callers: set[str] = set()
    called: set[str] = set()
    tags: set[str] = set()
    reached: set[str] = set()
    is_call = False
    first = min(seen, key=lambda sighting: (sighting.time_us, sighting.hop.agent))
    looked_at: set[tuple[bytes, str]] = set()
    for sighting in seen:
        message = messages[sighting.payload]
        if message.is_request:
            reached.add(sighting.hop.destination)
            reached.add(f"{sighting.hop.destination}:{sighting.hop.destination_port}")
        if (sighting.payload, sighting.correlation) in looked_at:
            continue
        looked_at.add((sighting.payload, sighting.correlation))
        keys = correlation_keys(message, sighting.correlation, rules) | keys
        tags.update(tag for tag in (message.from_tag, message.to_tag) if tag)
        if message.method == "INVITE":
            is_call = True
            if message.is_request and not message.to_tag:
                callers.add(digits(legs.caller(message)))
                called.update(
                    (digits(legs.called(message)), *(digits(to.uri.user) for to in message.addresses("to")))
                )
    return linking.LegFacts(
        call_id=call_id,
        started_us=first.time_us,
        is_call=is_call,
        keys=keys,
        callers=frozenset(callers - {"", "anonymous"}),
        called=frozenset(called - {""}),
        source=(first.hop.source, f"{first.hop.source}:{first.hop.source_port}"),
        reached=frozenset(reached),
        tags=frozenset(tags),
    )
