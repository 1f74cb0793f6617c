"""The calls that the pages under test show, as ladders; and how they get into a store: by the real ingest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ringback.events import EventStore, LogRecord
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.media_records import encode_media
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.search import session_id
from scenario import Played, play

MINUTE_US = 60_000_000
LANES = """
    alice = 198.51.100.23:5060  ua=Yealink-SIP-T46S-66.86.0.15
    edge  = 192.0.2.10:5060     agent=101
    core  = 192.0.2.20:5060     agent=102
    bob   = 203.0.113.9:5060    ua=Snom-D785
"""
REFUSED = f"""{LANES}
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU,PCMA callid=7d0f3c1e-refused@acme
    +.002  edge -> alice  100
    +.001  edge -> core   INVITE sip:18660333777@192.0.2.20
    +.018  core -> edge   403 Destination forbidden
    +.001  edge -> core   ACK
    +.019  edge -> alice  403 Destination forbidden
    +.022  alice -> edge  ACK
    0.003  core ! warning Rate 1866 of tariff Retail US is forbidden
"""
ANSWERED = f"""{LANES}
    0.000  alice -> edge  INVITE sip:442079460101@acme.example  from=12103355787 sdp=PCMU,PCMA callid=55aa01-answered@acme
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:442079460101@203.0.113.9
    0.300  bob -> edge    180
    +.001  edge -> alice  180
    2.500  bob -> edge    200 sdp=PCMA
    +.001  edge -> alice  200
    +.020  alice -> edge  ACK
    +.001  edge -> bob    ACK
    2.6    alice => bob   PCMA 12.5s lost=3 mos=4.2
    2.6    bob => alice   PCMA 12.5s lost=3 mos=4.2
    15.0   alice -> edge  BYE
    +.001  edge -> bob    BYE
    +.010  bob -> edge    200
    +.001  edge -> alice  200
"""
_INFOS = "".join(
    f"    {20 + at * 2}.0 alice -> edge INFO as=caller\n    +.001 edge -> bob INFO\n"
    f"    +.01 bob -> edge {'500 Server Internal Error' if at == 40 else '200'}\n"
    f"    +.001 edge -> alice {'500 Server Internal Error' if at == 40 else '200'}\n"
    for at in range(73)
)
LONG = (
    ANSWERED.partition("    15.0")[0].replace("answered@acme", "long@acme").replace("442079460101", "4930555123")
    + _INFOS
)
LONG_NAME = "a.person.with.a.very.long.user.name-that-nobody-types.but-some-directory-made"
NAMED = REFUSED.replace("from=12103355787", f"from={LONG_NAME}").replace("refused@acme", f"{'x' * 80}@acme")


def _chain(nodes: int) -> str:
    """A call that the last of many proxies cannot deliver."""
    names = ["alice", *(f"n{at}" for at in range(nodes)), "bob"]
    lanes = [f"n{at} = 192.0.2.{100 + at}:5060 agent={200 + at}" for at in range(nodes)]
    steps = [f"+.002 {one} -> {other} INVITE sip:4930555999@acme.example" for one, other in pairwise(names)]
    steps[0] += " from=12103355787 sdp callid=9c4a1n-chain@acme"
    for one, other in pairwise(reversed(names)):
        steps += [f"+.001 {one} -> {other} 503 Service Unavailable", f"+.001 {other} -> {one} ACK"]
    ends = ["alice = 198.51.100.23:5060 ua=Yealink", "bob = 203.0.113.9:5060 ua=Snom"]
    return "\n".join([*ends, *lanes, "", *steps])


CHAIN = _chain(10)

CALLS = {
    "refused": (REFUSED, 5),
    "answered": (ANSWERED, 12),
    "long": (LONG, 20),
    "named": (NAMED, 30),
    "chain": (CHAIN, 40),
}  # minutes ago


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call that is in the store."""

    id: str
    call_id: str
    started_us: int


def record(events: EventStore, now_us: int) -> dict[str, Recorded]:
    """Every call of CALLS, by its name."""
    recorded = {}
    for name, (ladder, minutes) in CALLS.items():
        played = play(ladder, start_us=now_us - minutes * MINUTE_US)
        recorded[name] = _stored(events, played)
    return recorded


def _stored(events: EventStore, played: Played) -> Recorded:
    table = LegTable()
    table.add(played.sightings)
    last = max(sighting.time_us for sighting in played.sightings)
    taken = table.take(last)
    for batch in batches(taken).values():
        events.write(batch)
    stored(taken)
    rows = [leg.row for leg in taken.legs]
    for batch in batches(table.finish(last + 60 * MINUTE_US)).values():
        events.write(batch)
    lines = [
        LogRecord("default", line.time_us, line.kind, line.node, line.level, line.text, call_id=rows[0].call_id)
        for line in played.logs
    ]
    events.write_logs([*lines, *map(encode_media, played.media)])
    return Recorded(session_id(rows[0]), rows[0].call_id, rows[0].started_us)
