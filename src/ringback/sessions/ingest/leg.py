"""One open leg: what its messages, one after the other, make of its row in the event store.

The hop nearest the caller decides the outcome: it is the one of the first request that carries the fewest Via headers.
A 2xx to the INVITE counts on whatever hop it is seen. Everything here is cheap on purpose: retransmissions never come
this far, and a message is only read beyond its first line where it can say something new.
"""

from __future__ import annotations

import re

from ringback.events.store import LegRow, Role, Trouble
from ringback.sessions.ingest.details import DetailReader, Details, text_of, user_of
from ringback.sessions.numbers import digits
from ringback.sessions.outcomes import CHALLENGES, kind_of, outcome_of_final, outcome_without_final
from ringback.sessions.story import Hop, SightingTuple

GIVEN_UP_US = 32_000_000  # 64 T1: a request without any response is dead (RFC 3261 sections 17.1.1.2, 17.1.2.2)
RINGING_US = 200_000_000  # a call that was heard of but hears nothing new is dead: timer C is over 3 minutes (16.6)
LINGER_US = 5_000_000  # a finished leg waits for stragglers
ESTABLISHED_US = 6 * 3600 * 1_000_000  # a silent answered call is forgotten; its BYE begins a new row
_LATE_RINGING_US = 10_000_000  # longest post-dial delay that is not yet trouble
_MOST_READS = 4  # first requests read in detail per leg: one a hop is enough for the longest chains
_MOST_NAMES = 64  # addresses, agents, numbers and keys a row may hold; floods end here

_CSEQ_METHOD = re.compile(rb"\ncseq[ \t]*:\s*\d+\s+([A-Za-z]+)", re.IGNORECASE)
_REASON = re.compile(rb"\nreason[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_NORMAL_REASON = re.compile(
    r"Q\.850\s*;\s*cause\s*=\s*16\b|SIP\s*;\s*cause\s*=\s*200\b|text=\"?(?:normal|user|bye)", re.IGNORECASE
)
_TRUNCATED, _RETRANSMITTED = int(Trouble.TRUNCATED), int(Trouble.RETRANSMITTED)
_FAILED_BRANCH, _NO_FINAL = int(Trouble.FAILED_BRANCH), int(Trouble.NO_FINAL)
_CHALLENGED_TWICE, _LATE_RINGING = int(Trouble.CHALLENGED_TWICE), int(Trouble.LATE_RINGING)
_ABNORMAL_BYE, _OTHER = int(Trouble.ABNORMAL_BYE), int(Trouble.OTHER)
_REQUEST_URI = int(Role.REQUEST_URI)
_IN_DIALOG_METHODS = frozenset({"ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO"})


class OpenLeg:
    """A leg that may still change. `pending`: its messages of the current batch."""

    __slots__ = (
        "_answered_by", "_attempt", "_began", "_branch_failure", "_cancelled", "_cancels", "_challenge", "_credentials",
        "_early", "_heard", "_hop", "_methods", "_reads", "_removes", "_ringing", "_vias", "begun_us", "changed", "counted",
        "day_end", "day_start", "finished", "hops", "last_us", "other_day", "pending", "row", "seen",
    )  # fmt: skip

    def __init__(self, row: LegRow, day_start: int, day_end: int) -> None:
        self.row = row
        self.day_start = day_start
        self.day_end = day_end
        self.begun_us = row.started_us  # on whatever day: where the roll-ups count it
        self.other_day: OpenLeg | None = None  # the row of the day before, for messages of nodes whose clocks differ
        self.pending: list[SightingTuple] = []
        self.seen: set[int] = set()
        self.hops: set[int] = set()
        self.counted: str | None = ""  # the outcome the roll-ups hold; None: a later row of the leg counts it
        self.changed = False  # besides new messages
        self.finished = False
        self.last_us = 0  # on the table's clock
        self._began = False  # the request that began it was seen
        self._hop: Hop | None = None  # of that request, nearest the caller
        self._vias = 0
        self._attempt = -1  # CSeq of the latest request of that kind
        self._methods: dict[int, str] = {}  # CSeq -> method
        self._reads = 0
        self._answered_by = -1  # CSeq of the INVITE that was answered
        self._ringing = self._heard = self._credentials = self._removes = False
        self._cancels = self._cancelled = False  # anyone's CANCEL; the caller's
        self._challenge = 0
        self._branch_failure: tuple[int, str] | None = None  # on a hop further down
        self._early: tuple[bytes, int, int, Hop, bytes] | None = None  # a final response that overtook its request

    def next_day(self, row: LegRow, day_start: int, day_end: int) -> OpenLeg:
        """The same leg going on in another day's row, which inherits what is known of it."""
        old = self.row
        for name in ("kind", "method", "caller", "called", "outcome", "code", "phrase", "reason", "answered_us"):
            setattr(row, name, getattr(old, name))
        row.numbers, row.keys = dict(old.numbers), set(old.keys)
        leg = OpenLeg(row, day_start, day_end)
        for name in self.__slots__:
            if name not in ("row", "day_start", "day_end", "pending", "changed", "hops", "other_day"):
                setattr(leg, name, getattr(self, name))
        leg.other_day, self.other_day = self, None
        self.counted = None
        return leg

    def again(self, first_line: bytes) -> None:
        """The same first line and CSeq on the same hop. Responses 1xx may differ by fork, so they do not count."""
        if not first_line.startswith(b"SIP/2.0 1"):
            self.row.trouble |= _RETRANSMITTED

    def new_hop(self, hop: Hop) -> None:
        row = self.row
        for address in (hop.source, hop.destination):
            if address not in row.addresses and len(row.addresses) < _MOST_NAMES:
                row.addresses.append(address)
        if hop.agent and hop.agent not in row.agents and len(row.agents) < _MOST_NAMES:
            row.agents.append(hop.agent)

    def truncated(self) -> None:
        self.row.trouble |= _TRUNCATED

    def request(
        self,
        time_us: int,
        hop: Hop,
        payload: bytes,
        first_line: bytes,
        cseq: int,
        correlation: str,
        read: DetailReader,
    ) -> None:
        method = first_line[: first_line.find(b" ")]
        if method == b"ACK":
            if not self.row.method:
                self._first(time_us, hop, payload, first_line, cseq, correlation, read)
            return
        if method == b"CANCEL":
            self._cancel(hop, payload)
        elif method == b"BYE":
            self._bye(time_us, payload)
        elif method == b"REFER":
            self._read(payload, first_line, correlation, read)
        name = method.decode("latin-1")
        if method != b"CANCEL":
            self._methods.setdefault(cseq, name)
        row = self.row
        if self._hop is None or (not self._began and name not in _IN_DIALOG_METHODS and name != row.method):
            self._first(time_us, hop, payload, first_line, cseq, correlation, read)
        elif name == row.method and name not in _IN_DIALOG_METHODS:
            self._again(time_us, hop, payload, first_line, cseq, correlation, read)

    def response(
        self, time_us: int, hop: Hop, payload: bytes, first_line: bytes, cseq: int, read: DetailReader
    ) -> None:
        code = int(first_line[8:11])
        row = self.row
        if not row.method:
            self._response_first(payload, first_line, read)
        if code < 200:
            self._heard = self._heard or cseq == self._attempt
            if code in (180, 183) and not self._ringing:
                self._ringing = True
                if time_us - row.started_us > _LATE_RINGING_US and row.method == "INVITE":
                    row.trouble |= _LATE_RINGING
            return
        method = self._methods.get(cseq, "")
        if not method or self._cancels:
            found = _CSEQ_METHOD.search(payload)
            method = found[1].decode("latin-1") if found else method
        if method == row.method and method not in _IN_DIALOG_METHODS:
            if not self._began:
                self._early = (first_line, time_us, cseq, hop, payload)
                if kind_of(method) != "call":
                    self._decide(code, _phrase(first_line), payload, time_us)
            elif code < 300 or row.outcome == "answered" or self._nearest(hop):
                self._final(code, first_line, payload, time_us, cseq)
            elif code not in CHALLENGES:
                self._branch_failure = (code, _phrase(first_line))
        elif method == "BYE":
            self.finished = True
            if code >= 300 and code not in CHALLENGES:
                row.trouble |= _ABNORMAL_BYE

    def settle(self, idle_us: int) -> bool:
        """Whether the leg can be forgotten after `idle_us` without a message; decides what was waited for."""
        if self.finished:
            return idle_us > LINGER_US
        row = self.row
        if idle_us > GIVEN_UP_US and self.seen:
            self.seen, self.hops = (
                set(),
                set(),
            )  # nothing is sent again after so long; most open legs are calls being talked
        if row.outcome != "in_progress":
            return idle_us > (ESTABLISHED_US if row.outcome == "answered" else 2 * GIVEN_UP_US)
        if self._branch_failure and idle_us > LINGER_US:
            code, phrase = self._branch_failure  # the hop nearest the caller is not captured both ways
            self._decide(code, phrase, b"", row.ended_us)
        elif self._challenge and idle_us > LINGER_US:
            self._decide(self._challenge, row.phrase, b"", row.ended_us)
        elif idle_us > (RINGING_US if self._heard and row.kind == "call" and not self._cancelled else GIVEN_UP_US):
            row.trouble |= _NO_FINAL
            if self._cancelled:
                row.outcome = "cancelled"
            elif row.kind == "call" and self._ringing:
                row.outcome = "no_answer"
            else:
                row.outcome = outcome_without_final(kind_of(row.method), began=self._began)
        else:
            return False
        self.finished = self.changed = True
        return idle_us > LINGER_US

    def _first(
        self,
        time_us: int,
        hop: Hop,
        payload: bytes,
        first_line: bytes,
        cseq: int,
        correlation: str,
        read: DetailReader,
    ) -> None:
        """The first request: of the leg, or after responses that overtook it, or after the end of another dialog."""
        row = self.row
        details = self._read(payload, first_line, correlation, read)
        row.method = details.method
        row.kind = kind_of(details.method)
        row.caller = details.caller or row.caller
        row.called = details.called or row.called
        self._hop, self._vias, self._attempt = hop, _via_count(payload), cseq
        self._removes, self._credentials = details.removes, details.credentials
        self._methods.setdefault(cseq, details.method)
        self._began = not (row.kind == "call" and (details.in_dialog or details.method in _IN_DIALOG_METHODS))
        row.outcome = "in_progress" if self._began else "incomplete"
        if self._early and self._began:
            early_line, early_us, early_cseq, early_hop, early_payload = self._early
            self._early = None
            if early_cseq == cseq and (early_line.startswith(b"SIP/2.0 2") or self._nearest(early_hop)):
                self._final(int(early_line[8:11]), early_line, early_payload, early_us, cseq)

    def _again(
        self,
        time_us: int,
        hop: Hop,
        payload: bytes,
        first_line: bytes,
        cseq: int,
        correlation: str,
        read: DetailReader,
    ) -> None:
        """The request that began the leg once more: on the next hop, with credentials, to another server, refreshed."""
        row = self.row
        if cseq == self._attempt:
            vias = _via_count(payload)
            if vias < self._vias:
                self._hop, self._vias = hop, vias
            self._next_hop(payload, first_line, correlation, read)
            if self._branch_failure and row.outcome == "in_progress":
                row.trouble |= _FAILED_BRANCH
            return
        if cseq < self._attempt or (row.kind == "call" and row.outcome == "answered") or not self._began:
            return
        details = self._read(payload, first_line, correlation, read)
        self._attempt, self._hop, self._vias = cseq, hop, _via_count(payload)
        self._removes, self._credentials = details.removes, details.credentials
        self._branch_failure, self._heard, self.finished, self._challenge = None, False, False, 0
        if row.outcome in ("failed", "busy", "redirected", "rejected", "no_answer"):
            row.outcome = "in_progress"

    def _next_hop(self, payload: bytes, first_line: bytes, correlation: str, read: DetailReader) -> None:
        """A proxy passed it on: the number asked for may have changed, and identities may have been added."""
        if self._reads >= _MOST_READS:
            return
        if correlation or read.tells_more(payload):
            self._read(payload, first_line, correlation, read)
            return
        self._reads += 1
        word = digits(user_of(text_of(first_line).split(" ", 2)[1]))
        numbers = self.row.numbers
        if word and (word in numbers or len(numbers) < _MOST_NAMES):
            numbers[word] = numbers.get(word, 0) | _REQUEST_URI

    def _final(self, code: int, first_line: bytes, payload: bytes, time_us: int, cseq: int) -> None:
        row = self.row
        if row.outcome == "answered" and row.kind == "call":
            if cseq == self._answered_by:
                if code < 300 and time_us < row.answered_us:
                    row.answered_us = time_us
            elif code >= 300 and code not in CHALLENGES and code != 491:
                row.trouble |= _OTHER  # a refused re-INVITE: the call went on
            return
        if cseq != self._attempt:
            return
        if code in CHALLENGES:
            self._challenge = code
            row.code, row.phrase = code, _phrase(first_line)
            if not self._credentials:
                return
            row.trouble |= _CHALLENGED_TWICE
        self._decide(code, _phrase(first_line), payload, time_us)
        if row.outcome == "answered":
            self._answered_by = cseq

    def _decide(self, code: int, phrase: str, payload: bytes, time_us: int) -> None:
        row = self.row
        if code == 408 and self._cancelled:
            row.outcome = "cancelled"  # the branch that was given up timed out in the proxy
        else:
            row.outcome = outcome_of_final(
                kind_of(row.method), code, ringing=self._ringing, cancelled=self._cancelled, removes=self._removes
            )
        row.code, row.phrase = code, phrase
        if row.outcome == "answered":
            row.answered_us = time_us
        else:
            self.finished = True
            if code >= 300:
                row.reason = _reason(payload) or row.reason
        if self._branch_failure and self._branch_failure[0] != code:
            row.trouble |= _FAILED_BRANCH
        self._challenge = 0

    def _cancel(self, hop: Hop, payload: bytes) -> None:
        self._cancels = True
        nearest = self._hop
        if nearest is None or (hop.source == nearest.source and hop.source_port == nearest.source_port):
            self._cancelled = True
            self.row.reason = _reason(payload) or self.row.reason

    def _bye(self, time_us: int, payload: bytes) -> None:
        row = self.row
        if row.duration_ms or (self._answered_by < 0 and row.answered_us):
            return
        if row.answered_us:
            row.duration_ms = max(1, (time_us - row.answered_us) // 1000)
        reason = _reason(payload)
        if reason:
            row.reason = reason
            if not _NORMAL_REASON.search(reason):
                row.trouble |= _ABNORMAL_BYE

    def _response_first(self, payload: bytes, first_line: bytes, read: DetailReader) -> None:
        found = _CSEQ_METHOD.search(payload)
        row = self.row
        row.method = found[1].decode("latin-1") if found else ""
        row.kind = kind_of(row.method)
        row.outcome = "incomplete"
        details = read(payload, row.call_id, text_of(first_line))
        row.caller, row.called = details.caller, details.called
        self._add(details)

    def _nearest(self, hop: Hop) -> bool:
        """Whether a response on `hop` goes back to the caller."""
        nearest = self._hop
        return nearest is None or (hop.destination == nearest.source and hop.destination_port == nearest.source_port)

    def _read(self, payload: bytes, first_line: bytes, correlation: str, read: DetailReader) -> Details:
        self._reads += 1
        row = self.row
        details = read(payload, row.call_id, text_of(first_line), correlation)
        self._add(details)
        return details

    def _add(self, details: Details) -> None:
        row = self.row
        numbers = row.numbers
        for number, roles in details.numbers.items():
            if number in numbers:
                numbers[number] |= roles
            elif len(numbers) < _MOST_NAMES:
                numbers[number] = roles
        if details.keys and len(row.keys) < _MOST_NAMES:
            row.keys |= details.keys


def _via_count(payload: bytes) -> int:
    """Via values in the head, give or take what a quoted body holds; enough to tell a hop from the next."""
    end = payload.find(b"\r\n\r\n")
    lines = (
        payload.count(b"\nVia:", 0, end) or payload.count(b"\nv:", 0, end) or payload.lower().count(b"\nvia", 0, end)
    )
    return lines + payload.count(b", SIP/2.0/", 0, end)


def _phrase(first_line: bytes) -> str:
    return first_line[12:140].decode(errors="replace")


def _reason(payload: bytes) -> str:
    if b"eason" not in payload and b"EASON" not in payload:
        return ""
    found = _REASON.search(payload)
    return found[1].strip()[:200].decode(errors="replace") if found else ""
