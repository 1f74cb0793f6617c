"""What Ringback must make of every scenario, given beforehand by a person; and the recording, told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ringback.demo import recording
from ringback.demo.copies import Original, originals
from ringback.demo.nodes import NODES
from ringback.sessions.capture.hep import SIP
from ringback.sessions.capture.hep_logs import to_log
from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.nodes.schemas import checked
from ringback.sessions.story import Issue, Session, Sighting


@dataclass(frozen=True, slots=True)
class Truth:
    outcome: str
    issue: str  # the primary one
    severity: str = "critical"
    lanes: tuple[str, ...] = ("phone", "edge1", "core1", "gw-east")  # "phone" is any address of no node
    also: tuple[str, ...] = ()  # further issues that must be told
    legs: int = 1
    retransmissions: bool = False


INSIDE = ("phone", "edge1")
PROXIED = ("phone", "edge1", "core1")
WEST = ("phone", "edge1", "core1", "gw-west")
INBOUND = ("gw-west", "core1", "edge1", "phone")
BOTH = ("phone", "edge1", "core1", "gw-east", "gw-west")

TRUTH = {
    "answered": Truth("answered", "normal", "notice"),
    "answered-west": Truth("answered", "normal", "notice", WEST),
    "answered-early-media": Truth("answered", "normal", "notice"),
    "answered-over-tcp": Truth("answered", "normal", "notice"),
    "answered-inside": Truth("answered", "normal", "notice", ("phone", "edge1", "core1", "phone")),
    "answered-inbound": Truth("answered", "normal", "notice", INBOUND),
    "forked": Truth("answered", "normal", "notice", (*INBOUND, "phone")),
    "hold": Truth("answered", "normal", "notice", also=("media-on-hold",)),
    "forwarded": Truth("answered", "normal", "notice", ("phone", "edge1", "core1", "pbx1", "gw-west"), legs=2),
    "forwarded-x-cid": Truth("answered", "normal", "notice", ("phone", "edge1", "core1", "pbx1", "gw-east"), legs=2),
    "attended-transfer": Truth("answered", "normal", "notice", BOTH, legs=3),
    "short-call": Truth("answered", "short-call", "notice"),
    "fax-refused": Truth("answered", "t38-refused", "warning"),
    "private-address-in-sdp": Truth("answered", "private-address-in-sdp", "warning"),
    "private-address-in-contact": Truth(
        "answered", "private-address-in-contact", "warning", also=("private-address-in-sdp",)
    ),
    "long-post-dial-delay": Truth("answered", "long-post-dial-delay", "warning", WEST),
    "slow-core": Truth("answered", "slow-response", "warning"),
    "failover": Truth("answered", "failover-used", "warning", BOTH),
    "failover-from-dead-gateway": Truth("answered", "failover-used", "warning", BOTH, retransmissions=True),
    "missing-ack": Truth("answered", "ack-missing", "critical", retransmissions=True),
    "session-timer-expired": Truth("answered", "session-timer-expired"),
    "dialog-lost": Truth("answered", "dialog-lost", "warning"),
    "bye-unanswered": Truth("answered", "bye-unanswered", "warning", retransmissions=True),
    "busy": Truth("busy", "callee-busy", "notice"),
    "declined": Truth("failed", "callee-declined", "notice"),
    "cancelled": Truth("cancelled", "caller-cancelled", "notice"),
    "cancel-unanswered": Truth("cancelled", "cancel-unanswered", "warning", retransmissions=True),
    "no-answer": Truth("no_answer", "no-answer", "notice"),
    "callee-unavailable": Truth("failed", "callee-unavailable", "warning"),
    "not-registered": Truth("failed", "not-registered", "critical", ("gw-west", "core1", "edge1")),
    "unknown-number": Truth("failed", "number-unknown"),
    "number-incomplete": Truth("failed", "number-incomplete"),
    "number-changed": Truth("failed", "number-changed"),
    "ambiguous-number": Truth("failed", "ambiguous-number"),
    "premium-not-allowed": Truth("failed", "caller-not-allowed", lanes=INSIDE),
    "wrong-password": Truth("failed", "credentials-rejected", lanes=INSIDE),
    "unknown-subscriber": Truth("failed", "credentials-rejected", lanes=INSIDE),
    "no-credentials-sent": Truth("failed", "no-credentials-sent", lanes=INSIDE),
    "no-response": Truth("failed", "no-response", retransmissions=True),
    "stuck-after-trying": Truth("failed", "stuck-after-trying", retransmissions=True),
    "no-route": Truth("failed", "no-route"),
    "network-congestion": Truth("failed", "network-congestion"),
    "failover-exhausted": Truth("failed", "network-congestion", lanes=BOTH),
    "gateway-failure": Truth("failed", "gateway-failure"),
    "server-error": Truth("failed", "server-error"),
    "codec-mismatch": Truth("failed", "codec-mismatch"),
    "encryption-mismatch": Truth("failed", "encryption-mismatch"),
    "malformed-request": Truth("failed", "malformed-request"),
    "message-too-large": Truth("failed", "message-too-large"),
    "extension-required": Truth("failed", "extension-required"),
    "session-timer-too-small": Truth("failed", "session-timer-too-small"),
    "redirected": Truth("redirected", "redirected", "notice"),
    "loop": Truth("failed", "loop-detected", lanes=PROXIED, retransmissions=True),
    "registration": Truth("registered", "normal", "notice", INSIDE),
    "unregistration": Truth("unregistered", "normal", "notice", INSIDE),
    "registration-wrong-password": Truth("rejected", "credentials-rejected", lanes=INSIDE),
    "registration-too-brief": Truth("rejected", "registration-too-brief", lanes=INSIDE),
    "registration-flapping": Truth("registered", "registration-flapping", "warning", INSIDE),
    "nonce-expired": Truth("rejected", "nonce-expired", lanes=INSIDE),
    "text-message": Truth("succeeded", "normal", "notice"),
    "method-not-supported": Truth("failed", "method-not-supported"),
    "options-ping": Truth("succeeded", "normal", "notice", INSIDE),
    "voicemail-subscription": Truth("succeeded", "normal", "notice", WEST),
}


@cache
def recorded() -> dict[str, Original]:
    return originals(*recording.load())


@cache
def told(name: str) -> tuple[Session, list[Issue]]:
    """The session that the scenario is about (phones that are to be called register first), and its issues."""
    packets = recorded()[name].packets
    sessions = build_sessions(
        [Sighting(*packet[:5]) for packet in packets if packet.payload_type == SIP],
        logs=[line for packet in packets if (line := to_log(packet))],
        nodes=[checked(node) for node in NODES],
    )
    session = max(sessions, key=lambda session: session.started_us)
    return session, diagnose(session, load_catalogue())


def lanes(labels: list[str]) -> tuple[str, ...]:
    """The labels of a session's lanes, "phone" for whatever is no node of ours."""
    known = {node.name for node in NODES}
    return tuple(label if label in known else "phone" for label in labels)
