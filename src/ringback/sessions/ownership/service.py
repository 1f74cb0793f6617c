"""What can be done with the rules of ownership: look, change, try out. Every change is made in `changing(...)`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import orjson
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ringback import clock
from ringback.billing.entities.errors import Use
from ringback.billing.entities.fields import Entity
from ringback.billing.entities.models import Environment
from ringback.billing.entities.service import needed_by
from ringback.records.engine import UnitOfWork, reading
from ringback.records.environments import UNASSIGNED
from ringback.records.wall import EVERYWHERE
from ringback.sessions.numbers import digits
from ringback.sessions.ownership import queries
from ringback.sessions.ownership.models import TrafficRule
from ringback.sessions.ownership.parties import domain_of, plain_domain, user_of
from ringback.sessions.ownership.queries import Senders
from ringback.sessions.ownership.rules import MOST_RULES, Rule, RuleError, Traffic, TrafficRules, canonical, socket_of
from ringback.sessions.ownership.schemas import (
    Evidence,
    RuleForm,
    RuleInfo,
    RuleList,
    RuleNotFound,
    RulesChanged,
    Verdict,
)

MAX_AGE_SECONDS = 2.0


class RuleRegister:
    """The rules in force, for a process that answers requests: a change by any process shows after two seconds.

    Thread-safe: the worst that two threads can do is look twice.
    """

    def __init__(self, engine: Engine, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self._engine = engine
        self._max_age = max_age_seconds
        self._seen: tuple[float, TrafficRules] | None = None

    def __call__(self) -> TrafficRules:
        now = time.monotonic()
        if self._seen is not None and now - self._seen[0] < self._max_age:
            return self._seen[1]
        rules = queries.rules_in_force(self._engine)
        self._seen = now, rules
        return rules

    def forget(self) -> None:
        """The next look is fresh: called where this process made the change."""
        self._seen = None


def list_rules(engine: Engine) -> RuleList:
    with reading(engine, EVERYWHERE) as session:
        senders = queries.senders_of_nodes(session)
        found = [(row.id, queries.as_rule(row)) for row in queries.rows(session)]
    infos = tuple(
        RuleInfo(each, rule, stale=rule.kind == "node" and _senders(rule, senders) != rule.senders)
        for each, rule in found
    )
    return RuleList(_version([rule for _, rule in found]), infos)


def environments(engine: Engine) -> dict[str, str]:
    """Key -> name of those that traffic can be given to; last the one of what is unassigned."""
    with reading(engine, EVERYWHERE) as session:
        return _environments(session)


def known(work: UnitOfWork) -> tuple[dict[str, str], Senders]:
    """What `checked` looks at. None of the environments goes before the work ends.

    Nodes are of the registers of all environments. A rule takes over what its node sends from when it is made, and not
    what the node's register says later: who may name nodes in one environment shall not move traffic between them.
    """
    queries.lock_rules(work)
    return _environments(work), queries.senders_of_nodes(work)


def checked(form: RuleForm, known: dict[str, str], senders: Senders) -> Rule:
    """The rule in canonical spelling. Raises RuleError."""
    value = canonical(form.kind, form.value)
    environment = form.environment.strip()
    if environment not in known:
        raise RuleError(
            "environment",
            f"There is no environment {environment}." if environment else "Choose the environment that it comes to.",
        )
    rule = Rule(form.kind, value, environment)
    if form.kind != "node":
        return rule
    of_name = senders.get(value.lower(), {})
    if environment not in of_name and len(of_name) > 1:
        raise RuleError(
            "value",
            f"Nodes of {', '.join(sorted(of_name))} are called {value}: give the capture id of the one you mean.",
        )
    return replace(rule, senders=_senders(rule, senders))


def add_rule(work: UnitOfWork, version: str, rule: Rule) -> int:
    """Behind the others, but before a last rule for everything. Returns its place, from 1. Raises RuleError,
    RulesChanged."""
    rows = _locked(work, version)
    place = len(rows)
    if rows and rows[-1].kind == "everything":
        place -= 1
    _check_list([*(queries.as_rule(row) for row in rows), rule])
    rows.insert(place, _row(rule))
    _number(work, rows)
    return place + 1


def change_rule(work: UnitOfWork, version: str, rule_id: int, rule: Rule, place: int = 0) -> None:
    """`place`: see `move_rule`; 0: where it is. Raises RuleNotFound, RuleError, RulesChanged."""
    rows = _locked(work, version)
    row = _found(rows, rule_id)
    _check_list([rule if each is row else queries.as_rule(each) for each in rows])
    _take_over(row, rule)
    if place:
        _move(rows, row, place)


def move_rule(work: UnitOfWork, version: str, rule_id: int, place: int) -> None:
    """To this place of the list, from 1; the rules between make room. Raises RuleNotFound, RulesChanged."""
    rows = _locked(work, version)
    _move(rows, _found(rows, rule_id), place)


def remove_rule(work: UnitOfWork, version: str, rule_id: int) -> None:
    """Raises RuleNotFound, RulesChanged."""
    rows = _locked(work, version)
    work.delete(_found(rows, rule_id))


def replace_rules(work: UnitOfWork, version: str, rules: Sequence[Rule]) -> None:
    """The whole list at once; what stays the same rule stays the same row. Raises RuleError, its field like
    ``rules[2].value``, RulesChanged."""
    rows = _locked(work, version)
    _check_list(rules, "rules[{}].value")
    kept = {(row.kind, row.value): row for row in rows}
    made = []
    for rule in rules:
        row = kept.pop((rule.kind, rule.value), None) or _row(rule)
        _take_over(row, rule)
        made.append(row)
    for row in kept.values():
        work.delete(row)
    _number(work, made)


def rules_naming(session: Session, entity: Entity) -> list[Use]:
    """Rules that give traffic to an environment keep it from being deleted. Nobody adds one meanwhile."""
    if not isinstance(entity, Environment):
        return []
    if isinstance(session, UnitOfWork):
        queries.lock_rules(session)
    count = queries.count_of(session, entity.key)
    label = "rule of traffic" if count == 1 else "rules of traffic"
    path = f"environments/traffic?q={entity.key}"
    return [Use("traffic_rule", label, count, path, "", "traffic-rules")] if count else []


def test_rules(rules: TrafficRules, evidence: Evidence) -> Verdict:
    """What would become of traffic like that."""
    uris = (evidence.request_uri, evidence.sender, evidence.recipient)
    users = [user_of(uri) or ("" if domain_of(uri) else uri) for uri in uris]
    place = rules.match(
        Traffic(
            nodes=[evidence.node.strip()] if evidence.node.strip() else [],
            sockets=[socket_of(each) for each in (evidence.source, evidence.destination) if each.strip()],
            domains=[each for each in (plain_domain(evidence.domain), *map(domain_of, uris)) if each],
            numbers=[
                word
                for each in (*users, evidence.auth_user.partition("@")[0], evidence.account)
                if (word := digits(each))
            ],
        )
    )
    if place is None:
        return Verdict(None, None, UNASSIGNED)
    return Verdict(place + 1, rules.rules[place], rules.rules[place].environment)


def _environments(session: Session) -> dict[str, str]:
    return queries.environments(session) | {UNASSIGNED: "Unassigned: seen by administrators only"}


def _senders(rule: Rule, senders: Senders) -> tuple[str, ...]:
    """Of the node of that name in the rule's environment, else of the only one of that name."""
    of_name = senders.get(rule.value.lower(), {})
    if rule.environment in of_name:
        return of_name[rule.environment]
    return next(iter(of_name.values())) if len(of_name) == 1 else ()


def _version(rules: Sequence[Rule]) -> str:
    document = [[rule.kind, rule.value, rule.environment, rule.senders] for rule in rules]
    return sha256(orjson.dumps(document)).hexdigest()[:16]


def _locked(work: UnitOfWork, version: str) -> list[TrafficRule]:
    rows = queries.locked_rows(work)
    if _version([queries.as_rule(row) for row in rows]) != version:
        raise RulesChanged
    return rows


def _found(rows: Sequence[TrafficRule], rule_id: int) -> TrafficRule:
    for row in rows:
        if row.id == rule_id:
            return row
    raise RuleNotFound(f"There is no rule {rule_id} any more.")


def _check_list(rules: Sequence[Rule], field: str = "value") -> None:
    if len(rules) > MOST_RULES:
        raise RuleError("rules", f"{len(rules)} rules; at most {MOST_RULES} are kept.")
    places: dict[tuple[str, str], int] = {}
    for place, rule in enumerate(rules, 1):
        key = rule.kind, rule.value.lower()
        if key in places:
            what = f"{rule.kind} {rule.value}".strip()
            raise RuleError(
                field.format(place - 1),
                f"There is a rule for {what} already, the {ordinal(places[key])}: only the first counts.",
            )
        places[key] = place


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _move(rows: list[TrafficRule], row: TrafficRule, place: int) -> None:
    positions = [each.position for each in rows]
    rows.remove(row)
    rows.insert(place - 1, row)
    for each, position in zip(rows, positions, strict=True):
        if each.position != position:
            each.position = position


def _row(rule: Rule) -> TrafficRule:
    return TrafficRule(
        kind=rule.kind,
        value=rule.value,
        target=rule.environment,
        senders=", ".join(rule.senders),
        changed_at=clock.now(),
    )


def _take_over(row: TrafficRule, rule: Rule) -> None:
    said = (rule.kind, rule.value, rule.environment, ", ".join(rule.senders))
    if said != (row.kind, row.value, row.target, row.senders):
        row.kind, row.value, row.target, row.senders = said
        row.changed_at = clock.now()


def _number(work: UnitOfWork, rows: Sequence[TrafficRule]) -> None:
    """In this order. Positions may have gaps: a rule that is where it was is not changed."""
    last = 0
    for row in rows:
        if row.position is None or row.position <= last:
            row.position = last + 1
        last = row.position
    work.add_all(rows)


needed_by(rules_naming)
