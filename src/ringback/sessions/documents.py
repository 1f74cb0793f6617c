"""A session as JSON: one shape for `ringback explain --json`, the export, the API and `ringback trace --json`.

The keys of `SessionDocument` are a promise to scripts: they are added to, never renamed. TypedDicts, not models, so that
the command line does not pay for a validation library; the API derives its OpenAPI schema from the same types.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typing_extensions import TypedDict

from ringback import clock
from ringback.billing.entities.whose import Whose
from ringback.sessions.billing_log import KIND, step_of
from ringback.sessions.story import Entry, Issue, Leg, Session, StreamReport

LinkDocument = TypedDict("LinkDocument", {"from": str, "to": str, "because": str, "confidence": float})


class EvidenceDocument(TypedDict):
    message: int  # number of the entry in the session's timeline
    why: str


class StepDocument(TypedDict):
    role: str
    text: str


class MendDocument(TypedDict):
    type: str  # of the entity, as /api/v1/<path> names it
    id: int


class IssueDocument(TypedDict):
    id: str
    severity: str
    title: str
    description: str
    confidence: float
    evidence: list[EvidenceDocument]
    causes: list[str]
    steps: list[StepDocument]
    mend: list[MendDocument]  # entities of the books that would have to change


class ParticipantDocument(TypedDict):
    id: str
    label: str
    kind: str
    addresses: list[str]
    cluster: bool
    user_agent: str
    skew_ms: float


class LegDocument(TypedDict):
    call_id: str
    kind: str
    caller: str
    called: str
    started_at: str
    ended_at: str
    outcome: str
    final_code: int | None
    final_phrase: str
    talk_s: float | None


class MediaDocument(TypedDict):
    source: str
    destination: str
    ssrc: int | None
    codec: str
    packets: int
    lost: int | None
    loss_percent: float | None
    jitter_ms: float | None
    mos: float | None
    reported: bool  # told by RTCP or a quality report rather than counted


class SessionDocument(TypedDict):
    kind: str
    caller: str
    called: str
    started_at: str  # RFC 3339, UTC, microseconds
    ended_at: str
    outcome: str
    final_code: int | None
    final_phrase: str
    call_ids: list[str]
    links: list[LinkDocument]
    messages: int  # as probes saw them
    arrows: int  # each hop once
    retransmissions: int
    participants: list[ParticipantDocument]
    issues: list[IssueDocument]  # the primary one first
    legs: list[LegDocument]
    media: list[MediaDocument]
    notes: list[str]


class EntryDocument(TypedDict):
    number: int
    time: str
    kind: str
    node: str
    step: str  # of a billing line: request account ... decision ... xdr
    text: str
    source: str
    destination: str
    call_id: str
    seen_by: list[str]  # capture agents, for SIP
    retransmission_of: int | None
    raw: str


class WhoseDocument(TypedDict):
    name: str  # the number or login
    known_as: str  # account | alias | DID number | SIM card
    i_account: int
    account: str
    i_customer: int
    customer: str


class TracedSessionDocument(SessionDocument):
    id: str
    whose: list[WhoseDocument]  # accounts behind its numbers; empty where the reader may not see customers
    timeline: list[EntryDocument]


class CaptureDocument(TypedDict):
    packets: int
    sip_messages: int
    media_packets: int  # RTP and RTCP, told by figures in `media`
    ignored: dict[str, int]


class ExplainDocument(TypedDict):
    capture: CaptureDocument
    sessions: list[SessionDocument]


def session_document(session: Session, issues: list[Issue]) -> SessionDocument:
    return {
        "kind": session.kind,
        "caller": session.caller,
        "called": session.called,
        "started_at": clock.isoformat(session.started_us),
        "ended_at": clock.isoformat(session.ended_us),
        "outcome": session.outcome,
        "final_code": session.final_code,
        "final_phrase": session.final_phrase,
        "call_ids": session.call_ids,
        "links": [
            {"from": link.from_call_id, "to": link.to_call_id, "because": link.because, "confidence": link.confidence}
            for link in session.links
        ],
        "messages": session.message_count,
        "arrows": len(session.arrows),
        "retransmissions": session.retransmission_count,
        "participants": [
            {
                "id": participant.id,
                "label": participant.label,
                "kind": participant.kind,
                "addresses": participant.addresses,
                "cluster": participant.cluster,
                "user_agent": participant.user_agent,
                "skew_ms": participant.skew_us / 1000,
            }
            for participant in session.participants
        ],
        "issues": [_issue(issue) for issue in issues],
        "legs": [_leg(leg) for leg in session.legs],
        "media": [_media(report) for report in session.media],
        "notes": session.notes,
    }


def traced_document(
    session_id: str, session: Session, issues: list[Issue], whose: Iterable[Whose] = ()
) -> TracedSessionDocument:
    return {
        "id": session_id,
        **session_document(session, issues),
        "whose": [
            {
                "name": one.name,
                "known_as": one.known_as,
                "i_account": one.account_id,
                "account": one.account,
                "i_customer": one.customer_id,
                "customer": one.customer,
            }
            for one in whose
        ],
        "timeline": [_entry(entry) for entry in session.entries],
    }


def _issue(issue: Issue) -> IssueDocument:
    return {
        "id": issue.id,
        "severity": issue.severity,
        "title": issue.title,
        "description": issue.description,
        "confidence": round(issue.confidence, 2),
        "evidence": [{"message": evidence.message, "why": evidence.why} for evidence in issue.evidence],
        "causes": list(issue.causes),
        "steps": [{"role": step.role, "text": step.text} for step in issue.steps],
        "mend": [{"type": one.type, "id": one.id} for one in issue.mend],
    }


def _leg(leg: Leg) -> LegDocument:
    return {
        "call_id": leg.call_id,
        "kind": leg.kind,
        "caller": leg.caller,
        "called": leg.called,
        "started_at": clock.isoformat(leg.started_us),
        "ended_at": clock.isoformat(leg.ended_us),
        "outcome": leg.outcome,
        "final_code": leg.final_code,
        "final_phrase": leg.final_phrase,
        "talk_s": leg.duration_s,
    }


def _media(report: StreamReport) -> MediaDocument:
    return {
        "source": report.source,
        "destination": report.destination,
        "ssrc": report.ssrc,
        "codec": report.codec,
        "packets": report.packets,
        "lost": report.lost,
        "loss_percent": report.loss_percent,
        "jitter_ms": report.jitter_ms,
        "mos": report.mos,
        "reported": report.from_report,
    }


def _entry(entry: Entry) -> EntryDocument:
    document: EntryDocument = {
        "number": entry.number,
        "time": clock.isoformat(entry.time_us),
        "kind": entry.kind,
        "node": entry.node,
        "step": step_of(entry.log) if entry.kind == KIND and entry.log else "",
        "text": entry.text,
        "source": entry.source,
        "destination": entry.destination,
        "call_id": "",
        "seen_by": [],
        "retransmission_of": None,
        "raw": "",
    }
    if entry.arrow is not None:
        arrow = entry.arrow
        document["source"], document["destination"] = arrow.source, arrow.destination
        document["call_id"] = arrow.leg
        document["seen_by"] = list(dict.fromkeys(one.hop.agent for one in arrow.sightings if one.hop.agent))
        document["retransmission_of"] = arrow.retransmission_of
        document["raw"] = arrow.payload.decode("utf-8", "replace")
    elif entry.log is not None:
        document["call_id"], document["raw"] = entry.log.call_id, entry.log.text
    return document


def to_json(document: Any, *, pretty: bool = False) -> bytes:
    """UTF-8 JSON with a final newline."""
    import orjson

    options = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0)
    return orjson.dumps(document, option=options)
