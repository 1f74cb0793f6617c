import pytest

from ringback.events.store import NumberPattern
from ringback.sessions.schemas import QueryError
from ringback.sessions.smartbox import Reading, readings


def first(text: str) -> Reading:
    return readings(text)[0]


@pytest.mark.parametrize("typed", ["+1 (210) 335-5787", "12103355787", "1.210.335.5787", "tel:+12103355787"])
def test_a_number_is_found_however_it_is_typed(typed: str) -> None:
    assert first(typed).number == NumberPattern("12103355787", "suffix")


def test_a_number_with_a_country_code_is_tried_without_it_when_nothing_ends_in_the_whole() -> None:
    assert [reading.number for reading in readings("12103355787")] == [
        NumberPattern("12103355787", "suffix"),
        NumberPattern("2103355787", "suffix"),
    ]


def test_wildcards_say_where_the_number_may_go_on() -> None:
    assert first("44%").number == NumberPattern("44", "prefix")
    assert first("%787").number == NumberPattern("787", "suffix")
    assert first("%335%").number == NumberPattern("335", "contains")


def test_a_session_id_is_a_leg_hash() -> None:
    assert first("20261122-00000000000000ff").call_hash == 255


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("198.51.100.23", "198.51.100.23"),
        ("198.51.100.23:5060", "198.51.100.23"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:5060", "2001:db8::1"),
        ("10.1.*", "10.1.*"),
    ],
)
def test_addresses_are_read_without_their_port(typed: str, address: str) -> None:
    assert [reading.address for reading in readings(typed)] == [address]


def test_a_call_id_is_tried_before_the_person_it_could_be() -> None:
    ways = readings("7d0f3c1e-22@198.51.100.23")
    assert ways[0].call_id == "7d0f3c1e-22@198.51.100.23"
    assert first("alice@example.com").number == NumberPattern("alice", "exact")


def test_a_billing_session_id_is_a_correlation_key() -> None:
    assert first("A3F190C2 11EE8D40 00000000 00000001").key == "conf:a3f190c211ee8d400000000000000001"


def test_an_empty_box_asks_for_nothing() -> None:
    assert readings("  ") == []


@pytest.mark.parametrize("typed", ["%", "%%", "12%34"])
def test_what_cannot_be_searched_is_said(typed: str) -> None:
    with pytest.raises(QueryError) as caught:
        readings(typed)
    assert caught.value.field == "q"
