"""The first rule that matches decides, whatever the rules are; and any text is a rule or is told why not."""

from __future__ import annotations

import pickle
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringback.events.store import LogRecord
from ringback.sessions.capture.hep import encode
from ringback.sessions.capture.sip import scan
from ringback.sessions.ownership.lines import environment_of_line
from ringback.sessions.ownership.parties import domain_of, parties, plain_domain, user_of
from ringback.sessions.ownership.rules import (
    ALL_UNASSIGNED,
    KINDS,
    ONE_TENANT,
    Rule,
    RuleError,
    Traffic,
    TrafficRules,
    canonical,
    plain_address,
    socket_of,
)
from ringback.sessions.story import Hop

ADDRESSES = ("192.0.2.1", "192.0.2.7", "198.51.100.9", "2001:db8::1", "2001:db8:1::1", "::ffff:192.0.2.7")
NETWORKS = ("192.0.2.0/24", "192.0.2.0/29", "192.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48", "::/0")
DOMAINS = ("a.example", "sip.a.example", "x.sip.a.example", "b.example", "192.0.2.1", "example")
WILD = ("*.a.example", "*.example", "*.sip.a.example", "*.net")
NUMBERS = ("12103355787", "447700900123", "john.doe", "44", "1")
ACCOUNTS = (*NUMBERS, "44%", "4%", "1210%", "john%", "121033557871%")
NODES = ("101", "102", "edge-1", "Edge-1", "core")
KEYS = ("a", "b", "c", "default", "unassigned")

senders = st.lists(
    st.sampled_from(("101", "7", "192.0.2.1", "192.0.2.7:5060", "[2001:db8::1]:5070")), max_size=2
).map(tuple)
one_rule = st.one_of(
    st.builds(Rule, st.just("node"), st.sampled_from(NODES), st.sampled_from(KEYS), senders),
    st.builds(Rule, st.just("address"), st.sampled_from((*ADDRESSES[:5], *NETWORKS)), st.sampled_from(KEYS)),
    st.builds(Rule, st.just("domain"), st.sampled_from((*DOMAINS, *WILD)), st.sampled_from(KEYS)),
    st.builds(Rule, st.just("account"), st.sampled_from(ACCOUNTS), st.sampled_from(KEYS)),
    st.builds(Rule, st.just("everything"), st.just(""), st.sampled_from(KEYS)),
)
lists = st.lists(one_rule, max_size=12)
traffic = st.builds(
    Traffic,
    nodes=st.lists(st.sampled_from((*NODES, "7", "other")), max_size=2),
    sockets=st.lists(
        st.tuples(st.sampled_from((*ADDRESSES, "203.0.113.1", "gw.example")), st.sampled_from((0, 5060, 5070))),
        max_size=2,
    ),
    domains=st.lists(st.sampled_from((*DOMAINS, "c.org")), max_size=3),
    numbers=st.lists(st.sampled_from((*NUMBERS, "4915", "jane")), max_size=3),
)


def matches(rule: Rule, seen: Traffic) -> bool:
    """As one would say it."""
    hosts = []
    for host, port in seen.sockets:
        try:
            address = ip_address(host)
        except ValueError:
            continue
        hosts.append((getattr(address, "ipv4_mapped", None) or address, port))
    match rule.kind:
        case "everything":
            return True
        case "node":
            for sender in rule.senders:
                if sender.isdigit() and sender in seen.nodes:
                    return True
                if not sender.isdigit():
                    host, port = socket_of(sender)
                    if any(str(address) == host and port in (0, at) for address, at in hosts):
                        return True
            return rule.value.lower() in [node.lower() for node in seen.nodes]
        case "address":
            return any(address in ip_network(rule.value) for address, _ in hosts)
        case "domain" if rule.value.startswith("*."):
            return any(domain.endswith(rule.value[1:]) for domain in seen.domains)
        case "domain":
            return rule.value in seen.domains
        case _ if rule.value.endswith("%"):
            return any(number.startswith(rule.value[:-1]) for number in seen.numbers)
        case _:
            return rule.value in seen.numbers


@given(lists, traffic)
def test_the_first_rule_that_matches_decides(rules: list[Rule], seen: Traffic) -> None:
    expected = next((place for place, rule in enumerate(rules) if matches(rule, seen)), None)
    compiled = TrafficRules(rules)
    assert compiled.match(seen) == expected
    environment = "unassigned" if expected is None else rules[expected].environment
    assert compiled.of_traffic(seen) == environment
    assert environment in compiled.environments
    assert pickle.loads(pickle.dumps(compiled)).match(seen) == expected


hops = st.builds(
    Hop,
    transport=st.just("udp"),
    source=st.sampled_from((*ADDRESSES, "203.0.113.1")),
    source_port=st.sampled_from((5060, 5070)),
    destination=st.sampled_from((*ADDRESSES, "203.0.113.1")),
    destination_port=st.sampled_from((5060, 5070)),
    agent=st.sampled_from(("", "7", "101", "102")),
)


def invite(uri_user: str, uri_domain: str, caller: str, domain: str, auth: str = "") -> bytes:
    credentials = f'Authorization: Digest username="{auth}", realm="r"\r\n' if auth else ""
    return (
        f"INVITE sip:{uri_user}@{uri_domain}:5060;transport=udp SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        f'From: "x <sip:no@no.example>" <sip:{caller}@{domain}>;tag=1\r\nt: <sip:{uri_user}@{uri_domain}>\r\n'
        f"Call-ID: c@h\r\nCSeq: 1 INVITE\r\n{credentials}Content-Length: 0\r\n\r\nm=sip:body@body.example\r\n"
    ).encode()


@given(
    lists,
    st.lists(
        st.tuples(
            hops,
            st.sampled_from(NUMBERS),
            st.sampled_from(DOMAINS[:4]),
            st.sampled_from(NUMBERS),
            st.sampled_from(DOMAINS),
            st.sampled_from(("", *NUMBERS)),
        ),
        max_size=8,
    ),
)
def test_a_leg_goes_where_its_first_message_says(
    rules: list[Rule], messages: list[tuple[Hop, str, str, str, str, str]]
) -> None:
    """Also when what is known of a hop is remembered."""
    compiled = TrafficRules(rules)
    for hop, called, called_domain, caller, domain, auth in messages * 2:
        seen = Traffic(
            nodes=[hop.agent] if hop.agent else [],
            sockets=[(hop.source, hop.source_port), (hop.destination, hop.destination_port)],
            domains=[called_domain, domain],
            numbers=[called, caller, *([auth] if auth else [])],
        )
        message = invite(called, called_domain, caller, domain, auth)
        assert compiled.of_message(hop, message) == compiled.of_traffic(seen)


def test_one_tenant_is_told_without_reading_anything() -> None:
    hop = Hop("udp", "not even", 1, "an address", 2)
    assert ONE_TENANT.of_message(hop, b"") == "default"
    assert ALL_UNASSIGNED.of_message(hop, b"") == "unassigned"
    same = TrafficRules([Rule("domain", "a.example", "a"), Rule("everything", "", "a"), Rule("node", "1", "b")])
    assert same.sole == "a"
    assert same.environments == ("a",)
    assert TrafficRules([Rule("domain", "a.example", "a")]).sole is None


@pytest.mark.parametrize(
    ("kind", "typed", "kept"),
    [
        ("node", " 0101 ", "101"),
        ("node", "Edge 1", "Edge 1"),
        ("address", "192.0.2.1/32", "192.0.2.1"),
        ("address", "2001:DB8:0::1", "2001:db8::1"),
        ("address", "::ffff:192.0.2.1", "192.0.2.1"),
        ("address", "192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("domain", "SIP.Example.NET.", "sip.example.net"),
        ("domain", "*.Example.net", "*.example.net"),
        ("domain", "[2001:DB8::1]", "2001:db8::1"),
        ("account", "+1 (210) 335-5787", "12103355787"),
        ("account", "+44%", "44%"),
        ("account", "John.Doe", "john.doe"),
        ("everything", " ", ""),
    ],
)
def test_a_value_is_spelled_one_way(kind: str, typed: str, kept: str) -> None:
    assert canonical(kind, typed) == kept


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [
        ("planet", "x", "none of node"),
        ("node", "", "capture id"),
        ("node", "4294967296", "no capture id"),
        ("node", "a\nb", "one line"),
        ("node", "x" * 65, "64 characters"),
        ("address", "edge.example", "no address"),
        ("address", "192.0.2.7/24", "inside of 192.0.2.0/24"),
        ("address", "fe80::1%eth0", "no address"),
        ("domain", "*", "no SIP domain"),
        ("domain", "a.*.example", "no SIP domain"),
        ("domain", "a..example", "no SIP domain"),
        ("domain", "sip:a.example", "no SIP domain"),
        ("domain", "bücher.example", "xn--"),
        ("domain", "a." * 200, "at most 253"),
        ("account", "%", "kind of its own"),
        ("account", "4%4", "% only at the end"),
        ("account", "%44", "% only at the end"),
        ("account", "a@b", "no URI"),
        ("everything", "x", "no value"),
    ],
)
def test_a_value_that_will_not_do_is_told(kind: str, typed: str, said: str) -> None:
    with pytest.raises(RuleError, match=said.replace(".", r"\.")) as caught:
        canonical(kind, typed)
    assert caught.value.field == ("kind" if kind == "planet" else "value")


typed_values = st.one_of(
    st.text(max_size=300),
    st.text("0123456789abcdefABCDEF.:/*%[]()+- \n\x00xn_é", max_size=60),
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,3})?", fullmatch=True),
)


@given(st.sampled_from((*KINDS, "other")), typed_values)
@example("account", "İ")
@example("domain", "*.1")
@example("address", "::ffff:1.2.3.4/120")
def test_any_text_is_a_rule_that_can_be_used_or_is_refused(kind: str, typed: str) -> None:
    try:
        value = canonical(kind, typed)
    except RuleError:
        return
    assert canonical(kind, value) == value
    rules = TrafficRules([Rule(kind, value, "a")])
    hop = Hop("udp", "192.0.2.1", 5060, "192.0.2.2", 5060, "101")
    assert rules.of_message(hop, invite("1", "a.example", "2", "b.example")) in ("a", "unassigned")


@given(st.sampled_from(("192.0.2.1", "10.1.2.3", "2001:db8::5")), st.integers(0, 32))
def test_an_address_is_in_every_network_around_it(host: str, length: int) -> None:
    network = ip_network(f"{host}/{length}", strict=False)
    rules = TrafficRules([Rule("address", canonical("address", str(network)), "a")])
    hop = Hop("udp", host, 5060, "203.0.113.1" if "." in host else "2001:db9::1", 5060)
    assert rules.of_message(hop, b"") == "a"


@given(st.binary(max_size=400))
def test_whatever_comes_has_parties_or_none(payload: bytes) -> None:
    domains, users = parties(payload)
    assert "" not in domains | users


@given(st.text(max_size=200))
def test_whatever_is_typed_has_a_domain_and_a_user_or_none(text: str) -> None:
    assert plain_domain(domain_of(text)) == domain_of(text)
    user_of(text)
    host, port = socket_of(text)
    assert 0 <= port <= 99_999
    try:
        plain_address(host)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("header", "domains", "users"),
    [
        ("From: sip:Jo@A.Example;tag=1", {"a.example"}, {"jo"}),
        ('f: "<sip:x@y>" <sips:+1-210@[2001:DB8::1]:5061>;tag=1', {"2001:db8::1"}, {"1210"}),
        ("To: <tel:+44-7700;phone-context=+44>", set(), {"447700"}),
        ("From : <sip:anonymous@anonymous.invalid>\r\nP-Asserted-Identity: <sip:77@n.example>", set(), {"77"}),
        ("FROM:\r\n <sip:a;b=c@d.example.;lr>", {"d.example"}, {"a"}),
        ("Proxy-Authorization: Digest username=jo, realm=x", set(), {"jo"}),
        ('Authorization: Digest username="jo@else.example", uri="sip:q@w.example"', set(), {"jo"}),
        ("Contact: <sip:c@c.example>\r\nX-From: <sip:z@z.example>", set(), set()),
        ("From: nonsense", set(), set()),
        ("From: <sip:>", set(), set()),
    ],
)
def test_parties_of_a_head(header: str, domains: set[str], users: set[str]) -> None:
    message = f"SIP/2.0 200 OK\r\nVia: x\r\n{header}\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\nFrom: <sip:b@b.example>".encode()
    assert scan(message)
    assert parties(message) == (domains, users)


def test_a_line_belongs_to_whom_it_names() -> None:
    rules = TrafficRules(
        [
            Rule("account", "12103355787", "account"),
            Rule("domain", "a.example", "domain"),
            Rule("address", "192.0.2.0/24", "address"),
            Rule("node", "edge-1", "node"),
        ]
    )

    def of(node: str = "", account: str = "", **fields: str) -> str:
        return environment_of_line(rules, LogRecord("", 1, "node", node, "", "text", account=account, fields=fields))

    assert of(node="EDGE-1") == "node"
    assert of(account="+1 210 335-5787", node="edge-1") == "account"
    assert of(caller="sip:12103355787@x.example") == "account"
    assert of(auth_user="12103355787@x.example") == "account"
    assert of(request_uri="sip:1@a.example") == of(domain="A.example") == "domain"
    assert of(source="192.0.2.9:5060") == of(src_ip="192.0.2.9") == "address"
    assert of(text="192.0.2.9") == of(source="edge") == of(account="1") == "unassigned"
    hop = Hop("udp", "192.0.2.9", 5060, "198.51.100.1", 5060, "7")
    assert environment_of_line(rules, LogRecord("", 1, "node", "x", "", "t"), hop) == "address"
    assert encode(1, hop, b"x")  # a hop that can be
