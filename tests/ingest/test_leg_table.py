from __future__ import annotations

import pytest
from collecting import BACK, PHONE, options

from ringback.events import Trouble
from ringback.sessions.ingest.legs import DAY_US, LegTable, Taken
from ringback.sessions.ingest.packing import BLOCK_MESSAGES, batches, stored
from ringback.sessions.story import CUT_BY_CAPTURE, Hop, SightingTuple

START_US = 1_795_348_800_000_000
MIDNIGHT_US = START_US - START_US % DAY_US
SECOND = 1_000_000
RESPONSE = options("x").replace(b"OPTIONS sip:18660333777@acme.example SIP/2.0", b"SIP/2.0 200 OK")


def asked(call_id: str, at_us: int = START_US, hop: Hop = PHONE) -> SightingTuple:
    return (at_us, hop, options(call_id), 0, "")


def answered(call_id: str, at_us: int = START_US) -> SightingTuple:
    return (at_us, BACK, RESPONSE.replace(b"Call-ID: x", f"Call-ID: {call_id}".encode()), 0, "")


def taken(table: LegTable, clock_us: int) -> Taken:
    found = table.take(clock_us)
    stored(found)
    return found


def test_a_flood_of_call_ids_stays_within_bounds() -> None:
    table = LegTable(most=1000)
    for start in range(0, 20_000, 500):
        table.add([asked(f"{n}") for n in range(start, start + 500)])
        taken(table, START_US)
        assert len(table) <= 1000
    assert table.opened == 20_000


def test_finished_legs_leave_first_then_those_unheard_of_longest() -> None:
    table = LegTable(most=10)
    table.add([asked("old")])
    taken(table, START_US)
    table.add([message for n in range(6) for message in (asked(f"done{n}"), answered(f"done{n}"))])
    table.add([asked(f"new{n}") for n in range(3)])
    taken(table, START_US + SECOND)
    table.add([asked("one more")])
    taken(table, START_US + SECOND)
    assert len(table) == 7
    assert {"old", "new0", "new1", "new2", "one more"} <= {row.call_id for row in table.open_rows()}
    table.add([asked(f"newer{n}") for n in range(6)])
    taken(table, START_US + 2 * SECOND)
    assert "old" not in {row.call_id for row in table.open_rows()}


def test_finished_legs_leave_after_a_while_and_a_late_message_opens_another_row() -> None:
    table = LegTable()
    table.add([asked("a"), answered("a")])
    taken(table, START_US)
    taken(table, START_US + 10 * SECOND)
    assert len(table) == 0
    table.add([answered("a", START_US + 11 * SECOND)])
    (leg,) = taken(table, START_US + 11 * SECOND).legs
    assert (leg.row.call_id, leg.row.ref, leg.row.messages) == ("a", None, 1)


def test_counts_are_deltas_that_add_up_to_the_outcomes() -> None:
    table = LegTable()
    table.add([asked("a"), asked("b"), answered("b")])
    minute = START_US - START_US % 60_000_000
    assert taken(table, START_US).counts == {
        ("default", minute, "in_progress"): 1,
        ("default", minute, "succeeded"): 1,
    }
    table.add([answered("a", START_US + 90 * SECOND)])
    later = taken(table, START_US + 90 * SECOND).counts
    assert later == {("default", minute, "in_progress"): -1, ("default", minute, "succeeded"): 1}
    assert taken(table, START_US + 91 * SECOND).counts == {}


def test_a_leg_that_falls_silent_is_settled_without_a_message() -> None:
    table = LegTable()
    table.add([asked("a")])
    taken(table, START_US)
    found = taken(table, START_US + 40 * SECOND)
    assert not found.legs
    assert [(leg.row.outcome, leg.row.trouble) for leg in found.settled] == [("failed", Trouble.NO_FINAL)]
    ((batch),) = batches(found).values()
    assert [row.call_id for row in batch.legs] == ["a"]
    assert sum(delta for *_, delta in batch.counts) == 0
    assert len(table) == 0


def test_a_leg_that_passes_midnight_has_a_row_on_each_day_and_is_counted_once() -> None:
    table = LegTable()
    table.add([asked("a", MIDNIGHT_US - 1), answered("a", MIDNIGHT_US + 1)])
    found = table.take(MIDNIGHT_US + 1)
    days = batches(found)
    assert list(days) == [MIDNIGHT_US - DAY_US, MIDNIGHT_US]
    first, second = (batch.legs[0] for batch in days.values())
    assert (first.messages, second.messages) == (1, 1)
    assert (second.outcome, second.method, second.caller) == ("succeeded", "OPTIONS", first.caller)
    assert second.numbers == first.numbers
    assert found.counts == {("default", MIDNIGHT_US - 60 * SECOND, "succeeded"): 1}


def test_nodes_that_do_not_agree_on_the_day_make_two_rows_not_many() -> None:
    table = LegTable()
    for n in range(10):
        table.add([asked("a", MIDNIGHT_US - 10 + n), asked("a", MIDNIGHT_US + 10 + n)])
    assert len(table.take(MIDNIGHT_US).legs) == 2


def test_a_legs_messages_lie_together_and_blocks_are_bounded() -> None:
    table = LegTable()
    calls = 300
    table.add([asked(f"{n}", START_US + turn) for turn in range(5) for n in range(calls)])
    found = table.take(START_US)
    (batch,) = batches(found).values()
    assert [block.messages for block in batch.blocks] == [BLOCK_MESSAGES] * 3
    parts = [part for block in batch.blocks for part in block.parts]
    assert len(parts) == calls
    assert {part.count for part in parts} == {5}


def test_a_leg_with_very_many_messages_is_spread_over_blocks() -> None:
    table = LegTable()
    table.add([asked("a", START_US + n) for n in range(3333)])
    (batch,) = batches(table.take(START_US)).values()
    assert sum(block.messages for block in batch.blocks) == 3333
    assert max(block.messages for block in batch.blocks) <= BLOCK_MESSAGES


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\r\n\r\n", "keep-alive"),
        (b"hello", "not SIP"),
        (options("x").replace(b"Call-ID: x\r\n", b""), "no Call-ID"),
        (options("x" * 513), "Call-ID too long"),
    ],
)
def test_what_cannot_be_stored_is_counted(payload: bytes, reason: str) -> None:
    table = LegTable()
    table.add([(START_US, PHONE, payload, 0, "")])
    assert table.refused == {reason: 1}
    assert not table.take(START_US).legs


def test_a_cut_message_is_marked() -> None:
    table = LegTable()
    table.add([(START_US, PHONE, options("a"), CUT_BY_CAPTURE, "")])
    (leg,) = table.take(START_US).legs
    assert leg.row.trouble == Trouble.TRUNCATED
