"""The SIP domains and users that a message names in its Request-URI, From, To and credentials, read in passing."""

from __future__ import annotations

import re
from ipaddress import ip_address

from ringback.sessions.numbers import digits

_HEADERS = re.compile(
    rb"\n(from|f|to|t|(?:proxy-)?authorization|p-asserted-identity|p-preferred-identity|remote-party-id)[ \t]*:"
    rb"([^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*)",
    re.IGNORECASE,
)
_USERNAME = re.compile(r'\busername\s*=\s*(?:"([^"]*)"|([^\s,"]+))', re.IGNORECASE)
_RARE = re.compile(rb"(?i:\n(?:proxy-)?authorization[ \t]*:)")  # worth a look at every header
_HIDDEN = frozenset({"", "anonymous", "restricted", "unavailable", "private", "unknown"})
_HIDDEN_DOMAIN = "anonymous.invalid"  # RFC 3323 section 4.1.1.3: says whose call it is as little as no domain
_LONGEST = 255
_MOST = 64  # of each


def parties(payload: bytes) -> tuple[set[str], set[str]]:
    """(domains, users). Domains of the Request-URI, From and To, in lower case and without the port. Users of these, as
    `digits` spells them, of the credentials, and of who vouches for a From that hides."""
    end = payload.find(b"\r\n\r\n")
    head = payload if end < 0 else payload[: end + 2]
    domains: set[str] = set()
    users: set[str] = set()
    caller: set[str] = set()
    line = head[: head.find(b"\n")] if head[:1].isalpha() else head.lstrip(b"\r\n\0 \t").partition(b"\n")[0]
    if not line.startswith(b"SIP/2.0"):
        _read(_text(line).partition(" ")[2], domains, users)
    sender, recipient = _usual(head, b"\r\nFrom: "), _usual(head, b"\r\nTo: ")
    if sender and recipient and not _RARE.search(head):
        _read(sender, domains, caller)
        _read(recipient, domains, users)
        if not caller & _HIDDEN:
            return domains, (users | caller) - _HIDDEN
        caller.clear()
    vouched: set[str] = set()
    for found in _HEADERS.finditer(head):
        name, value = found[1].lower(), _text(found[2])
        if name in (b"to", b"t"):
            _read(value, domains, users)
        elif name in (b"from", b"f"):
            _read(value, domains, caller)
        elif name.endswith(b"authorization"):
            for username in _USERNAME.finditer(value):
                _note(users, digits((username[1] or username[2] or "").partition("@")[0]))
        else:
            _read(value, set(), vouched)
    return domains, (users | (caller - _HIDDEN or vouched)) - _HIDDEN


def _usual(head: bytes, name: bytes) -> str:
    """The value of a header that is written as nearly everyone writes it; "" else."""
    start = head.find(name) + len(name)
    end = head.find(b"\r\n", start)
    if start < len(name) or end < 0 or head[end + 2 : end + 3] in (b" ", b"\t"):
        return ""
    return _text(head[start:end])


def domain_of(uri: str) -> str:
    """The host of a SIP URI or of an address header's value; "" where there is none."""
    domains: set[str] = set()
    _read(uri, domains, set())
    return next(iter(domains), "")


def user_of(uri: str) -> str:
    """The user of a URI or of an address header's value, as `digits` spells it; "" where there is none."""
    users: set[str] = set()
    _read(uri, set(), users)
    return next(iter(users), "")


def plain_domain(host: str) -> str:
    """In lower case, without a last dot, an address in the one spelling; "" where it cannot be a domain."""
    host = host.strip().lower().rstrip(".")
    if not host or len(host) > _LONGEST:
        return ""
    if host.startswith("[") or ":" in host or host[-1].isdigit():
        try:
            address = ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return host
        return str(getattr(address, "ipv4_mapped", None) or address)
    return host


def _read(value: str, domains: set[str], users: set[str]) -> None:
    """The URI of `value`: in angle brackets where there are any, for before them a name may say anything."""
    start = value.rfind("<") + 1
    colon = value.find(":", start)
    if colon < 0:
        return
    scheme = value[start:colon].strip().lower()
    rest = value[colon + 1 :]
    for mark in "> \t":
        if mark in rest:
            rest = rest[: rest.find(mark)]
    if scheme == "tel":
        _note(users, digits(rest))
        return
    if scheme not in ("sip", "sips"):
        return
    at = rest.find("@")
    if at >= 0:
        _note(users, digits(rest[:at]))
    host = rest[at + 1 :]
    if host.startswith("["):
        host = host[: host.find("]") + 1]
    else:
        for mark in ":;?,":
            if mark in host:
                host = host[: host.find(mark)]
    _note_domain(domains, host)


def _note(words: set[str], word: str) -> None:
    if word and len(word) <= _LONGEST and len(words) < _MOST:
        words.add(word)


def _note_domain(domains: set[str], host: str) -> None:
    domain = plain_domain(host)
    if domain != _HIDDEN_DOMAIN:
        _note(domains, domain)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
