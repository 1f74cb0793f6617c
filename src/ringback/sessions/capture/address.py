"""Names and places inside SIP headers: URIs, name-addr values, Via values, parameters.

Sources: RFC 3261 sections 19.1, 20 and 25.1; RFC 3966 for tel; RFC 4475 for what must be borne.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")
_HOST_PORT = re.compile(r"\s*(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]+))\s*(?::\s*(\d{1,5}))?\s*$")
_VIA = re.compile(
    r"\s*SIP\s*/\s*\d+\.\d+\s*/\s*([\w.-]+)\s+(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:;\[\]]+))\s*(?::\s*(\d{1,5}))?\s*(?:;(.*))?$",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CACHED_LENGTH = 512  # longer texts are not cached, so that the caches stay small whatever is sent


@dataclass(frozen=True, slots=True)
class Via:
    transport: str  # upper case: UDP TCP TLS WS WSS SCTP
    host: str
    port: int | None
    branch: str  # "" when absent
    received: str  # "" when absent
    rport: int | None


@dataclass(frozen=True, slots=True)
class SipUri:
    scheme: str  # lower case: sip sips tel urn ...
    user: str  # decoded, without parameters and password; "" when absent
    host: str  # IPv6 without brackets; "" for tel and urn
    port: int | None
    parameters: dict[str, str]  # those of the user part too (rn, npdi, phone-context); shared: read, never write
    text: str  # as written


@dataclass(frozen=True, slots=True)
class Address:
    """A name-addr or addr-spec header value: From, To, Contact, P-Asserted-Identity, ..."""

    display: str
    uri: SipUri
    parameters: dict[str, str]  # shared: read, never write

    @property
    def tag(self) -> str:
        return self.parameters.get("tag", "")


def parse_uri(text: str) -> SipUri:
    """Any scheme; sip and sips are taken apart, of tel and urn the user part holds what follows the scheme.

    Raises ValueError.
    """
    return _cached_uri(text) if len(text) <= _CACHED_LENGTH else _read_uri(text)


def parse_address(value: str) -> Address:
    """`"Name" <uri>;parameters`, `Name <uri>` or a bare `uri;parameters`. Raises ValueError, for `*` too."""
    return _cached_address(value) if len(value) <= _CACHED_LENGTH else _read_address(value)


def parse_via(value: str) -> Via:
    """One Via value. Raises ValueError."""
    return _cached_via(value) if len(value) <= _CACHED_LENGTH else _read_via(value)


def parse_parameters(text: str) -> dict[str, str]:
    """`a=1;b;c="x;y"` as {"a": "1", "b": "", "c": "x;y"}. Names in lower case; the first of a name counts."""
    parameters: dict[str, str] = {}
    for part in split_outside(text, ";"):
        name, _, value = part.partition("=")
        name = name.strip().lower()
        if name:
            parameters.setdefault(name, unquoted(value.strip()))
    return parameters


def split_outside(text: str, separator: str) -> list[str]:
    """`text` split at `separator`, but not inside double quotes or angle brackets."""
    if '"' not in text and "<" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = 0
    quoted = bracketed = False
    position = 0
    while position < len(text):
        character = text[position]
        if quoted:
            if character == "\\":
                position += 1
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character == "<":
            bracketed = True
        elif character == ">":
            bracketed = False
        elif character == separator and not bracketed:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    parts.append(text[start:])
    return parts


def unquoted(text: str) -> str:
    """The text of a quoted-string; anything else as it is."""
    match = _QUOTED.fullmatch(text)
    return _ESCAPED.sub(r"\1", match[1]) if match else text


def _read_uri(text: str) -> SipUri:
    scheme_match = _SCHEME.match(text)
    if not scheme_match:
        raise ValueError(f"no URI scheme in {text[:80]!r}")
    scheme = scheme_match[1].lower()
    rest = text[scheme_match.end() :].strip()
    if scheme in ("tel", "urn"):
        user, _, parameters = rest.partition(";")
        if not user:
            raise ValueError(f"nothing after the scheme in {text[:80]!r}")
        return SipUri(scheme, _decoded(user), "", None, parse_parameters(parameters), text)
    if scheme not in ("sip", "sips"):
        return SipUri(scheme, "", "", None, {}, text)
    user, place = _split_user(rest)
    user, _, user_parameters = user.partition(";")
    user = user.partition(":")[0]
    place, _, uri_parameters = place.partition("?")[0].partition(";")
    host, port = _host_and_port(place, text)
    parameters_of_both = parse_parameters(uri_parameters)
    if user_parameters:
        parameters_of_both = parse_parameters(user_parameters) | parameters_of_both
    return SipUri(scheme, _decoded(user), host, port, parameters_of_both, text)


def _split_user(rest: str) -> tuple[str, str]:
    """User information and what follows the @. A user name may wrongly hold an @ itself (an e-mail address)."""
    first = rest.find("@")
    if first < 0:
        return "", rest
    end = min((at for at in (rest.find(";", first), rest.find("?", first)) if at >= 0), default=len(rest))
    last = rest.rfind("@", first, end)
    return rest[:last], rest[last + 1 :]


def _host_and_port(place: str, text: str) -> tuple[str, int | None]:
    match = _HOST_PORT.match(place)
    if not match:
        raise ValueError(f"no host in {text[:80]!r}")
    return match[1] or match[2], _port(match[3])


def _port(digits: str | None) -> int | None:
    if not digits:
        return None
    port = int(digits)
    if port > 65535:
        raise ValueError(f"port {port} is over 65535")
    return port


def _decoded(user: str) -> str:
    return unquote(user) if "%" in user else user


def _read_address(value: str) -> Address:
    quoted = _QUOTED.match(value)
    start = quoted.end() if quoted else 0
    opening = value.find("<", start)
    if opening < 0:
        if quoted:
            raise ValueError(f"a name without an address in {value[:80]!r}")
        uri, _, parameters = value.partition(";")
        return Address("", parse_uri(uri.strip()), parse_parameters(parameters))
    closing = value.find(">", opening)
    if closing < 0:
        raise ValueError(f"< without > in {value[:80]!r}")
    display = _ESCAPED.sub(r"\1", quoted[1]) if quoted else value[:opening].strip()
    uri = value[opening + 1 : closing].strip()
    return Address(display, parse_uri(uri), parse_parameters(value[closing + 1 :]))


def _read_via(value: str) -> Via:
    match = _VIA.match(value)
    if not match:
        raise ValueError(f"no Via in {value[:80]!r}")
    parameters = parse_parameters(match[5] or "")
    rport = parameters.get("rport", "")
    return Via(
        transport=match[1].upper(),
        host=match[2] or match[3],
        port=_port(match[4]),
        branch=parameters.get("branch", ""),
        received=parameters.get("received", "").strip("[]"),
        rport=int(rport) if rport.isascii() and rport.isdigit() and len(rport) <= 5 else None,
    )


# One dialog repeats the same few values in each of its messages: a small cache saves most of the work.
_cached_uri = lru_cache(1024)(_read_uri)
_cached_address = lru_cache(2048)(_read_address)
_cached_via = lru_cache(1024)(_read_via)
