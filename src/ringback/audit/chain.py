"""The chain view: a record with the causes above it and the effects below, as a tree whose branches fold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ringback.audit.telling import ToldRecord, column_places

SIDE_BY_SIDE = 12  # effects of one cause that are shown before they fold


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree. `folded`: how many lines under it are not shown."""

    record: ToldRecord
    depth: int
    relation: str  # cause this effect
    reason: str  # where it is not that of its cause
    folded: int = 0
    unseen_cause: bool = False  # led to by a record that this reader may not see, or that is gone


@dataclass(frozen=True, slots=True)
class Chain:
    record: ToldRecord
    nodes: tuple[Node, ...]
    total: int  # records of the tree, as far as they are known
    is_cut: bool  # there are more than that
    places: int  # that amounts are written with
    currency: str

    @property
    def has_amounts(self) -> bool:
        return any(node.record.amount is not None for node in self.nodes)

    @property
    def is_alone(self) -> bool:
        return self.total == 1

    @property
    def net(self) -> Decimal | None:
        """What all of it did to balances; None where nothing did, or where it is in several currencies."""
        found = [node.record for node in self.nodes if node.record.amount is not None]
        if not found or len({each.currency for each in found}) > 1 or any(node.folded for node in self.nodes):
            return None
        return sum((each.amount for each in found if each.amount is not None), Decimal(0))


def chain_of(
    record_id: int,
    records: Sequence[ToldRecord],
    *,
    is_cut: bool,
    unfolded: Collection[int] = (),
    all_shown: bool = False,
) -> Chain:
    """`records`: all of the tree that the reader may see, causes before their effects. `unfolded`: whose effects are
    all shown."""
    known = {each.id: each for each in records}
    here = known[record_id]
    above = _above(here, known)
    effects: defaultdict[int | None, list[ToldRecord]] = defaultdict(list)
    for each in records:
        effects[each.cause_id if each.cause_id in known else None].append(each)
    nodes: list[Node] = []
    stack: list[tuple[ToldRecord, int]] = [(each, 0) for each in reversed(effects[None])]
    while stack:
        one, depth = stack.pop()
        below = effects[one.id]
        shown = below
        if not all_shown and one.id not in unfolded and len(below) > SIDE_BY_SIDE:
            way = {each.id for each in below[:SIDE_BY_SIDE]} | above | {record_id}
            shown = [each for each in below if each.id in way]
        hidden = {each.id for each in below} - {each.id for each in shown}
        nodes.append(
            Node(
                one,
                depth,
                _relation(one, here, above),
                "" if one.cause_id in known and known[one.cause_id].reason == one.reason else one.reason,
                folded=sum(1 + _count(each, effects) for each in hidden),
                unseen_cause=one.cause_id is not None and one.cause_id not in known,
            )
        )
        stack += [(each, depth + 1) for each in reversed(shown)]
    currency = next((each.currency for each in records if each.currency), "")
    return Chain(here, tuple(nodes), len(records), is_cut, column_places(records), currency)


def _above(record: ToldRecord, known: dict[int, ToldRecord]) -> set[int]:
    found: set[int] = set()
    cause = record.cause_id
    while cause in known and cause not in found:
        found.add(cause)
        cause = known[cause].cause_id
    return found


def _count(record_id: int, effects: dict[int | None, list[ToldRecord]]) -> int:
    """Of everything below."""
    count, stack = 0, [record_id]
    while stack:
        below = effects.get(stack.pop(), [])
        count += len(below)
        stack += [each.id for each in below]
    return count


def _relation(one: ToldRecord, here: ToldRecord, above: set[int]) -> str:
    if one.id == here.id:
        return "this"
    return "cause" if one.id in above else "effect"
