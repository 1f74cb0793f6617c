"""Calls that name people in every place a call can: recorded ones, and one made for it."""

from __future__ import annotations

from ringback.demo import recording
from ringback.demo.copies import again, originals
from ringback.demo.nodes import NODES
from ringback.events.store import EventStore, LogRecord
from ringback.sessions.capture.hep import SIP, decode
from ringback.sessions.capture.hep_logs import to_log
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.media_records import encode_media
from ringback.sessions.ingest.packing import batches, stored
from ringback.sessions.nodes.schemas import checked
from ringback.sessions.story import LogLine, Sighting, StreamReport
from scenario import play

NODE_INFOS = [checked(form) for form in NODES]
# What is nobody's name, number or address in TALKATIVE, and stands there.
SHOWN = ("acme.example", "203.0.113.10", "Yealink-SIP-T46S-66.86.0.15", "Destination forbidden", "z9hG4bK")
SECRETS = (
    "12103355787", "3355787", "Konstantina", "Featherstone", "konstantina.f", "18660333777", "198.51.100.23",
    "203.0.113.77", "10.20.30.40", "442079460958", "493055501234", "kf-private@mail.example", "00156566aabb",
    "Zimmermann", "zimmermann-laptop", "hunter2", "4711", "33612345678", "Wolfsbane", "PASSPORT-BYTES",
)  # fmt: skip
TALKATIVE = """
    alice = 198.51.100.23:5060  ua=Yealink-SIP-T46S-66.86.0.15
    edge  = 203.0.113.10:5060   agent=101
    bob   = 203.0.113.77:5060    ua=Snom-D785
    0.000  alice -> edge  INVITE sip:18660333777@acme.example;user=phone  from=12103355787 sdp=PCMU,PCMA callid=7d0f@198.51.100.23
        From: "Konstantina Featherstone" <sip:+1-210-335-5787@acme.example>;tag=from-12103355787
        t: Dr. Zimmermann <sip:18660333777@acme.example>
        Contact: <sip:12103355787@10.20.30.40:5060;alias=10.20.30.40~5060~1>;+sip.instance="<urn:uuid:0000-00156566aabb>"
        P-Asserted-Identity: "Konstantina Featherstone" <tel:+1(210)335-5787;phone-context=acme.example>
        Remote-Party-ID: <sip:%31%32103355787@acme.example>;party=calling;screen=yes
        Diversion: "Zimmermann" <sip:442079460958@acme.example>;reason=unconditional
        History-Info: <sip:493055501234@acme.example?Reason=SIP%3Bcause%3D302>;index=1
        Authorization: Digest username="konstantina.f", realm="acme.example", nonce="n1", uri="sip:18660333777@acme.example", response="ff"
        Subject: Konstantina asks for Wolfsbane
        X-Customer: Wolfsbane & Sons, 4711
        X-Jitsi: {"email": "kf-private@mail.example"}
        Identity: PASSPORT-BYTES.eyJkZXN0IjoiMTIxMDMzNTU3ODcifQ.sig
        Via: SIP/2.0/UDP zimmermann-laptop.local:5060;branch=z9hG4bK-1;received=198.51.100.23
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.77
    +.080  bob -> edge    403 Destination forbidden
        Reason: Q.850;cause=21;text="konstantina.f may not call +1 866 0333777"
        Warning: 399 198.51.100.23 "12103355787 is barred, ask Konstantina"
    +.001  edge -> bob    ACK
    +.001  edge -> alice  403 Destination forbidden
        P-Asserted-Identity: <sip:33612345678@acme.example>
    +.002  alice -> edge  ACK
    0.003  edge ! warning user=konstantina.f pw hunter2? from 12103355787 at 198.51.100.23:5060: call +1 (866) 0333-777 forbidden for Konstantina
    0.004  edge ! info customer_name="Ada Wolfsbane" phone=33612345678 <sip:4711@acme.example>
"""  # noqa: E501
# A call that billing refused: its log names people in sentences, in fields, and as nobody but a customer knows them.
BILLED_SECRETS = ("12105557788", "5557788", "Balthazar", "Quint", "Ottoline", "Vandermeer", "13125550777")
BILLED = """
    zoe   = 198.51.100.77:5060  ua=Yealink-SIP-T46S-66.86.0.15
    edge1 = 203.0.113.10:5060   agent=101
    0.000  zoe -> edge1  INVITE sip:13125550777@acme.example  from=12105557788 sdp=PCMU callid=b111ed@198.51.100.77
    +.002  edge1 -> zoe  100
    +.001  edge1 -> zoe  183
    +.001  edge1 $ request engine=ringback account=12105557788 caller=12105557788 called=13125550777: edge1 asks for an outgoing voice call from 12105557788 to 13125550777.
    +.001  edge1 $ account engine=ringback i_account={account} i_customer=9: Found the account 12105557788 by its id; its customer is Balthazar Quint & Sons, its product Home Phone.
    +.001  edge1 $ status engine=ringback customer=Ottoline: Customer "Ottoline Vandermeer" (+1 210 555 7788) is active
    +.001  edge1 $ decision engine=ringback result=refused reason=destination-forbidden link_type=rate link_id=101 destination=Illinois prefix=1312: The call is refused: calls to 1312 (Illinois) are forbidden.
    +.010  edge1 -> zoe  403 Destination forbidden
    +.010  zoe -> edge1  ACK
"""  # noqa: E501
SECRET_FREE = {"hunter2"}  # no place says that it is one


def fill(events: EventStore, now_us: int, account: int = 7) -> dict[str, str]:
    """Every scenario of the demo, the talkative and the billed call, within the hour before `now_us`: name -> Call-ID.

    `account`: the id of whom the billed call is charged to.
    """
    calls: dict[str, str] = {}
    for position, (name, original) in enumerate(originals(*recording.load()).items()):
        packets = [decode(one.packet, 0) for one in again(original, now_us - (90 + position * 30) * 1_000_000)]
        sightings = [Sighting(*packet[:5]) for packet in packets if packet.payload_type == SIP]
        calls[name] = original.played.call_ids[-1]
        _store(events, sightings, [line for packet in packets if (line := to_log(packet))], [])
    played = play(TALKATIVE, start_us=now_us - 60_000_000)
    media = [
        StreamReport("198.51.100.23:4000", "203.0.113.10:4002", 1, now_us - 59_000_000, now_us - 58_000_000, 50, "PCMU",
                     leg="7d0f@198.51.100.23")
    ]  # fmt: skip
    calls["talkative"] = "7d0f@198.51.100.23"
    for line in played.logs:
        line.call_id = calls["talkative"]
        line.fields = {"account": "12103355787", "customer": "Ada Wolfsbane", "task": "rating"}
    _store(events, played.sightings, played.logs, media)
    billed = play(BILLED.format(account=account), start_us=now_us - 50_000_000)
    calls["billed"] = "b111ed@198.51.100.77"
    _store(events, billed.sightings, billed.logs, [])
    return calls


def _store(events: EventStore, sightings: list[Sighting], logs: list[LogLine], media: list[StreamReport]) -> None:
    table = LegTable()
    table.add(sightings)
    last = max(sighting.time_us for sighting in sightings)
    taken = table.take(last)
    for batch in batches(taken).values():
        events.write(batch)
    stored(taken)
    for batch in batches(table.finish(last + 3_600_000_000)).values():
        events.write(batch)
    lines = [
        LogRecord(
            "default", line.time_us, line.kind, line.node, line.level, line.text, call_id=line.call_id,
            account=line.fields.pop("account", ""), fields=line.fields,
        )
        for line in logs
    ]  # fmt: skip
    events.write_logs([*lines, *map(encode_media, media)])
