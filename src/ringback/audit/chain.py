"""The chain view: a record with the causes above it and the effects below, as a tree whose branches fold. Only the lines
that are shown are told: of the others the tree needs no more than their links and amounts."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from ringback.audit.telling import ToldRecord, column_places
from ringback.records.money import from_units

SIDE_BY_SIDE = 12  # effects of one cause that are shown before they fold
LINES = 40  # of a tree; what is farther from the record folds

Effects = defaultdict[int | None, list[int]]  # of a cause; None: of none that is known


class Link(NamedTuple):
    """What the shape of a tree needs to know of a record. `amount` in units."""

    id: int
    cause_id: int | None
    amount: int | None
    currency: str


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
    net: Decimal | None  # what all of it did to balances; None: nothing, several currencies, or not all is known
    currency: str
    has_amounts: bool  # of those that are shown
    places: int  # that amounts are written with

    @property
    def is_alone(self) -> bool:
        return self.total == 1


def chain_of(
    record_id: int,
    links: Sequence[Link],
    tell: Callable[[Sequence[int]], Iterable[ToldRecord]],
    *,
    is_cut: bool,
    unfolded: Collection[int] = (),
    all_shown: bool = False,
) -> Chain:
    """`links`: of everything in the tree that the reader may see, causes before their effects. `tell`: the records of
    these ids. `unfolded`: whose effects are all shown."""
    causes = {each.id: each.cause_id for each in links}
    effects: Effects = defaultdict(list)
    for each in links:
        effects[each.cause_id if each.cause_id in causes else None].append(each.id)
    way = _way(record_id, causes)
    shown = set(causes) if all_shown else _shown(effects, way, unfolded)
    told = {each.id: each for each in tell([each for each in causes if each in shown])}
    nodes: list[Node] = []
    stack = [(each, 0) for each in reversed(effects[None])]
    while stack:
        id_, depth = stack.pop()
        one, cause = told[id_], told.get(causes[id_] or 0)
        nodes.append(
            Node(
                one,
                depth,
                "this" if id_ == record_id else "cause" if id_ in way else "effect",
                "" if cause is not None and cause.reason == one.reason else one.reason,
                folded=sum(1 + _count(each, effects) for each in effects[id_] if each not in shown),
                unseen_cause=one.cause_id is not None and cause is None,
            )
        )
        stack += [(each, depth + 1) for each in reversed(effects[id_]) if each in shown]
    currencies = sorted({each.currency for each in links if each.amount is not None})
    net = None
    if len(currencies) == 1 and not is_cut:
        net = from_units(sum(each.amount or 0 for each in links))
    return Chain(
        told[record_id], tuple(nodes), len(links), is_cut, net, currencies[0] if currencies else "",
        any(each.amount is not None for each in told.values()), column_places(told.values()),
    )  # fmt: skip


def _shown(effects: Effects, way: Collection[int], unfolded: Collection[int]) -> set[int]:
    """The `way` from the record to its root always, then what is nearest to it, and to what was unfolded."""
    shown = {*way, *effects[None]}
    _spread(effects, shown, dict.fromkeys([*way, *effects[None]]))
    for one in sorted(set(unfolded) & effects.keys()):  # causes first: they may show what else was unfolded
        more = [each for each in effects[one] if each not in shown] if one in shown else []
        shown.update(more)
        _spread(effects, shown, more)
    return shown


def _spread(effects: Effects, shown: set[int], begin: Iterable[int]) -> None:
    """Adds effects of `begin` to what is shown, level by level, until there are enough lines."""
    left, queue = LINES, deque(begin)
    while queue and left > 0:
        beside = [each for each in effects.get(queue.popleft(), ())[:SIDE_BY_SIDE] if each not in shown][:left]
        shown.update(beside)
        queue += beside
        left -= len(beside)


def _way(record_id: int, causes: dict[int, int | None]) -> dict[int, None]:
    """The record and the causes above it, the nearest first."""
    found = {record_id: None}
    cause = causes[record_id]
    while cause is not None and cause in causes and cause not in found:
        found[cause] = None
        cause = causes[cause]
    return found


def _count(record_id: int, effects: Effects) -> int:
    """Of everything below."""
    count, stack = 0, [record_id]
    while stack:
        below = effects.get(stack.pop(), [])
        count += len(below)
        stack += below
    return count
