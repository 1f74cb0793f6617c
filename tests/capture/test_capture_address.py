"""URIs, addresses and Via values as real senders write them."""

from __future__ import annotations

import pytest

from ringback.sessions.capture.address import parse_address, parse_parameters, parse_uri, parse_via, split_outside


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:alice@atlanta.com", "alice", "atlanta.com", None),
        ("sip:alice:secretword@atlanta.com;transport=tcp", "alice", "atlanta.com", None),
        ("SIPS:alice@atlanta.com:5061?subject=project%20x", "alice", "atlanta.com", 5061),
        ("sip:+1-212-555-1212:1234@gateway.com;user=phone", "+1-212-555-1212", "gateway.com", None),
        ("sip:atlanta.com;method=REGISTER", "", "atlanta.com", None),
        ("sip:[2001:db8::10]:5070", "", "2001:db8::10", 5070),
        ("sip:j%C3%B6rg@192.0.2.4", "jörg", "192.0.2.4", None),
        ("sip:joe@example.com@proxy:5060;lr", "joe@example.com", "proxy", 5060),
        ("sip:1234;phone-context=+44@host", "1234", "host", None),
        ("sip:bob@host?Replaces=abc@10.0.0.1", "bob", "host", None),
        ("sip:user@host:5060 ", "user", "host", 5060),
        ("tel:+1-201-555-0123;ext=5", "+1-201-555-0123", "", None),
        ("urn:service:sos", "service:sos", "", None),
        ("http://www.example.com/alice/photo.jpg", "", "", None),
    ],
)
def test_uris(text: str, user: str, host: str, port: int | None) -> None:
    uri = parse_uri(text)
    assert (uri.user, uri.host, uri.port, uri.text) == (user, host, port, text)


def test_parameters_of_the_user_part_are_kept_beside_those_of_the_uri() -> None:
    uri = parse_uri("sip:+12125551212;npdi;rn=+12129999999@host;user=phone;Transport=TCP")
    assert uri.parameters == {"npdi": "", "rn": "+12129999999", "user": "phone", "transport": "TCP"}


@pytest.mark.parametrize(
    "text", ["", "alice@example.com", "sip:", "sip:alice@", "sip:h:99999", "sip:h:x", "tel:", "*", "sip:a@[::1"]
)
def test_what_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_uri(text)


@pytest.mark.parametrize(
    ("text", "display", "user", "tag"),
    [
        ('"A. G. Bell" <sip:agb@bell.com> ;tag=a48s', "A. G. Bell", "agb", "a48s"),
        ('"say \\"hi\\" <x>" <sip:b@c>;tag=1', 'say "hi" <x>', "b", "1"),
        ("sip:+12125551212@server.phone2net.com;tag=887s", "", "+12125551212", "887s"),
        ("Anonymous <sip:c8oqz84zk7z@privacy.org>;Tag=hyh8", "Anonymous", "c8oqz84zk7z", "hyh8"),
        ("Doe, John <sip:jd@c>", "Doe, John", "jd", ""),
        ("<sip:b@c;tag=inner>;x=1", "", "b", ""),
        ('""<tel:+441>;tag="quoted"', "", "+441", "quoted"),
    ],
)
def test_addresses(text: str, display: str, user: str, tag: str) -> None:
    address = parse_address(text)
    assert (address.display, address.uri.user, address.tag) == (display, user, tag)


@pytest.mark.parametrize("text", ["*", "", '"Alice"', "<sip:b@c", "Alice", "<>"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_a_via_with_everything() -> None:
    via = parse_via("SIP/2.0/udp 10.0.0.1:5070;rport=40000;received=203.0.113.7;branch=z9hG4bK87asdks7")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "10.0.0.1", 5070, "z9hG4bK87asdks7")
    assert (via.received, via.rport) == ("203.0.113.7", 40000)


def test_a_via_with_odd_spaces_and_an_empty_rport() -> None:
    via = parse_via(" SIP / 2.0 / WSS  df7jal23ls0d.invalid : 443 ; rport ;branch=z9hG4bK56sdasks")
    assert (via.transport, via.host, via.port, via.rport) == ("WSS", "df7jal23ls0d.invalid", 443, None)
    assert via.branch == "z9hG4bK56sdasks"


def test_a_via_of_ipv6() -> None:
    via = parse_via("SIP/2.0/TCP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9")
    assert (via.host, via.received) == ("2001:db8::9:1", "2001:db8::9:255")


@pytest.mark.parametrize("text", ["", "SIP/2.0/UDP", "HTTP/1.1 proxy", "SIP/2.0/UDP a:99999"])
def test_what_is_no_via_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_via(text)


def test_parameters_may_quote_what_separates_them() -> None:
    assert parse_parameters('a=1; B ;c="x;y=\\"z\\"";a=2;;=3') == {"a": "1", "b": "", "c": 'x;y="z"'}


def test_splitting_leaves_quotes_and_brackets_whole() -> None:
    assert split_outside('"a,b" <sip:c,d>,e,"f', ",") == ['"a,b" <sip:c,d>', "e", '"f']


def test_values_too_long_to_be_cached_are_read_alike() -> None:
    long = "x" * 600
    assert parse_uri(f"sip:{long}@host").user == long
    assert parse_address(f"<sip:{long}@host>;tag=1").tag == "1"
    assert parse_via(f"SIP/2.0/UDP host;branch={long}").branch == long
