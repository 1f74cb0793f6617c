"""However a tree of causes looks, its view shows the way to the record, and what is folded is counted and can be unfolded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ringback.audit.chain import LINES, SIDE_BY_SIDE, Chain, Link, chain_of
from ringback.audit.telling import ToldRecord

_EMPTY: dict[str, Any] = dict.fromkeys(ToldRecord.__slots__, "")


def view(links: Sequence[Link], record_id: int, **how: Any) -> Chain:
    causes = {each.id: each for each in links}

    def tell(ids: Sequence[int]) -> list[ToldRecord]:
        return [
            ToldRecord(
                **_EMPTY
                | {
                    "id": id_,
                    "cause_id": causes[id_].cause_id,
                    "amount": None,
                    "balance_after": None,
                    "reason": "why",
                }
            )
            for id_ in ids
        ]

    return chain_of(record_id, links, tell, **{"is_cut": False} | how)


def tree(causes: Sequence[int | None], amount: int | None = None) -> list[Link]:
    """Of records 1, 2, 3 ...; each with its cause."""
    return [Link(number, cause, amount, "USD") for number, cause in enumerate(causes, 1)]


TREES = st.lists(st.integers(0, 10**6), max_size=400).map(
    lambda found: tree([None, *(1 + each % number for number, each in enumerate(found, 1))])
)


@given(links=TREES, data=st.data())
def test_every_record_is_shown_or_counted_where_it_folds(links: list[Link], data: st.DataObject) -> None:
    ids = [each.id for each in links]
    record_id = data.draw(st.sampled_from(ids))
    unfolded = data.draw(st.lists(st.sampled_from([*ids, 10**9]), max_size=3))
    chain = view(links, record_id, unfolded=unfolded)
    causes = {each.id: each.cause_id for each in links}
    shown = {node.record.id for node in chain.nodes}
    assert len(shown) == len(chain.nodes)
    assert len(chain.nodes) + sum(node.folded for node in chain.nodes) == chain.total == len(links)
    step: int | None = record_id
    way = 0
    while step is not None:
        assert step in shown
        step, way = causes[step], way + 1
    if not unfolded:
        assert len(chain.nodes) <= way + LINES
    children = defaultdict(set)
    for id_, cause in causes.items():
        children[cause].add(id_)
    for node in chain.nodes:
        if node.record.id in unfolded:
            assert children[node.record.id] <= shown
            assert node.folded == 0
    whole = view(links, record_id, all_shown=True)
    assert {node.record.id for node in whole.nodes} == set(ids)
    depths = {node.record.id: node.depth for node in whole.nodes}
    assert all(depths[id_] == (depths[cause] + 1 if cause else 0) for id_, cause in causes.items())


def test_of_a_large_tree_only_what_is_nearest_is_told() -> None:
    links = tree([None, *(1 + number // 4 for number in range(499))])
    chain = view(links, 300)
    assert chain.total == 500
    assert 300 // 20 < len(chain.nodes) <= LINES + 6
    beside = {each.id for each in links if each.cause_id == links[299].cause_id}
    assert beside <= {node.record.id for node in chain.nodes}
    folded = next(node for node in chain.nodes if node.folded)
    more = view(links, 300, unfolded=[folded.record.id])
    assert len(more.nodes) > len(chain.nodes)


def test_effects_side_by_side_fold_but_not_the_one_that_is_looked_at() -> None:
    chain = view(tree([None, *[1] * 40]), 41)
    assert [node.record.id for node in chain.nodes] == [1, *range(2, 2 + SIDE_BY_SIDE), 41]
    assert chain.nodes[0].folded == 40 - SIDE_BY_SIDE - 1
    assert [node.relation for node in chain.nodes] == ["cause", *["effect"] * SIDE_BY_SIDE, "this"]


def test_what_is_folded_counts_in_what_all_of_it_did() -> None:
    chain = view(tree([None, *[1] * 40], amount=100_000), 1)
    assert chain.net == Decimal(41)
    assert view(tree([None], amount=1), 1, is_cut=True).net is None, "there is more"
    assert view([Link(1, None, 1, "USD"), Link(2, 1, 1, "EUR")], 1).net is None


def test_a_cause_that_cannot_be_seen_is_told_and_a_reason_only_once() -> None:
    chain = view(tree([10**6, 1, 10**6]), 2)
    assert [(node.record.id, node.depth, node.unseen_cause) for node in chain.nodes] == [
        (1, 0, True), (2, 1, False), (3, 0, True),
    ]  # fmt: skip
    assert [node.reason for node in chain.nodes] == ["why", "", "why"]
