"""What is known by its place to be somebody's: users of URIs, names, addresses. Each gets one stand-in for the session.

What cannot be read as harmless is hidden: bad SIP is masked too much rather than too little.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import unquote

from ringback.access.masking import Kind, hidden_in, mask
from ringback.sessions.capture.address import split_outside
from ringback.sessions.numbers import digits
from ringback.sessions.story import NodeInfo

# Users and names that say there is nobody, and services that answer by name.
NOBODY = frozenset(
    ("", "-", "*", "anonymous", "restricted", "unavailable", "private", "unknown", "nobody", "asterisk", "sip", "sipp", "ping")
)  # fmt: skip
# Words of display names that name no person.
_COMMON_WORDS = frozenset(
    ("the", "and", "for", "office", "phone", "desk", "room", "floor", "reception", "sales", "support", "service", "services",
     "company", "group", "home", "mobile", "fax", "call", "caller", "user", "customer", "account", "test", "main", "line",
     "conference", "gateway", "server", "proxy", "edge", "core", "media", "billing", "extension", "number", "not", "was",
     "with", "who", "message", "answer", "answered", "failed", "refused")
)  # fmt: skip
# Parameters of URIs and headers whose values are the protocol's own; of all others the value is hidden.
_HARMLESS = frozenset(
    ("tag", "to-tag", "from-tag", "early-only", "transport", "lr", "ttl", "user", "method", "methods", "expires", "q", "rport",
     "branch", "ob", "reg-id", "cause", "reason", "counter", "privacy", "screen", "party", "limit", "index", "np", "rc", "mp",
     "cpc", "r2", "on", "nat", "received", "maddr", "comp", "purpose", "handling", "hide", "npdi", "cic", "keep", "audio",
     "video", "duplex", "events", "class", "actor", "refresher", "id", "state", "event", "retry-after", "appearance-index",
     "info", "answer-after", "sigcomp-id", "tgrp", "trunk-context", "phone-context", "icid-generated-at")
)  # fmt: skip
_NUMBERS = frozenset(("rn", "isub", "ext", "postd"))  # parameters that hold one
_OWN_DEVICE = ("local", "lan", "home", "internal", "localdomain", "fritz")  # zones of what people name themselves
_LONG_DIGITS = 5

_UNIT = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
_SCHEME = re.compile(r"(\s*([A-Za-z][A-Za-z0-9+.-]*)\s*:)(.*)", re.DOTALL)
_HOST_PORT = re.compile(r"(\s*)(\[[^\]]*\]|[^\s:\[\]]+)(\s*:\s*\d{1,5})?(\s*)", re.DOTALL)
_HOST_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")
_WORD = re.compile(r"\+?[A-Za-z][\w.!*+'`~-]{0,39}")


class Places(ABC):
    """Of one session. Remembers what it masks, until `learning` ends."""

    def __init__(self, nodes: Iterable[NodeInfo] = ()) -> None:
        known = list(nodes)
        self.node_names = {node.name for node in known}
        self.agents = {agent for node in known for agent in node.agents}
        self.registered = {_canonical(without_port(one)) for node in known for one in node.addresses}
        self.names: set[str] = set()
        self.numbers: set[str] = set()  # digits
        self.addresses: set[str] = set()
        self.learning = True
        self._addresses_seen: dict[str, str] = {}
        self._shown: dict[tuple[str, Kind, str], str] = {}
        self._nth: dict[tuple[Kind, str], int] = {}
        self._looking_alike: Counter[tuple[Kind, str]] = Counter()

    @abstractmethod
    def token(self, text: str) -> str:
        """An identifier: what is known of identities is hidden in it."""

    def user(self, text: str) -> str:
        """The user part of a URI, a login, an account: a number in any spelling, or a name."""
        bare = text.strip()
        if bare.lower() in NOBODY or bare in self.node_names:
            return text
        plain = digits(bare)
        if plain.isdigit() and plain.isascii():
            return self.hidden(text, "number", plain)
        return self._named(text)

    def name(self, text: str) -> str:
        """A display name, or whatever else a person is called."""
        bare = text.strip()
        if bare.lower() in NOBODY or bare in self.node_names:
            return text
        plain = digits(bare)
        if plain.isdigit() and plain.isascii():
            return self.hidden(text, "number", plain)
        for word in re.split(r"[\W\d_]+", text):
            if len(word) > 2 and word.lower() not in _COMMON_WORDS:
                self._learn(word)
        return self._named(text)

    def host(self, text: str) -> str:
        """An address, or a host name. Domains are nobody's; what people call their devices is theirs."""
        bare = text.strip().strip("[]")
        if masked := self.address(bare):
            return text.replace(bare, masked)
        lower = bare.lower().rstrip(".")
        if text in self.node_names or lower in ("", "localhost"):
            return text
        if not re.search("[A-Za-z]", bare):
            return self.user(text)
        if not _HOST_NAME.fullmatch(bare) or lower.endswith("e164.arpa"):
            return self.blank(text)
        if "." not in lower:
            return self.user(text)
        if lower.rpartition(".")[2] in _OWN_DEVICE:
            device, dot, zone = text.rpartition(".")
            return self.user(device) + dot + zone
        return self.token(text)

    def address(self, text: str) -> str:
        """Empty where it is no address; as it is where it is a registered node's or nobody's."""
        known = self._addresses_seen.get(text)
        if known is None:
            known = self._addresses_seen[text] = self._masked_address(text)
        return known

    def _masked_address(self, text: str) -> str:
        try:
            address = ip_address(text)
        except ValueError:
            return ""
        canonical = str(address)
        if address.is_loopback or address.is_unspecified or address.is_multicast or canonical == "255.255.255.255":
            return text
        if canonical in self.registered:
            return text
        if self.learning:
            self.addresses.update((canonical, text))
        return self.hidden(text, "address", canonical)

    def blank(self, text: str) -> str:
        """What nobody can say to be harmless: only its signs stay."""
        return self.hidden(text, "text", text)

    def uri(self, text: str) -> str:
        """Any URI, or what stands where one belongs."""
        match = _SCHEME.fullmatch(text)
        if match is None:
            return self._sip_uri(text) if "@" in text else self.user(text)
        before, scheme, rest = match[1], match[2].lower(), match[3]
        if scheme in ("sip", "sips", "im", "pres", "mailto", "xmpp"):
            return before + self._sip_uri(rest)
        if scheme in ("tel", "callto", "fax"):
            return before + self._user_part(rest)
        if scheme == "urn" and rest.lower().startswith("service:"):
            return text
        if scheme in ("http", "https", "ftp", "cid"):
            host, slash, path = rest.lstrip("/").partition("/")
            return before + rest[: len(rest) - len(rest.lstrip("/"))] + self.host(host) + slash + self.blank(path)
        if rest[:1].isdigit() or "@" in rest:
            return self._sip_uri(text)  # john:secret@host, alice:5060
        return before + self.blank(rest)

    def parameters(self, text: str) -> str:
        """`;tag=1928;user=phone`, with the semicolon in front."""
        return ";".join(self._parameter(one) if one else "" for one in split_outside(text, ";"))

    def hidden(self, text: str, kind: Kind, canonical: str) -> str:
        """The stand-in of `canonical` in the spelling of `text`; escapes are read as what they stand for."""
        known = self._shown.get((text, kind, canonical))
        if known is None:
            known = self._shown[text, kind, canonical] = self._hidden(text, kind, canonical)
        return known

    def _hidden(self, text: str, kind: Kind, canonical: str) -> str:
        if kind == "number" and self.learning:
            self.numbers.add(canonical)
        nth = self._nth.get((kind, canonical))
        if nth is None:
            look = (kind, mask(canonical, kind))
            nth = self._nth[kind, canonical] = self._looking_alike[look]
            self._looking_alike[look] += 1
        if "%" not in text:
            return mask(text, kind, nth)
        units = _UNIT.findall(text)
        plain = "".join(map(_decoded, units))
        masked, hidden = mask(plain, kind, nth), set(hidden_in(plain, kind))
        return "".join(masked[at] if at in hidden else unit for at, unit in enumerate(units))

    def _named(self, text: str) -> str:
        bare = text.strip()
        decoded = unquote(bare)
        for spelling in (bare, decoded, re.sub(r"\\(.)", r"\1", bare)):
            self._learn(spelling)
        return self.hidden(text, "name", " ".join(decoded.casefold().split()))

    def _learn(self, name: str) -> None:
        if self.learning and name.lower() not in NOBODY and name not in self.node_names:
            self.names.add(name)
            self.numbers.update(re.findall(rf"[0-9]{{{_LONG_DIGITS},}}", name))

    def _sip_uri(self, rest: str) -> str:
        """Behind the scheme. The last @ counts: what stands before it may hold anything."""
        user, at, place = rest.rpartition("@")
        place, question, headers = place.partition("?")
        place, semicolon, parameters = place.partition(";")
        match = _HOST_PORT.fullmatch(place)
        place = match[1] + self.host(match[2]) + (match[3] or "") + match[4] if match else self.blank(place)
        masked = (self._user_part(user) if user else "") + at + place
        if semicolon:
            masked += semicolon + self.parameters(parameters)
        return masked + question + self._embedded(headers)

    def _user_part(self, text: str) -> str:
        """`12103355787:password;phone-context=...`"""
        user, semicolon, parameters = text.partition(";")
        user, colon, password = user.partition(":")
        return (
            self.user(user)
            + colon
            + (self.blank(password) if password else "")
            + semicolon
            + self.parameters(parameters)
        )

    def _embedded(self, headers: str) -> str:
        """Headers in a URI: Replaces and Reason as identifiers, nothing of others."""
        parts = []
        for part in headers.split("&") if headers else ():
            name, equals, value = part.partition("=")
            harmless = name.strip().lower() in ("replaces", "reason", "privacy", "method", "require")
            parts.append(self._word(name) + equals + (self.token(value) if harmless else self.blank(value)))
        return "&".join(parts)

    def _parameter(self, text: str) -> str:
        name, equals, value = text.partition("=")
        known = name.strip().lower()
        if known in _HARMLESS:
            return name + equals + self.token(value)
        if known in _NUMBERS:
            return name + equals + self.user(value)
        return self._word(name) + equals + (self.blank(value) if value else "")

    def _word(self, text: str) -> str:
        """A parameter's or header's name as senders make them up."""
        return self.token(text) if _WORD.fullmatch(text.strip()) else self.blank(text)


def without_port(address: str) -> str:
    """As the node register writes them: 192.0.2.1, 192.0.2.1:5060, 2001:db8::1, [2001:db8::1]:5060."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _decoded(unit: str) -> str:
    """One character for each unit of an escaped text."""
    if len(unit) == 1:
        return unit
    byte = int(unit[1:], 16)
    return chr(byte) if byte < 128 else "é"


def _canonical(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address
