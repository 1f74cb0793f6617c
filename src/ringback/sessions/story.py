"""The vocabulary of a session: what capture yields, correlation builds, diagnosis reads and diagrams draw.

Message: one SIP message as one probe saw it (a *sighting*). Arrow: one message on one hop, seen by one probe or
more. Leg: all that has one Call-ID. Session: the legs that a person would call one call (or registration, ...).
Everything here is plain data; nothing here reads a store, a clock or a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ringback.sessions.capture.sip import SipMessage

Kind = Literal["call", "registration", "message", "options", "subscription", "other"]
Outcome = Literal[
    "answered",
    "failed",
    "busy",
    "no_answer",
    "cancelled",
    "redirected",
    "registered",
    "unregistered",
    "rejected",
    "in_progress",
    "incomplete",
    "succeeded",
]


@dataclass(frozen=True, slots=True)
class Hop:
    """One direction between two sockets as one capture agent reports it. Decoders intern these: same values, same object."""

    transport: str  # udp tcp tls ws wss sctp
    source: str  # address as text, IPv6 without brackets
    source_port: int
    destination: str
    destination_port: int
    agent: str = ""  # capture agent: HEP chunk 0x000c as decimal text, or the file's interface; "" when unknown


# Sighting.marks: the low 16 bits hold the IP identification field where IP_ID_KNOWN is set.
IP_ID_MASK = 0xFFFF
IP_ID_KNOWN = 1 << 16
TIME_OF_RECEIPT = 1 << 17  # the sender gave no time
CUT_BY_CAPTURE = 1 << 18  # snap length, or a lost fragment or segment: bytes are missing
REASSEMBLED = 1 << 19  # from IP fragments or several TCP segments


class Sighting(NamedTuple):
    """One SIP message as one probe saw it. Hot paths may pass a plain tuple of this shape."""

    time_us: int
    hop: Hop
    payload: bytes
    marks: int = 0
    correlation: str = ""  # HEP chunk 0x0011


SightingTuple = tuple[int, Hop, bytes, int, str]  # of the shape of a Sighting: what hot paths pass


@dataclass(slots=True)
class LogLine:
    """A line of a log that belongs to a session: node log, billing log, or a quality report."""

    time_us: int
    kind: str  # "node" (HEP 100, shipped logs), "billing", "media" (RTCP and quality reports), "dns", ...
    node: str  # node name or address of the writer
    level: str  # debug info notice warning error critical, or ""
    text: str
    call_id: str = ""
    fields: dict[str, str] = field(default_factory=dict)  # conf_id, account, and whatever else came


@dataclass(slots=True)
class StreamReport:
    """One RTP stream of a capture, or of a quality report, reduced to figures. None: not measured."""

    source: str  # address:port
    destination: str
    ssrc: int | None
    started_us: int
    ended_us: int
    packets: int
    codec: str = ""  # "PCMU", "G729", ... from the SDP or the static payload type
    payload_type: int | None = None
    lost: int | None = None
    loss_percent: float | None = None
    jitter_ms: float | None = None  # RFC 3550 section 6.4.1, mean over the stream
    max_jitter_ms: float | None = None
    mos: float | None = None  # ITU-T G.107 estimate, 1.0-4.5
    from_report: bool = False  # told by RTCP or a HEP report, not counted from packets
    leg: str = ""  # Call-ID whose SDP named one of the two sockets


@dataclass(slots=True)
class Arrow:
    """One message on one hop."""

    number: int  # position in the session's story; what evidence refers to as #number
    time_us: int  # corrected for the skew of its node; order of the story never contradicts SIP causality
    observed_us: int  # as the first sighting stamped it
    hop: Hop
    sip: SipMessage
    payload: bytes
    leg: str  # Call-ID
    sightings: list[Sighting]  # at least one; the first is the one shown
    source: str = ""  # Participant.id
    destination: str = ""  # Participant.id
    retransmission_of: int | None = None  # number of the first arrow with the same bytes on the same hop
    transaction: int | None = None  # index into Session.transactions
    marks: int = 0  # of the sightings, or-ed

    @property
    def is_retransmission(self) -> bool:
        return self.retransmission_of is not None


@dataclass(slots=True)
class Transaction:
    """One request and its responses on one hop (RFC 3261 section 17): top Via branch, CSeq, and the two sockets.

    ACK to a non-2xx stands in `acks` of the INVITE it ends; ACK to a 2xx (own branch) in `acks` of that INVITE too.
    CANCEL is a transaction of its own; `cancelled_by` points at it.
    """

    index: int
    leg: str
    method: str
    cseq: int
    branch: str
    source: str  # Participant.id of the client
    destination: str  # Participant.id of the server
    request: Arrow | None  # None: the capture holds responses only
    requests: list[Arrow] = field(default_factory=list)  # the request and its retransmissions
    provisional: list[Arrow] = field(default_factory=list)
    final: Arrow | None = None  # first final response
    finals: list[Arrow] = field(default_factory=list)  # with retransmissions, and forked 2xx
    acks: list[Arrow] = field(default_factory=list)
    cancelled_by: int | None = None
    parent: int | None = None  # the transaction on the nearest captured hop before, which a proxy forwarded
    in_dialog: bool = False  # the request carried a To tag

    @property
    def code(self) -> int | None:
        return self.final.sip.status if self.final else None


@dataclass(slots=True)
class Leg:
    """All arrows of one Call-ID and what they say in short."""

    call_id: str
    kind: Kind
    caller: str  # user part of From (or of P-Asserted-Identity where From is anonymous)
    called: str  # user part of the first Request-URI, else of To
    started_us: int
    ended_us: int
    outcome: Outcome
    final_code: int | None
    final_phrase: str
    answered_us: int | None = None
    ringing_us: int | None = None  # first 180/183
    arrows: list[int] = field(default_factory=list)  # numbers
    duration_s: float | None = None  # answer to BYE


@dataclass(frozen=True, slots=True)
class Link:
    """Why two legs stand in one session. confidence 1.0: an exact key; less: evidence, told in `because`."""

    from_call_id: str
    to_call_id: str
    because: str
    confidence: float


@dataclass(slots=True)
class Participant:
    """A lane of the diagram: a registered node (all its addresses), or one address we know nothing of."""

    id: str
    label: str  # node name, or address:port
    kind: str  # phone edge core billing media gateway far-end unknown
    addresses: list[str]  # address:port
    cluster: bool = False  # belongs to the provider's switch
    colour: str = ""
    user_agent: str = ""  # User-Agent or Server header it sent
    skew_us: int = 0  # correction added to this node's stamps
    agents: list[str] = field(default_factory=list)  # capture agents that report from here


@dataclass(slots=True)
class Entry:
    """One row of the merged timeline."""

    number: int  # same numbering as Arrow.number: an arrow's entry has the arrow's number
    time_us: int
    kind: str  # sip billing log media
    node: str
    text: str
    arrow: Arrow | None = None
    log: LogLine | None = None
    source: str = ""  # of a billing line: Participant.id of who says it, the node or the billing engine
    destination: str = ""  # and to whom: "" for a step that the engine takes by itself, and where nobody knows


@dataclass(slots=True)
class Session:
    """One story, complete: what `explain` prints and the session page shows."""

    kind: Kind
    caller: str
    called: str
    started_us: int
    ended_us: int
    outcome: Outcome
    final_code: int | None
    final_phrase: str
    legs: list[Leg]
    links: list[Link]
    arrows: list[Arrow]  # in story order
    transactions: list[Transaction]
    participants: list[Participant]  # in path order: caller's side first
    entries: list[Entry]  # arrows and log lines in one order
    media: list[StreamReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # e.g. "only the first 20 linked legs are shown"
    environment: str = "default"
    media_hosts: frozenset[str] = frozenset()  # addresses whose RTP the capture holds, in whatever session
    watched_until_us: int | None = None  # messages up to then would have been seen: the capture's end, or now

    @property
    def call_ids(self) -> list[str]:
        return [leg.call_id for leg in self.legs]

    @property
    def message_count(self) -> int:
        return sum(len(arrow.sightings) for arrow in self.arrows)

    @property
    def retransmission_count(self) -> int:
        return sum(arrow.is_retransmission for arrow in self.arrows)

    def arrow(self, number: int) -> Arrow:
        """Raises KeyError when no arrow has that number."""
        for arrow in self.arrows:
            if arrow.number == number:
                return arrow
        raise KeyError(number)

    def participant(self, participant_id: str) -> Participant:
        """Raises KeyError when unknown."""
        for participant in self.participants:
            if participant.id == participant_id:
                return participant
        raise KeyError(participant_id)


@dataclass(frozen=True, slots=True)
class Evidence:
    message: int  # Entry.number
    why: str


@dataclass(frozen=True, slots=True)
class Step:
    role: str  # support noc billing customer
    text: str


@dataclass(frozen=True, slots=True)
class Mend:
    """An entity of the books that would have to change: what the page of an issue links to."""

    type: str  # "rate", "account", ... as the billing log names it
    id: int


@dataclass(frozen=True, slots=True)
class Issue:
    """One named issue of one session, its texts filled from the session's facts."""

    id: str
    severity: Literal["critical", "warning", "notice"]
    title: str
    description: str
    confidence: float  # 0-1
    evidence: tuple[Evidence, ...]
    causes: tuple[str, ...]
    steps: tuple[Step, ...]
    links: tuple[tuple[str, str], ...] = ()  # (text, URL or URL name)
    mend: tuple[Mend, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What the node register knows, as correlation needs it (the register itself is in nodes)."""

    name: str
    kind: str
    cluster: bool
    colour: str = ""
    agents: frozenset[str] = frozenset()  # capture ids
    addresses: frozenset[str] = frozenset()  # address, or address:port
