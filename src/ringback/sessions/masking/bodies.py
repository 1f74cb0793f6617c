"""Bodies of SIP messages with their people hidden: session descriptions, parts, counters of mailboxes, state documents.

Source of what a line of a session description means: RFC 8866.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ringback.sessions.capture.address import parse_parameters
from ringback.sessions.masking.veil import Veil

_Masked = Callable[[Veil, bytes], bytes]

_SDP_KEPT = frozenset("vtrzmb")
_ATTRIBUTES = frozenset(
    ("rtpmap", "fmtp", "ptime", "maxptime", "minptime", "sendrecv", "sendonly", "recvonly", "inactive", "rtcp", "rtcp-mux",
     "rtcp-fb", "rtcp-xr", "rtcp-rsize", "candidate", "end-of-candidates", "remote-candidates", "setup", "connection", "mid",
     "group", "extmap", "extmap-allow-mixed", "silencesupp", "framerate", "imageattr", "bundle-only", "ice-lite", "ice-options",
     "content", "direction", "curr", "des", "conf", "maxmptime", "charset", "rtcp-port", "framesize", "quality", "x-nat")
)  # fmt: skip
_NO_NAMES = frozenset(("-", " ", "", "sip call", "call", "session", "sip", "voip", "voip call", "sdp", "a call", "asterisk",
                       "freeswitch", "sipsession", "basic session", "media server session", "polycom ip phone"))  # fmt: skip
_STATES = frozenset(
    ("active", "pending", "terminated", "open", "closed", "yes", "no", "confirmed", "early", "trying", "proceeding", "full",
     "partial", "deleted", "initiator", "recipient", "online", "offline", "busy")
)  # fmt: skip
_TAG = re.compile(r"<(/?)([\w:.-]{1,40})((?:\s+[\w:.-]{1,40}\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*(/?)>")
_ATTRIBUTE = re.compile(r"(\s+)([\w:.-]+)(\s*=\s*)(\"[^\"]*\"|'[^']*')")
_PART_END = re.compile(rb"\n\r?\n")


def masked_body(veil: Veil, body: bytes, content_type: str, content_encoding: str, *, sip: _Masked) -> bytes:
    """`sip`: masks a message or headers inside the body."""
    if content_encoding.lower() not in ("", "identity"):
        return masked_bytes(veil, body)
    return _typed(veil, body, content_type, sip, depth=0)


def masked_bytes(veil: Veil, data: bytes) -> bytes:
    """What is not known: the signs of text, nothing of other bytes."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return b"x" * len(data)
    if any(not (character.isprintable() or character in "\r\n\t") for character in text):
        return b"x" * len(data)
    return veil.blank(text).encode()


def _typed(veil: Veil, body: bytes, content_type: str, sip: _Masked, depth: int) -> bytes:
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == "application/sdp" or (not kind and re.match(rb"\s*v=\d", body)):
        return _by_line(veil, body, _sdp_line)
    if kind.startswith("multipart/") and depth < 3:
        return _parts(veil, body, parse_parameters(parameters).get("boundary", "").encode(), sip, depth)
    if kind in ("message/sip", "message/sipfrag"):
        return sip(veil, body)
    if kind == "application/simple-message-summary":
        return _by_line(veil, body, _summary_line)
    if kind in ("application/dtmf-relay", "application/media_control+xml"):
        return _by_line(veil, body, _digit_line)
    if kind.endswith("+xml") or kind in ("application/xml", "text/xml"):
        return _xml(veil, body)
    return masked_bytes(veil, body)


def _by_line(veil: Veil, body: bytes, masked_line: Callable[[Veil, str], str]) -> bytes:
    try:
        text, coding = body.decode(), "utf-8"
    except UnicodeDecodeError:
        text, coding = body.decode("latin-1"), "latin-1"
    lines = re.split(r"(\r?\n)", text)
    return "".join(line if at % 2 else masked_line(veil, line) for at, line in enumerate(lines)).encode(
        coding, "replace"
    )


def _sdp_line(veil: Veil, line: str) -> str:
    kind, equals, value = line.partition("=")
    match kind.strip() if equals else "":
        case "o":
            return kind + equals + _origin(veil, value)
        case "c":
            return kind + equals + _connection(veil, value)
        case "s":
            return line if value.strip().lower() in _NO_NAMES else kind + equals + veil.name(value)
        case "a":
            return kind + equals + _attribute(veil, value)
        case letter if letter in _SDP_KEPT and letter:
            return kind + equals + veil.token(value)
    return veil.blank(line)


def _origin(veil: Veil, value: str) -> str:
    words = re.split(r"(\s+)", value)
    if len(words) < 11:
        return veil.blank(value)
    host = veil.host(words[10])
    return veil.user(words[0]) + veil.token("".join(words[1:10])) + host + veil.blank("".join(words[11:]))


def _connection(veil: Veil, value: str) -> str:
    match = re.fullmatch(r"(\s*IN\s+IP[46]\s+)([^\s/]+)((?:/\d+)*\s*)", value)
    return match[1] + veil.host(match[2]) + match[3] if match else veil.blank(value)


def _attribute(veil: Veil, value: str) -> str:
    name, colon, rest = value.partition(":")
    known = name.strip().lower()
    if known in _ATTRIBUTES or known.startswith("t38"):
        return name + colon + veil.token(rest)
    if known == "crypto":  # the suite tells why media fails; the key would open it
        words = re.split(r"(\s+)", rest, maxsplit=2 * 2)
        return name + colon + veil.token("".join(words[:4])) + veil.blank("".join(words[4:]))
    shown = veil.token(name) if re.fullmatch(r"[\w.-]{1,40}", name) else veil.blank(name)
    return shown + colon + veil.blank(rest)


def _summary_line(veil: Veil, line: str) -> str:
    name, colon, value = line.partition(":")
    if name.strip().lower() == "message-account":
        return name + colon + veil.uri(value)
    if re.fullmatch(r"[\w-]{1,40}", name.strip()) and re.fullmatch(r"\s*(?:yes|no|[\d/() ]{1,30})\s*", value):
        return veil.token(line)
    return veil.blank(line)


def _digit_line(veil: Veil, line: str) -> str:
    """Pressed keys are PINs and card numbers as often as menus."""
    if re.fullmatch(r"\s*duration\s*=\s*\d{1,6}\s*", line, re.IGNORECASE):
        return line
    name, equals, value = line.partition("=")
    return name + equals + veil.blank(value) if name.strip().lower() == "signal" else veil.blank(line)


def _xml(veil: Veil, body: bytes) -> bytes:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return masked_bytes(veil, body)
    shown, end = [], 0
    for tag in _TAG.finditer(text):
        shown.append(_xml_text(veil, text[end : tag.start()]))
        attributes = "".join(
            one[1] + veil.token(one[2]) + one[3] + _xml_value(veil, one[2], one[4])
            for one in _ATTRIBUTE.finditer(tag[3])
        )
        shown.append(f"<{tag[1]}{veil.token(tag[2])}{attributes}{tag[4]}>")
        end = tag.end()
    shown.append(_xml_text(veil, text[end:]))
    return "".join(shown).encode()


def _xml_value(veil: Veil, name: str, quoted: str) -> str:
    value = quoted[1:-1]
    if name.partition(":")[0] == "xmlns" or value.lower() in _STATES:
        return quoted[0] + veil.token(value) + quoted[0]
    return quoted[0] + veil.blank(value) + quoted[0]


def _xml_text(veil: Veil, text: str) -> str:
    if text.strip().lower() in _STATES or re.fullmatch(r"\s*<\?xml[^<>]{0,80}\?>\s*", text):
        return veil.token(text)
    return veil.blank(text)


def _parts(veil: Veil, body: bytes, boundary: bytes, sip: _Masked, depth: int) -> bytes:
    if not boundary:
        return masked_bytes(veil, body)
    mark = b"--" + boundary
    shown_mark = veil.token(mark.decode("utf-8", "replace")).encode()
    before, *parts = body.split(mark)
    shown = [masked_bytes(veil, before)]
    for at, part in enumerate(parts):
        shown.append(shown_mark)
        if part.startswith(b"--"):
            shown += [b"--" + masked_bytes(veil, part[2:]), *(masked_bytes(veil, one) for one in parts[at + 1 :])]
            break
        blank = _PART_END.search(part)
        if blank is None:
            shown.append(masked_bytes(veil, part))
            continue
        head = part[: blank.end()]
        shown.append(sip(veil, head))
        shown.append(_typed(veil, part[blank.end() :], _type_of(head), sip, depth + 1))
    return b"".join(shown)


def _type_of(head: bytes) -> str:
    text = re.sub(r"\r?\n[ \t]+", " ", head.decode("latin-1"))
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() in ("content-type", "c"):
            return value.strip()
    return "text/plain"  # RFC 2046 section 5.1
