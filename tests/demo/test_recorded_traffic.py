"""The recording, and how it becomes two hours of a provider's traffic."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from ringback.demo import recording, traffic
from ringback.demo.cast import subscriber
from ringback.demo.copies import Original, again, originals
from ringback.demo.mix import MIX, TALKS
from ringback.sessions.capture.hep import LOG, SIP, HepPacket, decode
from ringback.sessions.capture.sip import parse

NOW_US = 1_795_390_000_000_000


@pytest.fixture(scope="module")
def recorded() -> dict[str, Original]:
    return originals(*recording.load())


def decoded(original: Original, **how: object) -> list[HepPacket]:
    return [decode(each.packet, 0) for each in again(original, NOW_US, **how)]  # type: ignore[arg-type]


def test_the_mix_names_every_scenario_of_the_recording_and_no_other(recorded: dict[str, Original]) -> None:
    assert set(MIX) == set(recorded)
    assert set(MIX) >= TALKS
    assert min(MIX.values()) >= 1


def test_every_scenario_was_seen_by_a_node_and_every_proxied_call_by_both(recorded: dict[str, Original]) -> None:
    for name, original in recorded.items():
        assert {packet.agent for packet in original.packets} <= {"101", "102"}, name
    assert {packet.agent for packet in recorded["answered"].packets} == {"101", "102"}


def test_node_logs_are_part_of_the_recording(recorded: dict[str, Original]) -> None:
    texts = [p.payload.decode() for p in recorded["failover"].packets if p.payload_type == LOG]
    assert any("core1: gateway" in text and "failed with 503" in text for text in texts)


def test_the_first_copy_is_the_recording_at_another_time(recorded: dict[str, Original]) -> None:
    original = recorded["answered"]
    copy = decoded(original)
    shift = NOW_US - original.packets[0].time_us
    assert [p.payload for p in copy] == [p.payload for p in original.packets]
    assert [p.hop for p in copy] == [p.hop for p in original.packets]
    assert [p.time_us for p in copy] == [p.time_us + shift for p in original.packets]
    assert [(p.correlation, p.payload_type) for p in copy] == [
        (p.correlation, p.payload_type) for p in original.packets
    ]


@pytest.mark.parametrize("name", sorted(MIX))
def test_a_copy_has_other_people_and_ids_and_the_same_story(name: str, recorded: dict[str, Original]) -> None:
    original = recorded[name]
    copy = decoded(original, dice=random.Random(7))
    text = "\n".join(p.payload.decode() + p.correlation + p.hop.source + p.hop.destination for p in copy)
    for index in original.played.subscribers:
        who = subscriber(index)
        assert f'"{who.name}"' not in text
        if name != "unknown-subscriber":  # its number is nobody's
            assert who.number not in text or who.number == "12105550199"
    for call_id in original.played.call_ids:
        assert call_id.split("@")[0] not in text
    then = [parse(p.payload) for p in original.packets if p.payload_type == SIP]
    now = [parse(p.payload) for p in copy if p.payload_type == SIP]
    assert [(m.is_request, m.method, m.status, m.cseq) for m in now] == [
        (m.is_request, m.method, m.status, m.cseq) for m in then
    ]
    assert len({m.call_id for m in now}) == len({m.call_id for m in then})
    assert len({b for m in now for via in m.vias for b in [via.branch]}) == len(
        {b for m in then for via in m.vias for b in [via.branch]}
    )


def test_numbers_agree_with_addresses_and_lengths_in_every_copy(recorded: dict[str, Original]) -> None:
    for name, original in recorded.items():
        for packet in decoded(original, dice=random.Random(3)):
            if packet.payload_type != SIP:
                continue
            message = parse(packet.payload)
            assert message.content_length == len(message.body), name
            via = message.top_via
            assert via is not None
            if message.is_request and name != "private-address-in-contact":
                assert packet.hop.source == via.host, name


def test_a_longer_talk_moves_the_hang_up_and_nothing_before_it(recorded: dict[str, Original]) -> None:
    short, long = decoded(recorded["answered"]), decoded(recorded["answered"], talk_s=100.0)
    moved = [after.time_us - before.time_us for before, after in zip(short, long, strict=True)]
    first_bye = next(i for i, p in enumerate(short) if p.payload.startswith(b"BYE"))
    assert set(moved[:first_bye]) == {0}
    assert set(moved[first_bye:]) == {100_000_000}


def test_history_fills_two_hours_and_ends_before_now(recorded: dict[str, Original]) -> None:
    timed = traffic.history(recorded, NOW_US)
    times = [each.time_us for each in timed]
    assert times == sorted(times)
    assert times[-1] < NOW_US
    assert NOW_US - 8000e6 < times[0] < NOW_US - 6500e6
    assert [decode(each.packet, 0).time_us for each in timed] == times


def test_history_has_as_many_calls_as_the_mix_says_each_with_its_own_call_id(recorded: dict[str, Original]) -> None:
    packets = [decode(each.packet, 0) for each in traffic.history(recorded, NOW_US)]
    call_ids = {parse(p.payload).call_id for p in packets if p.payload_type == SIP}
    assert len(call_ids) == sum(copies * len(recorded[name].played.call_ids) for name, copies in MIX.items())
    assert 300 <= sum(MIX.values()) <= 450


def test_live_traffic_goes_on_in_order_with_new_call_ids(recorded: dict[str, Original]) -> None:
    some = list(islice(traffic.live(recorded, NOW_US), 2000))
    times = [each.time_us for each in some]
    assert times == sorted(times)
    assert times[0] == NOW_US
    packets = [decode(each.packet, 0) for each in some]
    begun = {parse(p.payload).call_id for p in packets if p.payload_type == SIP}
    assert len(begun) > 40
    assert not begun & {call_id for original in recorded.values() for call_id in original.played.call_ids}


def test_a_recording_that_was_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="within a packet"):
        list(recording.frames(b"\0\0\0\x05abc"))
    with pytest.raises(ValueError, match="within a length"):
        list(recording.frames(b"\0\0"))
