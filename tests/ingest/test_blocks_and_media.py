import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.events.store import LogRecord
from ringback.sessions.ingest.blocks import BlockDamaged, decode_block, encode_block
from ringback.sessions.ingest.media_records import decode_media, encode_media
from ringback.sessions.story import Hop, Sighting, StreamReport

hops = st.builds(
    Hop,
    st.sampled_from(("udp", "tcp", "tls")),
    st.ip_addresses().map(str),
    st.integers(0, 65535),
    st.ip_addresses().map(str),
    st.integers(0, 65535),
    st.text(max_size=5),
)
sightings = st.builds(
    Sighting,
    st.integers(0, 2**52),
    hops,
    st.binary(max_size=300),
    st.integers(0, 2**32 - 1),
    st.text(max_size=20),
)
HOP = Hop("udp", "192.0.2.1", 5060, "192.0.2.2", 5060, "101")


@settings(max_examples=60, deadline=None)
@given(st.lists(sightings, min_size=1, max_size=40), st.data())
def test_a_block_gives_back_what_was_put_in(messages: list[Sighting], data: st.DataObject) -> None:
    block = encode_block(messages)
    assert decode_block(block) == messages
    first = data.draw(st.integers(0, len(messages)))
    count = data.draw(st.integers(0, len(messages) - first))
    assert decode_block(block, first, count) == messages[first : first + count]


def test_equal_hops_come_back_as_one_object() -> None:
    twins = [Sighting(1, HOP, b"a"), Sighting(2, dataclasses.replace(HOP), b"b")]
    first, second = decode_block(encode_block(twins))
    assert first.hop is second.hop


def test_blocks_are_packed_by_several_threads_at_once() -> None:
    messages = [Sighting(1_000_000 + n, HOP, b"INVITE %d " % n * 200) for n in range(500)]

    def pack(_: int) -> bool:
        return all(decode_block(encode_block(messages)) == messages for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(pack, range(8)))


def test_a_damaged_block_is_an_error_wherever_it_is_damaged() -> None:
    block = encode_block([Sighting(1_000_000 + n, HOP, b"INVITE %d" % n) for n in range(50)])
    for position in range(len(block)):
        damaged = bytearray(block)
        damaged[position] ^= 0x41
        with pytest.raises(BlockDamaged):
            decode_block(bytes(damaged))
    for length in range(len(block)):
        with pytest.raises(BlockDamaged):
            decode_block(block[:length])


@pytest.mark.parametrize(("first", "count"), [(0, 4), (3, 1), (-1, 1), (4, None)])
def test_messages_that_a_block_does_not_hold_are_an_error(first: int, count: int | None) -> None:
    block = encode_block([Sighting(n, HOP, b"x") for n in range(3)])
    with pytest.raises(BlockDamaged):
        decode_block(block, first, count)


def test_a_block_of_a_later_version_says_so() -> None:
    with pytest.raises(BlockDamaged, match="later Ringback"):
        decode_block(b"RBM\x02" + b"rest")


@pytest.mark.parametrize(
    "report",
    [
        StreamReport(
            "192.0.2.1:4000", "192.0.2.2:4002", 7, 10, 20, 500, "PCMU", 0, 3, 0.6, 1.5, 9.25, 4.1, True, "a@h"
        ),
        StreamReport("192.0.2.1:4000", "192.0.2.2:4002", None, 10, 20, 0),
    ],
)
def test_media_figures_survive_as_a_log_record(report: StreamReport) -> None:
    assert decode_media(encode_media(report)) == report


def test_a_quality_report_from_elsewhere_is_read_by_its_figures() -> None:
    record = LogRecord(
        "default", 5, "media", "101", "", "Quality report", "a@h", fields={"mos": "3.9", "started_us": "x"}
    )
    report = decode_media(record)
    assert report is not None
    assert (report.mos, report.from_report, report.leg) == (3.9, True, "a@h")
    assert decode_media(LogRecord("default", 5, "media", "101", "", "nothing", "a@h")) is None
