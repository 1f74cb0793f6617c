"""Session descriptions in SIP bodies: who wants media where, in which codecs, in which direction, encrypted or not.

Sources: RFC 8866 (SDP), RFC 3551 section 6 (static payload types), RFC 3264 (directions), RFC 4568 (crypto),
RFC 5763 (fingerprint), RFC 8839 (ICE), RFC 5621 and 2046 (multipart bodies).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from ringback.sessions.capture.address import parse_parameters
from ringback.sessions.capture.sip import SipMessage

# RFC 3551 section 6: payload type -> (name, clock rate)
STATIC_CODECS = {
    0: ("PCMU", 8000), 3: ("GSM", 8000), 4: ("G723", 8000), 5: ("DVI4", 8000), 6: ("DVI4", 16000), 7: ("LPC", 8000),
    8: ("PCMA", 8000), 9: ("G722", 8000), 10: ("L16", 44100), 11: ("L16", 44100), 12: ("QCELP", 8000),
    13: ("CN", 8000), 14: ("MPA", 90000), 15: ("G728", 8000), 16: ("DVI4", 11025), 17: ("DVI4", 22050),
    18: ("G729", 8000), 25: ("CelB", 90000), 26: ("JPEG", 90000), 28: ("nv", 90000), 31: ("H261", 90000),
    32: ("MPV", 90000), 33: ("MP2T", 90000), 34: ("H263", 90000),
}  # fmt: skip

_DIRECTIONS = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_MAX_SECTIONS = 64
_MAX_CODECS = 128  # of one section
_MAX_PARTS = 32
_CACHED_BODY = 8192
_RTPMAP = re.compile(r"(\d{1,3})\s+([^\s/]+)(?:/(\d{1,9}))?(?:/(\d{1,3}))?")
_VERSION_LINE = re.compile(rb"\s*v=\d")


@dataclass(frozen=True, slots=True)
class Codec:
    payload_type: int
    name: str  # as written in rtpmap ("opus"), or of the static table; "" for a dynamic type without rtpmap
    clock_rate: int  # Hz; 0 unknown
    channels: int = 1
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class MediaSection:
    kind: str  # audio video image text application message
    port: int  # 0: refused or switched off
    protocol: str  # RTP/AVP, RTP/SAVP, UDP/TLS/RTP/SAVPF, udptl, ...
    formats: tuple[str, ...]  # as written after the protocol
    codecs: tuple[Codec, ...]  # in order of preference; empty where the protocol is no RTP
    address: str  # of the section's c= line, else of the session's; "" when neither
    direction: str = "sendrecv"  # sendrecv sendonly recvonly inactive
    ptime: int | None = None  # milliseconds
    crypto: bool = False  # a=crypto (SDES)
    fingerprint: bool = False  # a=fingerprint (DTLS), here or for the session
    ice: bool = False  # a=candidate or a=ice-ufrag, here or for the session
    rtcp_port: int | None = None  # a=rtcp, or the RTP port with a=rtcp-mux; None: port + 1

    @property
    def encrypted(self) -> bool:
        return self.crypto or self.fingerprint or "SAVP" in self.protocol.upper()

    @property
    def on_hold(self) -> bool:
        """The far end is asked not to send: sendonly, inactive, or the null address of RFC 2543."""
        return self.direction in ("sendonly", "inactive") or self.address in ("0.0.0.0", "::")  # noqa: S104

    def codec(self, payload_type: int) -> Codec | None:
        return next((codec for codec in self.codecs if codec.payload_type == payload_type), None)


@dataclass(frozen=True, slots=True)
class Sdp:
    user: str  # o= line
    session_id: str
    session_version: str
    origin_address: str
    address: str  # of the session's c= line, "" when absent
    media: tuple[MediaSection, ...]


@dataclass(slots=True)
class _Draft:
    """A media section while its lines are read. The session's own attributes stand in one too, of kind ""."""

    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    address: str = ""
    direction: str = ""
    ptime: int | None = None
    crypto: bool = False
    fingerprint: bool = False
    ice: bool = False
    rtcp_port: int | None = None
    rtcp_mux: bool = False
    rtpmap: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    fmtp: dict[int, str] = field(default_factory=dict)


def sdp_of(message: SipMessage) -> Sdp | None:
    """The description in the body, also as a part of a multipart body; None when there is none."""
    body = message.body
    if not body:
        return None
    part = _sdp_part(message.header("content-type"), body, depth=0)
    return parse_sdp(part) if part is not None else None


def parse_sdp(body: bytes) -> Sdp:
    """Never raises: lines that cannot be read are passed over, so what is no SDP gives an empty description."""
    return _cached(body) if len(body) <= _CACHED_BODY else _read(body)


def _sdp_part(content_type: str, body: bytes, depth: int) -> bytes | None:
    kind, _, rest = content_type.partition(";")
    kind = kind.strip().lower()
    if kind in ("application/sdp", ""):
        return body if _VERSION_LINE.match(body) or (kind and b"m=" in body) else None
    if not kind.startswith("multipart/") or depth > 1:
        return None
    boundary = parse_parameters(rest).get("boundary", "").encode()
    if not boundary:
        return None
    for part in body.split(b"--" + boundary, _MAX_PARTS)[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.replace(b"\r\n", b"\n").removeprefix(b"\n").partition(b"\n\n")
        found = _sdp_part(_part_type(head), content, depth + 1)
        if found is not None:
            return found
    return None


def _part_type(head: bytes) -> str:
    for line in head.decode("latin-1").split("\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() in ("content-type", "c"):
            return value.strip()
    return "text/plain"  # RFC 2046 section 5.1


def _read(body: bytes) -> Sdp:
    session = _Draft()
    origin = ["", "", "", "", "", ""]
    drafts: list[_Draft] = []
    current = session
    for line in body.decode("utf-8", errors="replace").split("\n"):
        kind, equals, value = line.strip().partition("=")
        if not equals:
            continue
        if kind == "a":
            _attribute(current, value)
        elif kind == "m":
            if len(drafts) == _MAX_SECTIONS:
                break
            current = _section(value)
            drafts.append(current)
        elif kind == "c":
            current.address = _connection(value)
        elif kind == "o" and current is session:
            origin = (value.split() + origin)[:6]
    return Sdp(
        user=origin[0],
        session_id=origin[1],
        session_version=origin[2],
        origin_address=origin[5],
        address=session.address,
        media=tuple(_finished(draft, session) for draft in drafts),
    )


def _section(value: str) -> _Draft:
    words = value.split()
    port = words[1].partition("/")[0] if len(words) > 1 else ""
    return _Draft(
        kind=words[0].lower() if words else "",
        port=_number(port, 65535) or 0,
        protocol=words[2] if len(words) > 2 else "",
        formats=tuple(words[3 : 3 + _MAX_CODECS]),
    )


def _connection(value: str) -> str:
    """`IN IP4 192.0.2.1/127` gives 192.0.2.1: the multicast TTL is no part of the address."""
    words = value.split()
    return words[2].partition("/")[0] if len(words) > 2 else ""


def _attribute(draft: _Draft, text: str) -> None:
    name, _, value = text.partition(":")
    name, value = name.strip().lower(), value.strip()
    if name in _DIRECTIONS:
        draft.direction = name
    elif name == "rtpmap":
        match = _RTPMAP.match(value)
        if match and len(draft.rtpmap) < _MAX_CODECS:
            draft.rtpmap[int(match[1])] = (match[2], int(match[3] or 0), int(match[4] or 1))
    elif name == "fmtp":
        payload_type, _, parameters = value.partition(" ")
        number = _number(payload_type, 127)
        if number is not None and len(draft.fmtp) < _MAX_CODECS:
            draft.fmtp[number] = parameters.strip()
    elif name == "ptime":
        draft.ptime = _number(value.partition(".")[0], 10_000)
    elif name == "crypto":
        draft.crypto = True
    elif name == "fingerprint":
        draft.fingerprint = True
    elif name in ("candidate", "ice-ufrag"):
        draft.ice = True
    elif name == "rtcp":
        draft.rtcp_port = _number(value.partition(" ")[0], 65535)
    elif name == "rtcp-mux":
        draft.rtcp_mux = True


def _finished(draft: _Draft, session: _Draft) -> MediaSection:
    is_rtp = "RTP/" in draft.protocol.upper()
    return MediaSection(
        kind=draft.kind,
        port=draft.port,
        protocol=draft.protocol,
        formats=draft.formats,
        codecs=tuple(_codec(draft, text) for text in draft.formats if _number(text, 127) is not None)
        if is_rtp
        else (),
        address=draft.address or session.address,
        direction=draft.direction or session.direction or "sendrecv",
        ptime=draft.ptime,
        crypto=draft.crypto,
        fingerprint=draft.fingerprint or session.fingerprint,
        ice=draft.ice or session.ice,
        rtcp_port=draft.port if draft.rtcp_mux else draft.rtcp_port,
    )


def _codec(draft: _Draft, text: str) -> Codec:
    payload_type = int(text)
    name, clock_rate, channels = draft.rtpmap.get(payload_type, ("", 0, 1))
    if not name and payload_type in STATIC_CODECS:
        name, clock_rate = STATIC_CODECS[payload_type]
    return Codec(payload_type, name, clock_rate, channels, draft.fmtp.get(payload_type, ""))


def _number(text: str, limit: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        return None
    number = int(text)
    return number if number <= limit else None


_cached = lru_cache(256)(_read)
