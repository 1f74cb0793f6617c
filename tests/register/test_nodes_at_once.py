"""Several hosts change and read the node register at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

import pytest
from sqlalchemy import Engine

from databases import at_once
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records.engine import unit_of_work
from ringback.records.wall import EVERYWHERE
from ringback.sessions.nodes.schemas import NodeError, NodeForm, NodeNotFound
from ringback.sessions.nodes.service import add_node, add_sender, change_node, list_nodes, remove_node, replace_nodes
from ringback.sessions.share.schemas import LONGEST_LIFE
from ringback.sessions.share.service import create_share, list_shares, revoke_share

ACTOR = Actor("user", "ann", "console")
EDGE = NodeForm("edge-1", "edge", True, "", ("101",), ("192.0.2.1",))
CORE = NodeForm("core-1", "core", True, "", ("102",), ("192.0.2.2",))


def done(host: Engine, change: Callable[..., object], *arguments: object) -> str:
    try:
        with changing(host, ACTOR, EVERYWHERE) as work:
            change(work, "default", *arguments)
    except (NodeError, NodeNotFound) as error:
        return type(error).__name__
    return "done"


def test_a_name_is_one_nodes(engine: Engine, hosts: list[Engine]) -> None:
    forms = [replace(EDGE, agents=(str(number),), addresses=()) for number in range(4)]
    came = at_once(*[partial(done, host, add_node, form) for host, form in zip(hosts, forms, strict=True)])
    assert sorted(came) == ["NodeError"] * 3 + ["done"]
    assert len(list_nodes(engine)) == 1


def test_a_sender_is_one_nodes(engine: Engine, hosts: list[Engine]) -> None:
    names = [replace(EDGE, name=f"edge-{number}") for number in range(4)]
    came = at_once(*[partial(done, host, add_node, form) for host, form in zip(hosts, names, strict=True)])
    assert sorted(came) == ["NodeError"] * 3 + ["done"]
    for number in range(4):
        assert done(engine, add_node, NodeForm(f"core-{number}", agents=(f"20{number}",))) == "done"
    came = at_once(*[partial(done, host, add_sender, f"core-{n}", "300") for n, host in enumerate(hosts)])
    assert sorted(came) == ["NodeError"] * 3 + ["done"]


def test_senders_that_are_added_at_once_are_all_kept(engine: Engine, hosts: list[Engine]) -> None:
    assert done(engine, add_node, EDGE) == "done"
    at_once(*[partial(done, host, add_sender, "edge-1", str(n), "") for n, host in enumerate(hosts)])
    (node,) = list_nodes(engine)
    assert node.agents == {"101", "0", "1", "2", "3"}


def test_whoever_reads_sees_a_whole_register(engine: Engine, hosts: list[Engine]) -> None:
    assert done(engine, replace_nodes, [EDGE, CORE]) == "done"
    changing = 3

    def change(host: Engine) -> None:
        nonlocal changing
        try:
            for number in range(8):
                done(host, replace_nodes, [CORE, EDGE])
                done(host, change_node, "edge-1", replace(EDGE, kind="gateway"))
                done(host, remove_node, "core-1")
                done(host, add_node, replace(CORE, addresses=(f"192.0.2.{10 + number}",)))
        finally:
            changing -= 1

    def read(host: Engine) -> int:
        looks = 0
        while changing:
            looks += 1
            for node in list_nodes(host):
                assert node.agents, "a node has its senders in every view of it"
                assert node.addresses
        return looks

    *_, looks = at_once(*[partial(change, host) for host in hosts[:3]], partial(read, hosts[3]))
    assert looks
    assert {node.name for node in list_nodes(engine)} == {"core-1", "edge-1"}


def test_a_link_that_is_revoked_twice_keeps_the_first_time(engine: Engine, hosts: list[Engine]) -> None:
    with unit_of_work(engine, EVERYWHERE) as work:
        link, _ = create_share(work, "default", "s1", "ann", LONGEST_LIFE)

    def revoke(host: Engine) -> datetime | None:
        with unit_of_work(host, EVERYWHERE) as work:
            revoke_share(work, ("default",), link.id)
        return list_shares(host, ("default",))[0].revoked_at

    assert len(set(at_once(*[partial(revoke, host) for host in hosts]))) == 1


def test_a_link_whose_number_is_none_is_not_found(engine: Engine) -> None:
    for number in (1 << 63, 10**30, -(1 << 63)):
        with pytest.raises(LookupError), unit_of_work(engine, EVERYWHERE) as work:
            revoke_share(work, ("default",), number)
