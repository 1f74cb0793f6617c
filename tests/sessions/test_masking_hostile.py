"""However an identity is spelled and wherever it stands in a message, good or bad, no masked answer holds it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from leaks import told

from ringback.sessions.capture.sip import NotSip, parse
from ringback.sessions.correlate import build_session
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.export import FORMATS, exported
from ringback.sessions.masking import masked_session
from ringback.sessions.masking.message import masked_message
from ringback.sessions.masking.veil import Veil
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.story import Hop, LogLine, NodeInfo, Sighting
from scenario import START_US

EDGE = NodeInfo("edge", "edge", True, addresses=frozenset({"192.0.2.10"}))
BUSY = b"SIP/2.0 486 Busy\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n"
CATALOGUE = load_catalogue()

digits = st.text("0123456789", min_size=7, max_size=15).filter(lambda text: len(set(text)) > 3)
words = st.text(st.characters(categories=["Lu", "Ll", "Lo"], exclude_characters="x"), min_size=4, max_size=12)
names = st.lists(words.map("Qz{}".format), min_size=1, max_size=3).map(" ".join)  # no word of SIP or of ours
users = st.from_regex(r"qz[a-w]{3,8}[._-][a-w0-9]{4,9}", fullmatch=True)
hosts = st.tuples(st.integers(11, 126), st.integers(100, 255), st.integers(100, 255), st.integers(100, 255)).map(
    lambda parts: ".".join(map(str, parts))
)


def spread(number: str, by: str) -> str:
    """+1-210-335-5787 and the like."""
    return by.join((number[:1], number[1:4], number[4:]))


def escaped(text: str, every: int) -> str:
    """Some characters as %41."""
    return "".join(f"%{ord(one):02X}" if at % every == 0 and ord(one) < 128 else one for at, one in enumerate(text))


WAYS = ("{}", "+{}", "00{}", "-", ".", " ", "%2B{}", "escaped", "*31#{}", "{}#")
spelled_numbers = st.tuples(digits, st.sampled_from(WAYS)).map(
    lambda pair: (
        pair[0],
        pair[1].format(pair[0])
        if "{}" in pair[1]
        else escaped(pair[0], 3) if pair[1] == "escaped" else "+" + spread(pair[0], pair[1]),
    )
)  # fmt: skip

PLACES = (
    'From: "{name}" <sip:{user}@acme.example>;tag=1',
    "f:{name}<sip:{number}@acme.example;user=phone>;tag=2",
    "From:\r\n \"{name}\"\r\n\t<sip:{number}@{host}:5060>;tag=3",
    "From: sip:{number}@acme.example;tag=4",
    'From: "{name} <sip:{user}@acme.example>',
    "From: {name} <sip:{user}@acme.example",
    "From: <sip:{user}:pass{number}@acme.example>",
    "From: <sip:{number};phone-context=+{number};npdi@acme.example?Subject={user}>",
    "t: '{name}' <tel:{number};phone-context=acme.example>",
    "m: <sips:{user}@{host}:5061;alias={host}~5060~2;x-{user}={number}>;+sip.instance=\"{user}\"",
    "Contact: *, {name} <sip:{host}>, <sip:{number}>;q={user}",
    'P-Asserted-Identity: "{name}" <sip:{number}@acme.example>, <tel:{number}>',
    "Remote-Party-ID: {name} <sip:{user}@{host}>;party=calling;id-type={user}",
    'Diversion: <sip:{number}@acme.example>;reason=unconditional;x="{name}"',
    "History-Info: <sip:{user}@acme.example?Reason=SIP%3Bcause%3D302&X={number}>;index=1;mp={user}",
    'Authorization: Digest username="{user}", uri="sip:{number}@acme.example", response="{number}", realm="{host}"',
    "Proxy-Authorization: Digest username={user},username*=UTF-8''{user}, cnonce=\"{number}\"",
    "Authorization: Basic {user}{number}",
    "Call-ID: {number}-{user}@{host}",
    "Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{number};received={host};x={user}",
    "Via: {host} {user}",
    "v: SIP/2.0/TCP {user}.local;branch=z9hG4bK{user}",
    "Route: <sip:{user}@192.0.2.10;lr;vsf={number}>",
    "Record-Route: <sip:192.0.2.10;lr;ftag={number};did={user}>",
    "Referred-By: sip:{user}@acme.example",
    "Refer-To: <sip:{number}@acme.example?Replaces={number}%40{host}%3Bto-tag%3D1>",
    'Reason: Q.850;cause=21;text="{name} at {host} ({number}) is barred"',
    'Warning: 399 {host} "call {user} or {number}"',
    "X-Customer: {name} / {number} / {user}",
    "X-{number}: yes",
    "Identity: {user}.{number};info=<https://{host}/{user}>",
    "Call-Info: <http://{host}/{user}?n={number}>;purpose=icon",
    "P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp={number}",
    "Subject: {name}",
    "s: {name}",
    "Organization: {name}",
    "User-Agent: {user} 1.2.3.4",
    "Expires: {number}",
    "CSeq: {number} INVITE",
    "Content-Type: application/{user};x={number}",
    "Event: {user}",
    "{name} {number}",
    " folded {name} {user} {number} {host}",
    ": {number}",
    "In-Reply-To: {number}@{host}",
    "Geolocation: <cid:{user}@{host}>",
)  # fmt: skip
BODIES = (
    ("application/sdp", ("v=0\r\no={user} 1 1 IN IP4 {host}\r\ns={name}\r\ni={name}\r\ne={user}@acme.example ({name})\r\n"
     "p=+{number}\r\nc=IN IP4 {host}/127\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001 IN IP4 {host}\r\n"
     "a=candidate:1 1 UDP 1 {host} 4000 typ host\r\na=ssrc:1 cname:{user}@{host}\r\na={user}:{number}\r\n{name}\r\n")),
    ("", "v=0\r\no={number} 1 1 IN IP4 {host}\r\nc=IN IP4 {host}\r\n"),
    ("text/plain", "Hello {name}, call {number} or {user}@{host}"),
    ("message/sipfrag", 'SIP/2.0 200 OK\r\nFrom: "{name}" <sip:{number}@acme.example>\r\n'),
    ("message/sipfrag", "From: <sip:{user}@{host}>\r\n"),
    ("application/simple-message-summary", ("Messages-Waiting: yes\r\n"
     "Message-Account: sip:{user}@{host}\r\nVoice-Message: 2/0\r\nX: {name}\r\n")),
    ("application/dtmf-relay", "Signal={number}\r\nDuration=160\r\n"),
    ("application/pidf+xml", ('<?xml version="1.0"?>'
     "<presence entity=\"sip:{user}@{host}\"><note>{name}</note><{user} a='{number}'/></presence>")),
    ("application/json", '{{"name": "{name}", "n": {number}}}'),
    ("application/isup", "\x00\x01{number}\xff{user}"),
    ("multipart/mixed;boundary=b1", ("--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 {host}\r\ns={name}\r\n"
     "\r\n--b1\r\nContent-Type: text/x-vcard\r\nX-Name: {name}\r\n\r\nTEL:{number}\r\n--b1\r\n{user}\r\n--b1--\r\n{name}")),
    ("multipart/mixed;boundary={number}", "--{number}\r\n\r\n{name}\r\n--{number}--"),
    ("multipart/mixed", "{name} {number}"),
    ("application/vnd.{user}+xml", "{name}<{number}>"),
)  # fmt: skip
STARTS = (
    "INVITE sip:{number}@acme.example SIP/2.0",
    "INVITE sip:{user}@{host}:5060;x={number} SIP/2.0",
    "INVITE tel:{number} SIP/2.0",
    "INVITE {number} SIP/2.0",
    "INVITE sip:{number} SIP/2.0",
    "MESSAGE im:{user}@{host} SIP/2.0",
    "INVITE urn:uuid:{user} SIP/2.0",
    "INVITE http://{host}/{user} SIP/2.0",
    "INVITE sip:{user}@{host}@acme.example SIP/2.0",
    "\r\n\r\nINVITE sip:{user}@acme.example SIP/2.0",
    "SIP/2.0 403 {name} ({number}) may not call from {host}",
    "SIP/2.0 200 OK",
)

messages = st.tuples(
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(PLACES), min_size=1, max_size=10),
    st.one_of(st.none(), st.sampled_from(BODIES)),
    st.sampled_from(["\r\n", "\n"]),
)


def written(
    message: tuple[str, list[str], tuple[str, str] | None, str], identity: dict[str, str], *, length: bool = True
) -> bytes:
    """A message in which the identity is known by its place, and stands where it was put besides."""
    start, places, body, end = message
    known = ['From: "{name}" <sip:{user}@{host}>;tag=0', "P-Asserted-Identity: <sip:{number}@acme.example>"]
    content = body[1].format(**identity).encode("utf-8", "surrogateescape") if body else b""
    lines = [start, "Call-ID: c1", "CSeq: 1 INVITE", *known, *places]
    if body and body[0]:
        lines.append(f"Content-Type: {body[0]}")
    text = end.join(line.format(**identity) for line in lines)
    if length:
        text += f"{end}l: {len(content)}"
    return (text + end + end).encode() + content


def masked(payload: bytes) -> bytes:
    veil = Veil([EDGE])
    masked_message(veil, payload)
    veil.seal()
    return masked_message(veil, payload)


@settings(max_examples=200, deadline=None)
@given(messages, spelled_numbers, names, users, hosts, st.booleans())
@example(
    ("INVITE sip:{number}@acme.example SIP/2.0", ["X-Customer: {name}"], None, "\n"),
    ("12103355787", "%31%32103355787"), "Éva Zsófia", "eva.zsofia", "198.51.100.123", True,
)  # fmt: skip
def test_no_spelling_leaks(
    message: tuple[str, list[str], tuple[str, str] | None, str],
    number: tuple[str, str],
    name: str,
    user: str,
    host: str,
    length: bool,
) -> None:
    identity = {"number": number[1], "name": name, "user": user, "host": host}
    payload = written(message, identity, length=length)
    shown = masked(payload)
    assert not told(shown, [number[0], name, user, host]), shown
    try:
        before = parse(payload)
    except NotSip:
        return
    after = parse(shown)  # what was SIP is SIP
    assert (after.is_request, after.status, len(after.headers)) == (
        before.is_request,
        before.status,
        len(before.headers),
    )
    assert after.truncated == before.truncated


@settings(max_examples=60, deadline=None)
@given(messages, spelled_numbers, names, users, hosts, st.sampled_from(["{number}", "{name}", "{user}", "{host}"]))
def test_no_session_leaks_in_any_file(
    message: tuple[str, list[str], tuple[str, str] | None, str],
    number: tuple[str, str],
    name: str,
    user: str,
    host: str,
    logged: str,
) -> None:
    identity = {"number": number[1], "name": name, "user": user, "host": host}
    payload = written(message, identity)
    sightings = [
        Sighting(START_US, Hop("udp", host, 5060, "192.0.2.10", 5060, "101"), payload),
        Sighting(START_US + 1000, Hop("udp", "192.0.2.10", 5060, host, 5060, "101"), BUSY),
    ]  # fmt: skip
    text = f"refused {logged} for [{logged}], user={user}".format(**identity)
    logs = [LogLine(START_US + 500, "node", "edge", "warning", text, "c1", {"account": number[1], "customer": name})]
    try:
        session = build_session(sightings, logs=logs, nodes=[EDGE])
    except ValueError:
        return
    opened = OpenedSession("20261122-0011223344556677", session, diagnose(session, CATALOGUE))
    hidden = masked_session(opened, [EDGE])
    for format_ in FORMATS:
        file = exported(hidden, format_)
        assert not told(file.data, [number[0], name, user, host]), (format_, file.data)
        assert not told(file.filename, [number[0], name, user, host])
    assert not told(repr(hidden), [number[0], name, user, host])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 30))
def test_damage_does_no_harm(put: bytes, at: int, length: int) -> None:
    identity = {"number": "12103355787", "name": "Konstantina Doe", "user": "k.doerr", "host": "198.51.100.123"}
    message = (STARTS[0], [PLACES[0], PLACES[11], PLACES[26]], BODIES[0], "\r\n")
    payload = written(message, identity)
    payload = payload[:at] + put + payload[at + length :]
    masked(payload)


@pytest.mark.parametrize(
    ("written_as", "shown"),
    [
        ("12103355787", "121xxxxxx87"),
        ("+1-210-335-5787", "+1-21x-xxx-xx87"),
        ("%2B1210335578%37", "%2B121xxxxxx8%37"),
        ("john.doe", "jxxx.xxx"),
        ("anonymous", "anonymous"),
        ("1001", "xxxx"),
    ],
)
def test_a_user_is_shown_as(written_as: str, shown: str) -> None:
    assert Veil().user(written_as) == shown


def test_two_that_look_alike_are_told_apart() -> None:
    veil = Veil()
    assert veil.user("12103355787") != veil.user("12109995787")
    assert veil.user("12103355787") == veil.user("+1 (210) 335-5787").translate(dict.fromkeys(map(ord, "+ ()-")))
    assert veil.host("198.51.100.23") != veil.host("198.51.200.24")
    assert Veil([EDGE]).host("192.0.2.10") == "192.0.2.10"
