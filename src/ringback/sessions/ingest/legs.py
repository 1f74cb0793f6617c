"""The leg table: every message finds its leg, new Call-IDs open one, finished and forgotten ones leave.

Memory is bounded by `most` open legs: past it the finished ones go first, then those unheard of the longest. A late
message of a leg that left opens another row of the same Call-ID, which readers merge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from ringback.events.store import LegRow
from ringback.sessions.capture.sip import scan, why_not_sip
from ringback.sessions.ingest.details import DetailReader, text_of
from ringback.sessions.ingest.leg import LINGER_US, OpenLeg
from ringback.sessions.ownership.rules import ONE_TENANT, TrafficRules
from ringback.sessions.story import CUT_BY_CAPTURE, SightingTuple

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
LONGEST_CALL_ID = 512  # bytes; beyond it nothing is a Call-ID but an attempt at our memory
_SWEEP_US = 5_000_000
_KEEP = 0.75  # of `most`, when legs must leave before their time


@dataclass(slots=True)
class Taken:
    """What came together since the last time.

    `legs`: whose messages (`OpenLeg.pending`) are to be stored; `settled`: rows that changed without a message;
    `counts`: (environment, minute, outcome) -> delta of sessions begun.
    """

    legs: list[OpenLeg] = field(default_factory=list)
    settled: list[OpenLeg] = field(default_factory=list)
    counts: Counter[tuple[str, int, str]] = field(default_factory=Counter)


class LegTable:
    """Not thread-safe. `clock_us` is the time of receipt where packets come live, that of the messages for a file.

    `owners` gives a leg to an environment when it is opened; it stays there, whatever the rules become meanwhile.
    """

    def __init__(
        self,
        *,
        owners: TrafficRules = ONE_TENANT,
        most: int = 100_000,
        details: DetailReader | None = None,
        refused: Counter[str] | None = None,
    ) -> None:
        self.owners = owners
        self.refused = Counter() if refused is None else refused  # reason -> messages that are no SIP we can store
        self.opened = 0
        self._most = most
        self._details = details or DetailReader()
        self._legs: dict[bytes, OpenLeg] = {}
        self._touched: list[OpenLeg] = []
        self._swept_us = 0

    def __len__(self) -> int:
        return len(self._legs)

    def add(self, messages: Iterable[SightingTuple]) -> None:
        """Plain tuples of a Sighting's shape will do. What is no SIP is counted in `refused`."""
        legs, touched, read = self._legs, self._touched, self._details
        for message in messages:
            time_us, hop, payload, marks, correlation = message
            scanned = scan(payload)
            if scanned is None:
                self.refused[why_not_sip(payload)] += 1
                continue
            call_id, first_line, cseq = scanned
            leg = legs.get(call_id)
            if leg is None or not leg.day_start <= time_us < leg.day_end:
                if not 0 < len(call_id) <= LONGEST_CALL_ID:
                    self.refused["no Call-ID" if not call_id else "Call-ID too long"] += 1
                    continue
                leg = self._other_day(leg, call_id, message) if leg else self._open(call_id, message)
            if not leg.pending:
                touched.append(leg)
            leg.pending.append(message)
            place = id(hop)
            sighting = hash((first_line, cseq, place))
            if sighting in leg.seen:
                leg.again(first_line)
                continue
            leg.seen.add(sighting)
            if place not in leg.hops:
                leg.hops.add(place)
                leg.new_hop(hop)
            if marks & CUT_BY_CAPTURE:
                leg.truncated()
            if first_line.startswith(b"SIP/2.0 "):
                leg.response(time_us, hop, payload, first_line, cseq, read)
            else:
                leg.request(time_us, hop, payload, first_line, cseq, correlation, read)

    def take(self, clock_us: int) -> Taken:
        """All that came since the last time. The caller stores it and then clears each leg's `pending`."""
        taken = Taken(legs=self._touched)
        self._touched = []
        for leg in taken.legs:
            row, pending = leg.row, leg.pending
            leg.last_us = clock_us
            row.messages += len(pending)
            last_us = pending[-1][0]  # their order may be off by some microseconds: so may this be
            if last_us > row.ended_us:
                row.ended_us = last_us
        if clock_us - self._swept_us >= _SWEEP_US or len(self._legs) > self._most:
            self._swept_us = clock_us
            taken.settled = self._sweep(clock_us)
        self._count(taken)
        return taken

    def finish(self, clock_us: int) -> Taken:
        """What is left when a file has ended at `clock_us`: legs silent for long before it are settled."""
        taken = Taken()
        for leg in self._legs.values():
            leg.settle(clock_us - leg.row.ended_us)
            if leg.changed:
                taken.settled.append(leg)
        self._legs.clear()
        self._count(taken)
        return taken

    def environment_of(self, call_id: str) -> str | None:
        """Of the leg of that Call-ID, while it is open."""
        leg = self._legs.get(call_id.encode(errors="surrogatepass")) if call_id else None
        return leg.row.environment if leg else None

    def open_rows(self) -> Iterator[LegRow]:
        for leg in self._legs.values():
            yield leg.row
            if leg.other_day:
                yield leg.other_day.row

    def _open(self, call_id: bytes, message: SightingTuple) -> OpenLeg:
        self.opened += 1
        row = _row(self.owners.of_message(message[1], message[2]), call_id, message)
        day = row.started_us - row.started_us % DAY_US
        leg = self._legs[call_id] = OpenLeg(row, day, day + DAY_US)
        return leg

    def _other_day(self, leg: OpenLeg, call_id: bytes, message: SightingTuple) -> OpenLeg:
        """Midnight passed, or two nodes do not agree on the day."""
        other = leg.other_day
        if other and other.day_start <= message[0] < other.day_end:
            return other
        row = _row(leg.row.environment, call_id, message)
        day = row.started_us - row.started_us % DAY_US
        leg = self._legs[call_id] = leg.next_day(row, day, day + DAY_US)
        return leg

    def _sweep(self, clock_us: int) -> list[OpenLeg]:
        """Legs that can be forgotten leave; returns those whose row changed by that."""
        settled = []
        gone = []
        recent = clock_us - LINGER_US
        for call_id, leg in self._legs.items():
            if leg.last_us >= recent:
                continue
            if leg.settle(clock_us - leg.last_us):
                gone.append(call_id)
            if leg.changed:
                settled.append(leg)
                leg.changed = False
        for call_id in gone:
            del self._legs[call_id]
        if len(self._legs) > self._most:
            by_age = sorted(self._legs.items(), key=lambda each: (not each[1].finished, each[1].last_us))
            for call_id, _ in by_age[: len(by_age) - int(self._most * _KEEP)]:
                del self._legs[call_id]
        return settled

    def _count(self, taken: Taken) -> None:
        counts = taken.counts
        for leg in chain(taken.legs, taken.settled):
            outcome = leg.row.outcome
            if outcome != leg.counted and leg.counted is not None:
                environment, minute = leg.row.environment, leg.begun_us - leg.begun_us % MINUTE_US
                if leg.counted:
                    counts[environment, minute, leg.counted] -= 1
                counts[environment, minute, outcome] += 1
                leg.counted = outcome


def _row(environment: str, call_id: bytes, message: SightingTuple) -> LegRow:
    time_us, hop = message[0], message[1]
    return LegRow(
        environment=environment,
        call_id=text_of(call_id),
        kind="other",
        method="",
        started_us=time_us,
        ended_us=time_us,
        outcome="incomplete",
        source=_socket(hop.source, hop.source_port),
        destination=_socket(hop.destination, hop.destination_port),
    )


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
