"""Changes of the rules, on both databases: ordered, checked, optimistic, and each of them in the audit log."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from databases import at_once
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.audit.models import AuditRecord
from ringback.audit.telling import Telling
from ringback.billing.entities import service as entities
from ringback.billing.entities.errors import InUse
from ringback.billing.entities.models import TYPES, Environment
from ringback.changes.schemas import Actor
from ringback.changes.service import changing, do_changing
from ringback.records.engine import UnitOfWork, reading
from ringback.records.wall import EVERYWHERE
from ringback.sessions.nodes.schemas import NodeForm
from ringback.sessions.nodes.service import replace_nodes
from ringback.sessions.ownership import service
from ringback.sessions.ownership.following import read_rules
from ringback.sessions.ownership.rules import ONE_TENANT, Rule, RuleError
from ringback.sessions.ownership.schemas import Evidence, RuleForm, RuleNotFound, RulesChanged
from ringback.sessions.ownership.service import (
    add_rule,
    change_rule,
    list_rules,
    move_rule,
    remove_rule,
    replace_rules,
)

ADMIN = Actor("user", "ada", "console")
A = Rule("domain", "a.example", "a")
B = Rule("domain", "b.example", "b")
C = Rule("address", "192.0.2.0/24", "c")
REST = Rule("everything", "", "default")


def change(engine: Engine, do: Callable[[UnitOfWork, str], object]) -> None:
    version = list_rules(engine).version
    with changing(engine, ADMIN, EVERYWHERE) as work:
        do(work, version)


def put(engine: Engine, *rules: Rule) -> None:
    change(engine, lambda work, version: replace_rules(work, version, rules))


def kept(engine: Engine) -> list[Rule]:
    return [each.rule for each in list_rules(engine).rules]


def told(engine: Engine) -> list[tuple[str, str, dict[str, object]]]:
    with reading(engine, EVERYWHERE) as session:
        found = session.scalars(select(AuditRecord).order_by(AuditRecord.id)).all()
    return [(row.action, row.entity_name, json.loads(row.changes)) for row in found]


def id_of(engine: Engine, rule: Rule) -> int:
    return next(each.id for each in list_rules(engine).rules if each.rule == rule)


def test_everything_is_of_the_default_until_an_administrator_says_otherwise(engine: Engine, records_url: str) -> None:
    assert kept(engine) == [REST]
    assert read_rules(records_url) == ONE_TENANT
    change(engine, lambda work, version: remove_rule(work, version, id_of(engine, REST)))
    assert kept(engine) == []
    assert read_rules(records_url).sole == "unassigned"


def test_a_new_rule_stands_before_the_last_one_for_everything(engine: Engine, records_url: str) -> None:
    change(engine, lambda work, version: add_rule(work, version, A))
    change(engine, lambda work, version: add_rule(work, version, B))
    assert kept(engine) == [A, B, REST]
    assert list(read_rules(records_url).rules) == [A, B, REST]
    change(engine, lambda work, version: remove_rule(work, version, id_of(engine, REST)))
    change(engine, lambda work, version: add_rule(work, version, C))
    assert kept(engine) == [A, B, C]


def test_a_rule_moves_and_the_others_make_room(engine: Engine) -> None:
    put(engine, A, B, C, REST)
    change(engine, lambda work, version: move_rule(work, version, id_of(engine, C), 1))
    assert kept(engine) == [C, A, B, REST]
    change(engine, lambda work, version: move_rule(work, version, id_of(engine, C), 2))
    assert kept(engine) == [A, C, B, REST]
    change(engine, lambda work, version: move_rule(work, version, id_of(engine, A), 99))
    assert kept(engine) == [C, B, REST, A]


def test_every_change_is_in_the_audit_log_and_tells_no_more_than_changed(engine: Engine) -> None:
    put(engine, A, B, REST)
    before = len(told(engine))
    change(
        engine, lambda work, version: change_rule(work, version, id_of(engine, B), Rule("domain", "b.example", "c"))
    )
    change(engine, lambda work, version: move_rule(work, version, id_of(engine, A), 2))
    change(engine, lambda work, version: remove_rule(work, version, id_of(engine, A)))
    records = told(engine)[before:]
    assert sorted((action, name, sorted(changes)) for action, name, changes in records) == [
        ("changed", "domain a.example", ["position"]),
        ("changed", "domain b.example", ["position"]),
        ("changed", "domain b.example", ["target"]),
        ("deleted", "domain a.example", ["kind", "position", "target", "value"]),
    ]
    assert records[0][2]["target"] == ["b", "c"]
    with reading(engine, EVERYWHERE) as session:
        assert {row.actor for row in session.scalars(select(AuditRecord))} == {"ada"}


def test_a_change_made_for_another_list_is_refused(engine: Engine) -> None:
    stale = list_rules(engine).version
    put(engine, A, REST)
    for do in (
        lambda work: add_rule(work, stale, B),
        lambda work: replace_rules(work, stale, []),
        lambda work: remove_rule(work, stale, 1),
    ):
        with pytest.raises(RulesChanged), changing(engine, ADMIN, EVERYWHERE) as work:
            do(work)
    assert kept(engine) == [A, REST]


def test_of_many_who_change_at_once_one_does(engine: Engine) -> None:
    version = list_rules(engine).version

    def one(number: int) -> Callable[[], bool]:
        def work() -> bool:
            rule = Rule("domain", f"d{number}.example", "a")
            try:
                do_changing(engine, ADMIN, EVERYWHERE, lambda work: add_rule(work, version, rule))
            except RulesChanged:
                return False
            return True

        return work

    assert sorted(at_once(*(one(number) for number in range(4)))) == [False, False, False, True]
    assert len(kept(engine)) == 2


def test_the_same_rule_twice_is_refused(engine: Engine) -> None:
    put(engine, A, B)
    with pytest.raises(RuleError, match=r"domain a\.example already, the 1st"):
        change(engine, lambda work, version: add_rule(work, version, Rule("domain", "a.example", "c")))
    with pytest.raises(RuleError) as caught:
        put(engine, A, B, Rule("domain", "b.example", "a"))
    assert caught.value.field == "rules[2].value"
    with pytest.raises(RuleNotFound):
        change(engine, lambda work, version: remove_rule(work, version, 999))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), max_size=8, unique_by=lambda each: each[0]
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_list_comes_back_as_it_was_put(engine: Engine, lists: list[list[tuple[str, str]]]) -> None:
    for each in lists:
        rules = [Rule("domain", f"{name}.example", environment) for name, environment in each]
        put(engine, *rules)
        assert kept(engine) == rules


def test_a_rule_names_an_environment_that_there_is() -> None:
    known = {"default": "Default", "unassigned": "Nobody's"}
    assert service.checked(RuleForm("domain", "A.example", " default "), known, {}) == Rule(
        "domain", "a.example", "default"
    )
    for environment, said in (("", "Choose"), ("nowhere", "no environment nowhere")):
        with pytest.raises(RuleError, match=said) as caught:
            service.checked(RuleForm("domain", "a.example", environment), known, {})
        assert caught.value.field == "environment"


def test_a_node_named_by_its_name_stands_for_what_it_sends_from_when_the_rule_was_made(engine: Engine) -> None:
    """Who may name nodes in an environment cannot take another's traffic by it."""

    def register(*agents: str) -> None:
        with changing(engine, ADMIN, EVERYWHERE) as work:
            replace_nodes(work, "default", [NodeForm("Edge-1", "edge", True, "", agents, ("192.0.2.1",))])

    register("101")
    with changing(engine, ADMIN, EVERYWHERE) as work:
        rule = service.checked(RuleForm("node", "edge-1", "default"), *service.known(work))
    assert rule.senders == ("101", "192.0.2.1")
    put(engine, rule)
    assert list_rules(engine).rules[0].stale is False
    register("101", "102")
    (info,) = list_rules(engine).rules
    assert info.stale
    assert info.rule.senders == ("101", "192.0.2.1")


def test_two_nodes_of_one_name_are_told_apart_by_the_environment() -> None:
    senders: dict[str, dict[str, tuple[str, ...]]] = {"edge": {"a": ("101",), "b": ("102",)}}
    known = {"a": "A", "b": "B", "c": "C"}
    assert service.checked(RuleForm("node", "edge", "b"), known, senders).senders == ("102",)
    with pytest.raises(RuleError, match="Nodes of a, b are called edge"):
        service.checked(RuleForm("node", "edge", "c"), known, senders)
    assert service.checked(RuleForm("node", "101", "c"), known, senders).senders == ()


def test_what_would_become_of_traffic(engine: Engine, records_url: str) -> None:
    put(engine, A, Rule("account", "44%", "b"), Rule("node", "101", "c"), C)
    rules = read_rules(records_url)

    def verdict(**evidence: str) -> tuple[int | None, str]:
        found = service.test_rules(rules, Evidence(**evidence))
        return found.place, found.environment

    assert verdict(request_uri="sip:1@A.example:5060;lr", node="101") == (1, "a")
    assert verdict(sender="447700", node="101") == (2, "b")
    assert verdict(sender='"x" <sip:+44-7700@b.example>') == (2, "b")
    assert verdict(auth_user="447700@b.example") == (2, "b")
    assert verdict(domain="a.example.") == (1, "a")
    assert verdict(node="101", source="192.0.2.1:5060") == (3, "c")
    assert verdict(destination="192.0.2.1") == (4, "c")
    assert verdict() == verdict(source="nonsense", node=" ", sender="<>") == (None, "unassigned")


def test_an_environment_that_a_rule_names_is_not_deleted(engine: Engine) -> None:
    kind = TYPES["environment"]
    with changing(engine, ADMIN, EVERYWHERE) as work:
        tenant = entities.create(
            work, kind, "", {"key": "c", "name": "Tenant c", "currency": "USD", "time_zone": "UTC"}
        )
    assert isinstance(tenant, Environment)
    put(engine, A, C, REST)
    with reading(engine, EVERYWHERE) as session:
        (use,) = service.rules_naming(session, tenant)
    assert (str(use), use.path, use.api) == ("1 rule of traffic", "environments/traffic?q=c", "traffic-rules")
    put(engine, A, REST)
    with reading(engine, EVERYWHERE) as session:
        assert service.rules_naming(session, tenant) == []


def test_no_rule_comes_while_its_environment_goes(engine: Engine) -> None:
    """Of who deletes it and who names it in a rule one is refused, whoever comes first."""
    kind = TYPES["environment"]
    with changing(engine, ADMIN, EVERYWHERE) as work:
        given = {"key": "c", "name": "Tenant c", "currency": "USD", "time_zone": "UTC"}
        tenant = entities.create(work, kind, "", given).id
    version = list_rules(engine).version

    def delete() -> str:
        try:
            do_changing(engine, ADMIN, EVERYWHERE, lambda work: entities.delete(work, kind, "c", tenant))
        except InUse:
            return "kept"
        return "deleted"

    def name_it() -> str:
        def add(work: UnitOfWork) -> None:
            rule = service.checked(RuleForm("domain", "c.example", "c"), *service.known(work))
            add_rule(work, version, rule)

        try:
            do_changing(engine, ADMIN, EVERYWHERE, add)
        except RuleError as error:
            return f"refused: {error.field}"
        return "named"

    assert at_once(delete, name_it) in (["kept", "named"], ["deleted", "refused: environment"])


def test_who_may_not_see_personal_data_reads_no_rule_in_the_audit_log(engine: Engine) -> None:
    """A rule is an address or a number of somebody: in the changes, the sentence and the name."""
    put(engine, Rule("account", "12103355787", "a"), Rule("node", "edge", "a", ("101", "198.51.100.23")), REST)
    put(engine, Rule("account", "12103355788", "a"), REST)

    def read(*permissions: Permission) -> str:
        reader = Principal("user", "ada", ("default",), frozenset(permissions), 1, everywhere=True)
        with reading(engine, EVERYWHERE) as session:
            return repr(Telling(session, reader).tell(session.scalars(select(AuditRecord)).all()))

    masked, clear = read(Permission.AUDIT_READ), read(Permission.AUDIT_READ, Permission.PERSONAL_READ)
    for one in ("12103355787", "12103355788", "198.51.100.23"):
        assert one in clear
        assert one not in masked
    assert "A rule of traffic was added: account 12103355788 is of a." in clear
    assert "A rule of traffic was added: axxxxxx xxxxxxxxxxx is of a." in masked
