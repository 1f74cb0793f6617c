"""A SIP message with its people hidden: the same lines, the same headers, the same diagnosis to the eye.

Of a header that is not listed here, and of a body whose type is not known, nothing but the signs are left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ringback.sessions.capture.sip import COMPACT_NAMES, METHODS, scan
from ringback.sessions.masking import bodies
from ringback.sessions.masking.veil import Veil

# Identifiers and words of the protocol.
_TOKENS = frozenset(
    ("accept", "accept-contact", "accept-encoding", "accept-language", "allow", "allow-events", "call-id",
     "content-disposition",
     "content-encoding", "content-language", "content-type", "date", "event", "feature-caps", "in-reply-to", "info-package",
     "join", "mime-version", "p-charging-vector", "p-early-media", "priority", "privacy", "proxy-require", "recv-info",
     "reject-contact", "replaces", "request-disposition", "require", "security-client", "security-server", "security-verify",
     "session-id", "sip-etag", "sip-if-match", "subscription-state", "supported", "target-dialog", "timestamp", "unsupported",
     "www-authenticate", "proxy-authenticate", "authentication-info", "answer-mode", "resource-priority", "max-breadth",
     "flow-timer", "session-expires")
)  # fmt: skip
_NUMBERS = frozenset(
    ("cseq", "rack", "rseq", "content-length", "max-forwards", "expires", "min-expires", "min-se", "retry-after")
)  # fmt: skip
_WORDS = frozenset(("reason", "warning"))
_SOFTWARE = frozenset(("user-agent", "server"))
_ADDRESSES = frozenset(
    ("from", "to", "contact", "route", "record-route", "path", "service-route", "reply-to", "refer-to", "referred-by",
     "p-asserted-identity", "p-preferred-identity", "p-called-party-id", "p-associated-uri", "p-served-user",
     "remote-party-id", "diversion", "history-info", "alert-info", "call-info", "error-info", "p-asserted-service",
     "p-preferred-service", "p-profile-key")
)  # fmt: skip
_CREDENTIALS = frozenset(("authorization", "proxy-authorization"))
_HARMLESS_NUMBERS = re.compile(r"\s*\d{1,10}(?:\s+\d{1,10})?(?:\s+[A-Z]{2,12})?\s*")
_LISTED = _TOKENS | _NUMBERS | _WORDS | _SOFTWARE | _ADDRESSES | _CREDENTIALS | {"via"}

_BLANK_LINE = re.compile(rb"\n\r?\n")
_HEADER = re.compile(r"([^:\n]*)(:)(.*)", re.DOTALL)
_LONGEST = 4096  # characters of a value that is read; of a longer one nothing is shown
_MOST_QUOTES = 200
_LINE = re.compile(r"[^\n]*\n?(?:[ \t][^\n]*\n?)*")  # with what is folded under it
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*>|[^"<]+|.', re.DOTALL)
_VIA = re.compile(
    r"(\s*SIP\s*/\s*[\d.]+\s*/\s*[\w.-]+\s+)(\[[^\]]*\]|[^\s:;\[\],]+)(\s*:\s*\d{1,5})?(\s*)(?:;(.*))?", re.DOTALL
)
_CREDENTIAL = re.compile(r'([\w*-]+)(\s*=\s*)("(?:[^"\\]|\\.)*"|[^\s,"]*)', re.DOTALL)
_STATUS = re.compile(r"(SIP/2\.0 \d{3})(.*)", re.DOTALL)
_HOST_OF_WARNING = re.compile(r"(\s*\d{3}\s+)([^\s\"]+)(.*)", re.DOTALL)


def masked_message(veil: Veil, payload: bytes, token_headers: Iterable[str] = ()) -> bytes:
    """`token_headers`: further names, in lower case, of headers that hold identifiers."""
    scanned = scan(payload)
    if scanned is None:
        return bodies.masked_bytes(veil, payload)
    start = payload.find(scanned[1])
    blank = _BLANK_LINE.search(payload, start)
    end = blank.end() if blank else len(payload)
    head, coding = _decoded(payload[start:end])
    reader = _Head(veil, frozenset(token_headers))
    lines = [reader.line(line, first=at == 0) for at, line in enumerate(_LINE.findall(head)) if line]
    body = payload[end:]
    masked = (
        bodies.masked_body(veil, body, reader.content_type, reader.content_encoding, sip=_sip_part) if body else b""
    )
    if len(masked) != len(body):
        lines = [_lengthened(line, len(masked) - len(body)) for line in lines]
    junk = bodies.masked_bytes(veil, payload[:start]) if payload[:start].strip() else payload[:start]
    return junk + "".join(lines).encode(coding, "replace") + masked


class _Head:
    def __init__(self, veil: Veil, token_headers: frozenset[str]) -> None:
        self._veil = veil
        self._token_headers = token_headers
        self.content_type = ""
        self.content_encoding = ""

    def line(self, line: str, *, first: bool) -> str:
        if not line.strip():
            return line
        if first:
            return self._start(line)
        match = _HEADER.fullmatch(line)
        if match is None:
            return self._veil.blank(line)
        name = match[1].strip().lower()
        canonical = COMPACT_NAMES.get(name, name)
        if canonical == "content-type":
            self.content_type = re.sub(r"\s+", " ", match[3]).strip()
        elif canonical == "content-encoding":
            self.content_encoding = match[3].strip()
        known = self._veil.lines.get(line)
        if known is not None:
            return known
        shown = match[1] if canonical in _LISTED or canonical in self._token_headers else self._veil.token(match[1])
        value = match[3].rstrip("\r\n")
        masked = shown + match[2] + self._value(canonical, value) + match[3][len(value) :]
        if not self._veil.learning:
            self._veil.lines[line] = masked
        return masked

    def _start(self, line: str) -> str:
        if status := _STATUS.fullmatch(line):
            return status[1] + self._veil.text(status[2])
        ending = re.search(r"\s+SIP/2\.0\s*\Z", line)
        asked = line[: ending.start()] if ending else line
        method, space, uri = asked.partition(" ")
        shown = method if method in METHODS else self._veil.token(method)
        return shown + space + self._veil.uri(uri) + (ending[0] if ending else "")

    def _value(self, name: str, value: str) -> str:
        veil = self._veil
        if len(value) > _LONGEST or value.count('"') > _MOST_QUOTES:
            return veil.blank(value)
        if name in _TOKENS or name in self._token_headers:
            return veil.token(value)
        if name in _NUMBERS:
            return value if _HARMLESS_NUMBERS.fullmatch(value) and veil.token(value) == value else veil.text(value)
        if name in _WORDS:
            warned = _HOST_OF_WARNING.fullmatch(value) if name == "warning" else None
            return warned[1] + veil.host(warned[2]) + veil.text(warned[3]) if warned else veil.text(value)
        if name in _SOFTWARE:
            return veil.software(value)
        if name in _ADDRESSES:
            return _addresses(veil, value)
        if name == "via":
            return ",".join(_via(veil, one) for one in value.split(","))
        if name in _CREDENTIALS:
            return _credentials(veil, value)
        return veil.blank(value)


def _addresses(veil: Veil, value: str) -> str:
    """`"Name" <uri>;tag=1, Name <uri>`, whatever of it is there."""
    pieces = _PIECE.findall(value)
    shown = []
    inside = False  # behind an address, among its parameters
    last = max((at for at, piece in enumerate(pieces) if piece[:1] == "<"), default=-1)
    for at, piece in enumerate(pieces):
        if piece[:1] == "<" and piece[-1:] == ">":
            shown.append(f"<{veil.uri(piece[1:-1])}>")
            inside = True
        elif piece[:1] == '"' and len(piece) > 1:
            shown.append(f'"{veil.blank(piece[1:-1]) if inside else veil.name(piece[1:-1])}"')
        elif not inside and at > last:
            shown.append(_bare(veil, piece))
        else:
            text, inside = _between(veil, piece, inside=inside)
            shown.append(text)
    return "".join(shown)


def _bare(veil: Veil, text: str) -> str:
    """An address without angle brackets: what follows the semicolon belongs to the header."""
    user, at, place = text.rpartition("@")
    if at:
        place, semicolon, parameters = place.partition(";")
        return veil.uri(f"{user}@{place}") + semicolon + veil.parameters(parameters)
    place, semicolon, parameters = text.partition(";")
    return (veil.uri(place) if place.strip() else place) + semicolon + veil.parameters(parameters)


def _between(veil: Veil, text: str, *, inside: bool) -> tuple[str, bool]:
    """A display name before an address, or parameters after one and perhaps the next one's name."""
    shown = []
    for part in re.split(r"([;,])", text):
        if part in (";", ","):
            inside = part == ";" and inside
            shown.append(part)
        elif not part.strip():
            shown.append(part)
        elif inside:
            shown.append(veil.parameters(part))
        else:
            lead, trail = len(part) - len(part.lstrip()), len(part.rstrip())
            shown.append(part[:lead] + veil.name(part[lead:trail]) + part[trail:])
    return "".join(shown), inside


def _via(veil: Veil, value: str) -> str:
    match = _VIA.fullmatch(value)
    if match is None:
        return veil.blank(value)
    shown = match[1] + veil.host(match[2]) + (match[3] or "") + match[4]
    return shown if match[5] is None else f"{shown};{veil.parameters(match[5])}"


def _credentials(veil: Veil, value: str) -> str:
    """Digest: user and digest hidden, realm and algorithm shown."""
    lead = re.match(r"\s*", value)
    scheme, space, rest = value[lead.end() if lead else 0 :].partition(" ")
    shown, end = [], 0
    for match in _CREDENTIAL.finditer(rest):
        shown += [
            veil.blank(rest[end : match.start()]),
            match[1],
            match[2],
            _credential(veil, match[1].lower(), match[3]),
        ]
        end = match.end()
    shown.append(veil.blank(rest[end:]))
    known = scheme if scheme.lower() in ("digest", "basic", "bearer", "ntlm", "kerberos") else veil.blank(scheme)
    return (lead[0] if lead else "") + known + space + "".join(shown)


def _credential(veil: Veil, name: str, written: str) -> str:
    quote = '"' if len(written) > 1 and written[:1] == '"' else ""
    value = written[len(quote) : len(written) - len(quote)]
    by: Callable[[str], str] = {
        "username": veil.uri if "@" in value else veil.user,
        "realm": veil.host if re.fullmatch(r"[\w.:\[\]-]*[.:][\w.:\[\]-]*", value) else veil.token,
        "uri": veil.uri,
        "nonce": veil.token, "opaque": veil.token, "algorithm": veil.token, "qop": veil.token, "nc": veil.token,
    }.get(name, veil.blank)  # fmt: skip
    return quote + (by(value) if value else "") + quote


def _lengthened(line: str, by: int) -> str:
    """Content-Length as wrong, or as right, as it was."""
    match = re.fullmatch(r"((?:content-length|l)\s*:\s*)(\d{1,10})(\s*)", line, re.IGNORECASE)
    return f"{match[1]}{max(0, int(match[2]) + by)}{match[3]}" if match else line


def _sip_part(veil: Veil, data: bytes) -> bytes:
    """A message inside a message (message/sip, message/sipfrag): perhaps only headers."""
    if scan(data) is not None:
        return masked_message(veil, data)
    text, coding = _decoded(data)
    head = _Head(veil, frozenset())
    lines = [
        head.line(line, first=at == 0 and line.startswith("SIP/2.0 "))
        for at, line in enumerate(_LINE.findall(text))
        if line
    ]
    return "".join(lines).encode(coding, "replace")


def _decoded(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
