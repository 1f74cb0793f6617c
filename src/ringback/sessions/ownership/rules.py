"""The rules of ownership, compiled: which environment a leg or a log line belongs to. No store, no clock, no network.

The first rule that matches decides; what matches none is `UNASSIGNED`. A leg is asked for once, with its first message,
so what is known of its hop alone is remembered, and the message is read only where a rule could still depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ringback.records.environments import DEFAULT_ENVIRONMENT, UNASSIGNED
from ringback.sessions.numbers import digits
from ringback.sessions.ownership.parties import parties
from ringback.sessions.story import Hop

KINDS = ("node", "address", "domain", "account", "everything")
MOST_RULES = 2000
LONGEST_VALUE = 253  # of a domain
_MOST_HOPS = 65_536  # remembered; invented addresses cost only time
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NODE = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")
_NO_ACCOUNT = re.compile(r"[\x00-\x1f\x7f;:<>@\"%]")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class RuleError(ValueError):
    """A rule that will not do: the field and the reason, fit to be shown."""

    def __init__(self, field_: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field_
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rule:
    """`value` in canonical spelling (`canonical`). `senders`: what a registered node that the rule names sent from when
    the rule was made: capture ids (digits), addresses, address:port."""

    kind: str
    value: str
    environment: str
    senders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What rules look at, of a message or a line: each may be nothing or several."""

    nodes: Iterable[str] = ()  # capture ids, names of nodes
    sockets: Iterable[tuple[str, int]] = ()  # address and port, 0 where it is not known
    domains: Iterable[str] = ()  # lower case
    numbers: Iterable[str] = ()  # as `digits` spells them


def canonical(kind: str, text: str) -> str:
    """The value of a rule, spelled one way. Raises RuleError."""
    if kind not in KINDS:
        raise RuleError("kind", f"{kind!r} is none of {', '.join(KINDS)}.")
    text = text.strip()
    if kind == "everything":
        if text:
            raise RuleError("value", "A rule for everything has no value.")
        return ""
    if not text:
        raise RuleError("value", f"Give {_EXAMPLES[kind]}.")
    if len(text) > LONGEST_VALUE:
        raise RuleError("value", f"{len(text)} characters; at most {LONGEST_VALUE} are taken.")
    return {"node": _node, "address": _address, "domain": _domain, "account": _account}[kind](text)


_EXAMPLES = {
    "node": "a capture id such as 2001, or the name of a node",
    "address": "an address such as 192.0.2.1 or a network such as 192.0.2.0/24",
    "domain": "a SIP domain such as sip.example.net, or *.example.net for all below it",
    "account": "a number or user name, or 44% for all that begin with 44",
}


def _node(text: str) -> str:
    if text.isascii() and text.isdigit():
        if int(text) > 0xFFFFFFFF:
            raise RuleError("value", f"{text} is no capture id: a whole number from 0 to 4294967295.")
        return str(int(text))
    if not _NODE.fullmatch(text):
        raise RuleError("value", "The name of a node has 1 to 64 characters on one line.")
    return text


def _address(text: str) -> str:
    try:
        if "/" not in text:
            return str(plain_address(text))
        network = ip_network("" if "%" in text else text, strict=False)
    except ValueError:
        raise RuleError("value", f"{text!r} is no address or network: give {_EXAMPLES['address']}.") from None
    if str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise RuleError("value", f"{text} is inside of {network}: give the network, or the address alone.")
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _domain(text: str) -> str:
    name = text.lower().rstrip(".")
    if (address := _address_in_domain(name)) is not None:
        return str(address)
    if not name.isascii():
        raise RuleError("value", f"{text!r} has letters beyond ASCII: give it as SIP carries it, in the form xn--...")
    if not _DOMAIN.fullmatch(name):
        raise RuleError("value", f"{text!r} is no SIP domain: give {_EXAMPLES['domain']}.")
    return name


def _account(text: str) -> str:
    prefix = text.endswith("%")
    inner = text.removesuffix("%")
    if _NO_ACCOUNT.search(inner):
        raise RuleError("value", f"{text!r}: give {_EXAMPLES['account']}; no URI, and % only at the end.")
    word = digits(inner)
    if not word:
        raise RuleError("value", f"Give {_EXAMPLES['account']}. A rule for everything is a kind of its own.")
    return f"{word}%" if prefix else word


def plain_address(text: str) -> Address:
    """IPv4 also where IPv6 carries it. Raises ValueError, for an address with a zone too."""
    address = ip_address("" if "%" in text else text)
    return getattr(address, "ipv4_mapped", None) or address


def _address_in_domain(name: str) -> Address | None:
    try:
        return plain_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


@dataclass(slots=True)
class _Index:
    """Where in the list what is asked for stands: the place of the first rule of each value."""

    nodes: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)
    sockets: dict[tuple[str, int], int] = field(default_factory=dict)
    networks: dict[tuple[int, int], dict[int, int]] = field(
        default_factory=dict
    )  # (version, length) -> bits -> place
    domains: dict[str, int] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)  # domains whose subdomains are meant
    numbers: dict[str, int] = field(default_factory=dict)
    prefixes: dict[int, dict[str, int]] = field(default_factory=dict)  # length -> prefix -> place


class TrafficRules:
    """A list of rules in force. Equal to another of the same rules; can be pickled. Not changed once made."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        last = next((place for place, rule in enumerate(self.rules) if rule.kind == "everything"), len(self.rules))
        self._none = last  # the place of what matches no rule before it
        self._environments = [rule.environment for rule in self.rules[: last + 1]]
        if last == len(self.rules):
            self._environments.append(UNASSIGNED)
        self.environments = tuple(dict.fromkeys(self._environments))  # that traffic can come to
        self.sole = self.environments[0] if len(self.environments) == 1 else None
        self._index = _Index()
        for place, rule in enumerate(self.rules[:last]):
            self._add(place, rule)
        words = (*self._index.domains.values(), *self._index.below.values(), *self._index.numbers.values())
        prefixes = (place for places in self._index.prefixes.values() for place in places.values())
        self._first_word = min((*words, *prefixes), default=last)  # the first rule that a message is read for
        self._of_hops: dict[Hop, int] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrafficRules) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def __reduce__(self) -> tuple[type[TrafficRules], tuple[tuple[Rule, ...]]]:
        return TrafficRules, (self.rules,)

    def of_message(self, hop: Hop, payload: bytes) -> str:
        """The environment of a leg whose first message this is."""
        if self.sole is not None:
            return self.sole
        place = self._of_hops.get(hop)
        if place is None:
            if len(self._of_hops) >= _MOST_HOPS:
                self._of_hops.clear()
            nodes = (hop.agent,) if hop.agent else ()
            sockets = ((hop.source, hop.source_port), (hop.destination, hop.destination_port))
            place = self._of_hops[hop] = self._of_way(nodes, sockets)
        if self._first_word < place:
            place = min(place, self._of_words(*parties(payload)))
        return self._environments[place]

    def of_traffic(self, traffic: Traffic) -> str:
        return self._environments[self._place(traffic)]

    def match(self, traffic: Traffic) -> int | None:
        """The place of the rule that decides, counted from 0; None: no rule does."""
        place = self._place(traffic)
        return place if place < len(self.rules) else None

    def _place(self, traffic: Traffic) -> int:
        return min(self._of_way(traffic.nodes, traffic.sockets), self._of_words(traffic.domains, traffic.numbers))

    def _of_way(self, nodes: Iterable[str], sockets: Iterable[tuple[str, int]]) -> int:
        index, place = self._index, self._none
        for node in nodes:
            place = min(place, index.nodes.get(node.lower(), place))
        for host, port in sockets:
            try:
                address = plain_address(host)
            except ValueError:
                continue  # no address: a log line names its peer otherwise
            text, bits = str(address), int(address)
            place = min(place, index.hosts.get(text, place), index.sockets.get((text, port), place))
            for (version, length), places in index.networks.items():
                if version == address.version:
                    place = min(place, places.get(bits >> (address.max_prefixlen - length), place))
        return place

    def _of_words(self, domains: Iterable[str], numbers: Iterable[str]) -> int:
        index, place = self._index, self._none
        for domain in domains:
            place = min(place, index.domains.get(domain, place))
            if index.below:
                rest = domain
                while dot := rest.find(".") + 1:
                    rest = rest[dot:]
                    place = min(place, index.below.get(rest, place))
        for number in numbers:
            place = min(place, index.numbers.get(number, place))
            for length, places in index.prefixes.items():
                place = min(place, places.get(number[:length], place))
        return place

    def _add(self, place: int, rule: Rule) -> None:
        index, value = self._index, rule.value
        if rule.kind == "node":
            index.nodes.setdefault(value.lower(), place)
            for sender in rule.senders:
                self._add_sender(place, sender)
        elif rule.kind == "address" and "/" in value:
            network: Network = ip_network(value)
            places = index.networks.setdefault((network.version, network.prefixlen), {})
            places.setdefault(int(network.network_address) >> (network.max_prefixlen - network.prefixlen), place)
        elif rule.kind == "address":
            index.hosts.setdefault(value, place)
        elif rule.kind == "domain" and value.startswith("*."):
            index.below.setdefault(value[2:], place)
        elif rule.kind == "domain":
            index.domains.setdefault(value, place)
        elif value.endswith("%"):
            index.prefixes.setdefault(len(value) - 1, {}).setdefault(value[:-1], place)
        else:
            index.numbers.setdefault(value, place)

    def _add_sender(self, place: int, sender: str) -> None:
        if sender.isdigit():
            self._index.nodes.setdefault(sender, place)
            return
        host, port = socket_of(sender)
        if port:
            self._index.sockets.setdefault((host, port), place)
        else:
            self._index.hosts.setdefault(host, place)


def socket_of(text: str) -> tuple[str, int]:
    """``192.0.2.1``, ``192.0.2.1:5060``, ``2001:db8::1`` or ``[2001:db8::1]:5060`` -> address, port (0: none)."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port[1:]
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    return host, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0


ONE_TENANT = TrafficRules([Rule("everything", "", DEFAULT_ENVIRONMENT)])  # until an administrator says otherwise
ALL_UNASSIGNED = TrafficRules([])  # while the rules are not known
