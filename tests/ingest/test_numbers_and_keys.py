from pathlib import Path

import pytest

from ringback.events.store import NumberPattern
from ringback.sessions.keys import KeyRulesError, conf_id, keys_with_reasons, load_rules
from ringback.sessions.numbers import digits, pattern


@pytest.mark.parametrize(
    ("user", "normal"),
    [
        ("12103355787", "12103355787"),
        ("+1 (210) 335-5787", "12103355787"),
        ("+1.210.335.5787", "12103355787"),
        ("12103355787;phone-context=+1", "12103355787"),
        ("12103355787:secret", "12103355787"),
        ("%2B4930123", "4930123"),
        ("John.Doe", "john.doe"),
        ("*98", "*98"),
        ("anonymous", "anonymous"),
        ("", ""),
        ("١٢٣", "١٢٣"),  # digits of other scripts are no telephone number
    ],
)
def test_a_user_part_has_one_form(user: str, normal: str) -> None:
    assert digits(user) == normal


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("+1 (210) 335-5787", NumberPattern("12103355787", "suffix")),
        ("3355787", NumberPattern("3355787", "suffix")),
        ("44%", NumberPattern("44", "prefix")),
        ("%787", NumberPattern("787", "suffix")),
        ("%335%", NumberPattern("335", "contains")),
        ("john.doe", NumberPattern("john.doe", "exact")),
        ("john%", NumberPattern("john", "prefix")),
        ("+44 (0)20 7946 0018", NumberPattern("442079460018", "suffix")),
        ("sip:+12103355787@acme.example", NumberPattern("12103355787", "suffix")),
        ("tel:+1-210-335-5787", NumberPattern("12103355787", "suffix")),
    ],
)
def test_a_search_box_is_understood(typed: str, meant: NumberPattern) -> None:
    assert pattern(typed) == meant


@pytest.mark.parametrize("typed", ["", "%", "  ", "4%4", "@"])
def test_nothing_to_search_for_is_said(typed: str) -> None:
    with pytest.raises(ValueError):
        pattern(typed)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-cid", "abc@1.2.3.4")], {"cid:abc@1.2.3.4"}),
        ([("x-call-id", "self@h")], set()),
        ([("replaces", "425928@bob.example;to-tag=7743;from-tag=6472")], {"cid:425928@bob.example"}),
        ([("join", "12@h;from-tag=1;to-tag=2")], {"cid:12@h"}),
        ([("in-reply-to", "70710@saturn, 17320@saturn")], {"cid:70710@saturn", "cid:17320@saturn"}),
        (
            [("session-id", "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000")],
            {"session-id:ab30317f1a784dc48ff824d0d3715d86"},
        ),
        ([("p-charging-vector", 'icid-value="1234bc9876e";icid-generated-at=192.0.6.8')], {"icid:1234bc9876e"}),
        (
            [("refer-to", "<sip:carol@h?Replaces=9b%40h%3Bto-tag%3D1&Require=replaces>")],
            {"cid:9b@h"},
        ),
        ([("x-cid", "x" * 300)], set()),
    ],
)
def test_headers_give_keys(headers: list[tuple[str, str]], expected: set[str]) -> None:
    assert set(keys_with_reasons("self@h", headers)) == expected


@pytest.mark.parametrize("call_id", ["base@h_b2b-1", "base@h_pbx-12", "base@h~1o"])
def test_a_suffix_convention_names_the_base(call_id: str) -> None:
    assert set(keys_with_reasons(call_id, [])) == {"cid:base@h"}


def test_a_hep_correlation_id_counts_unless_it_is_the_call_id() -> None:
    assert set(keys_with_reasons("a@h", [], correlation="b@h")) == {"cid:b@h"}
    assert set(keys_with_reasons("a@h", [], correlation="a@h")) == set()


def test_a_transfer_and_the_call_it_made_share_a_key() -> None:
    refer = keys_with_reasons(
        "a@h", [("from", "<sip:Bob@h>;tag=1"), ("refer-to", "<sip:+1-202-555@x>"), ("referred-by", "<sip:bob@h>")],
        method="REFER",
    )  # fmt: skip
    invite = keys_with_reasons(
        "b@h",
        [("referred-by", '"Bob" <sip:bob@h>;cid="x@y"')],
        method="INVITE",
        request_uri="sip:1202555@gw;user=phone",
    )
    assert set(refer) == set(invite) == {"refer:bob@h>1202555"}


def test_the_origin_of_the_sdp_is_evidence_unless_everyone_uses_it() -> None:
    assert set(keys_with_reasons("a", [], body=b"v=0\r\no=- 1795348800123 2 IN IP4 1.2.3.4\r\n")) == {
        "o:1795348800123"
    }
    assert not keys_with_reasons("a", [], body=b"v=0\r\no=user1 53655765 2353687637 IN IP4 1.2.3.4\r\n")
    assert not keys_with_reasons("a", [], body=b"v=0\r\no=- 0 0 IN IP4 1.2.3.4\r\n")


def test_a_billing_session_id_has_one_form() -> None:
    hexes = "7d5b37e85f0e11ee8f3c0050568b3a1c"
    assert conf_id("7D5B37E8 5F0E11EE 8F3C0050 568B3A1C") == hexes
    assert conf_id("2103130088-1594757614-2403074128-1451964956") == hexes
    assert conf_id("7d5b37e8-5f0e-11ee-8f3c-0050568b3a1c") == hexes
    assert conf_id(" call 17 ") == "call 17"


def test_rules_are_added_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "correlation.toml"
    path.write_text('suffixes = ["_leg\\\\d$"]\n[headers]\n"X-Orig" = "id=([^;]+)"\n"X-Leg" = ""\n')
    rules = load_rules(path)
    found = keys_with_reasons("a_leg2", [("x-orig", "v;id=one;x"), ("x-leg", "two"), ("x-cid", "three")], rules=rules)
    assert set(found) == {"cid:a", "cid:one", "cid:two", "cid:three"}
    assert found["cid:one"] == "X-Orig header"


@pytest.mark.parametrize("text", ["suffixes = ['(']", "header = {}", "x", 'headers = "x"'])
def test_rules_that_cannot_be_used_say_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "correlation.toml"
    path.write_text(text)
    with pytest.raises(KeyRulesError, match=r"correlation\.toml"):
        load_rules(path)
