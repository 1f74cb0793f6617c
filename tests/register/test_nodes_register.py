"""The node register: what a node may be, and that a capture id or address is one node's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from ringback.billing.entities.checks import sender_address
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records.engine import open_engine
from ringback.records.wall import EVERYWHERE
from ringback.sessions.nodes import service
from ringback.sessions.nodes.schemas import NodeError, NodeForm, NodeNotFound, checked
from ringback.sessions.nodes.service import (
    NodeRegister,
    add_node,
    add_sender,
    change_node,
    list_nodes,
    remove_node,
    replace_nodes,
)
from ringback.sessions.story import NodeInfo

ACTOR = Actor("user", "ann", "console")
EDGE = NodeForm("edge-1", "edge", True, "#1F5FBF", ("101",), ("192.0.2.1", "192.0.2.1:5062"))
CORE = NodeForm("core-1", "core", True, "", ("102",), ("192.0.2.2",))


def add(engine: Engine, *forms: NodeForm, environment: str = "default") -> None:
    with changing(engine, ACTOR, EVERYWHERE) as work:
        for form in forms:
            add_node(work, environment, form)


def test_a_node_comes_back_in_canonical_spelling(engine: Engine) -> None:
    add(engine, EDGE)
    assert list_nodes(engine) == [
        NodeInfo("edge-1", "edge", True, "#1f5fbf", frozenset({"101"}), frozenset({"192.0.2.1", "192.0.2.1:5062"}))
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"kind": "router"}, "kind"),
        ({"colour": "red"}, "colour"),
        ({"colour": "#12345"}, "colour"),
        ({"agents": ("edge",)}, "agents"),
        ({"agents": ("-1",)}, "agents"),
        ({"agents": ("4294967296",)}, "agents"),
        ({"agents": ("١٢",)}, "agents"),
        ({"addresses": ("192.0.2.300",)}, "addresses"),
        ({"addresses": ("192.0.2.1:0",)}, "addresses"),
        ({"addresses": ("192.0.2.1:65536",)}, "addresses"),
        ({"addresses": ("192.0.2.1:",)}, "addresses"),
        ({"addresses": ("192.0.2.0/24",)}, "addresses"),
        ({"addresses": ("[2001:db8::1",)}, "addresses"),
        ({"addresses": ("[2001:db8::1]5060",)}, "addresses"),
        ({"addresses": ("edge.example.net",)}, "addresses"),
        ({"addresses": ("fe80::1%eth0",)}, "addresses"),
        ({"agents": (), "addresses": ("", " ")}, "addresses"),
        ({"addresses": tuple(f"10.0.{n // 250}.{n % 250}" for n in range(1001))}, "addresses"),
    ],
)
def test_a_node_that_will_not_do_is_told_which_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(NodeError) as caught:
        checked(replace(EDGE, **change))  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:05060", "192.0.2.1:5060"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:DB8::1]:5060", "[2001:db8::1]:5060"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_an_address_is_spelled_one_way(typed: str, kept: str) -> None:
    assert checked(replace(EDGE, addresses=(typed,))).addresses == {kept}


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(typed: str) -> None:
    try:
        kept = sender_address(typed)
    except ValueError:
        return
    assert sender_address(kept) == kept


def test_names_and_senders_belong_to_one_node(engine: Engine) -> None:
    add(engine, EDGE)
    with pytest.raises(NodeError, match="a node edge-1 already"):
        add(engine, replace(CORE, name="edge-1"))
    with pytest.raises(NodeError, match="101 belongs to the node edge-1") as caught:
        add(engine, replace(CORE, agents=("0101",)))
    assert caught.value.field == "agents"
    with pytest.raises(NodeError, match=r"192\.0\.2\.1 belongs"):
        add(engine, replace(CORE, addresses=("192.0.2.1",)))
    assert len(list_nodes(engine)) == 1


def test_another_environment_has_its_own_nodes(engine: Engine) -> None:
    add(engine, EDGE)
    add(engine, EDGE, environment="other")
    assert list_nodes(engine) == list_nodes(engine, "other")
    with changing(engine, ACTOR, EVERYWHERE) as work:
        remove_node(work, "other", "edge-1")
    assert len(list_nodes(engine)) == 1


def test_a_node_changes_its_name_and_senders(engine: Engine) -> None:
    add(engine, EDGE, CORE)
    with changing(engine, ACTOR, EVERYWHERE) as work:
        change_node(work, "default", "edge-1", replace(EDGE, name="edge-new", agents=("101", "7"), addresses=()))
    assert {node.name: node.agents for node in list_nodes(engine)} == {
        "core-1": frozenset({"102"}),
        "edge-new": frozenset({"101", "7"}),
    }
    with changing(engine, ACTOR, EVERYWHERE) as work:
        change_node(work, "default", "core-1", replace(CORE, addresses=("192.0.2.1",)))


def test_a_change_may_not_take_what_is_anothers(engine: Engine) -> None:
    add(engine, EDGE, CORE)
    for form in (replace(CORE, name="edge-1"), replace(CORE, addresses=("192.0.2.1",))):
        with pytest.raises(NodeError), changing(engine, ACTOR, EVERYWHERE) as work:
            change_node(work, "default", "core-1", form)
    with pytest.raises(NodeNotFound), changing(engine, ACTOR, EVERYWHERE) as work:
        change_node(work, "default", "nosuch", EDGE)


def test_an_unknown_sender_joins_a_node(engine: Engine) -> None:
    add(engine, EDGE)
    with changing(engine, ACTOR, EVERYWHERE) as work:
        add_sender(work, "default", "edge-1", address="203.0.113.9")
        add_sender(work, "default", "edge-1", agent="103")
    node = list_nodes(engine)[0]
    assert "203.0.113.9" in node.addresses
    assert node.agents == {"101", "103"}
    with pytest.raises(NodeNotFound), changing(engine, ACTOR, EVERYWHERE) as work:
        add_sender(work, "default", "nosuch", agent="9")


def test_the_whole_register_is_replaced_or_nothing(engine: Engine) -> None:
    add(engine, EDGE)
    with changing(engine, ACTOR, EVERYWHERE) as work:
        replace_nodes(work, "default", [CORE, replace(EDGE, name="edge-2")])
    assert [node.name for node in list_nodes(engine)] == ["core-1", "edge-2"]
    with pytest.raises(NodeError) as caught, changing(engine, ACTOR, EVERYWHERE) as work:
        replace_nodes(work, "default", [EDGE, replace(CORE, addresses=("192.0.2.1",))])
    assert caught.value.field == "nodes[1].addresses"
    with pytest.raises(NodeError) as caught, changing(engine, ACTOR, EVERYWHERE) as work:
        replace_nodes(work, "default", [EDGE, replace(CORE, name="edge-1")])
    assert caught.value.field == "nodes[1].name"
    assert [node.name for node in list_nodes(engine)] == ["core-1", "edge-2"]


def test_the_register_sees_what_another_process_changed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [1000.0]
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    register = NodeRegister(engine)
    assert register() == []
    other = open_engine(engine.url.render_as_string(hide_password=False))
    add(other, EDGE)
    other.dispose()
    seconds[0] += 1.9
    assert register() == [], "within its age it asks nobody"
    seconds[0] += 0.2
    assert [node.name for node in register()] == ["edge-1"]


def test_the_register_sees_its_own_change_at_once(engine: Engine) -> None:
    register = NodeRegister(engine)
    assert register() == []
    add(engine, EDGE)
    register.forget()
    assert len(register()) == 1
