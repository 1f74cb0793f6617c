"""Each entity type through the same life, on both databases: what holds for one holds for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, delete, insert, select, text, update

from goods import ANN, BOB, NAMES, World, changed
from ringback.audit.models import AuditRecord
from ringback.billing.entities.errors import EntityErrors, EntityNotFound, InUse, StaleVersion
from ringback.billing.entities.fields import Kind, describe
from ringback.billing.entities.models import ENTITIES, TYPES
from ringback.billing.entities.queries import ListQuery, page, titles
from ringback.billing.entities.service import create
from ringback.billing.entities.tables import cells
from ringback.billing.entities.values import plain, read
from ringback.changes.schemas import SECRET
from ringback.changes.service import changing
from ringback.changes.tracked import UntrackedChange, tracked_tables
from ringback.records.engine import reading
from ringback.records.secrets import SecretsUnavailable, ring
from ringback.records.wall import EVERYWHERE

every = pytest.mark.parametrize("name", NAMES)


def records(engine: Engine, name: str, id_: int) -> list[AuditRecord]:
    of_it = select(AuditRecord).where(AuditRecord.entity_type == name, AuditRecord.entity_id == str(id_))
    with reading(engine, EVERYWHERE) as session:
        return list(session.scalars(of_it.order_by(AuditRecord.id)))


def test_types_and_fields_are_named_once() -> None:
    assert len(TYPES) == len(ENTITIES) == 16
    for attribute in ("path", "id_name", "label", "plural"):
        assert len({getattr(kind.about, attribute) for kind in TYPES.values()}) == len(TYPES)
    for kind in TYPES.values():
        names = [field.api for field in kind.fields]
        assert len(names) == len(set(names)), kind.name
        assert not {kind.about.id_name, "version", "created_at"} & set(names)
        assert describe(kind.model) is kind
        for field in kind.fields:
            assert field.links_to in {"", *TYPES}
            assert field.kind is not Kind.LINK or field.api.startswith("i_")


@every
def test_an_entity_lives(world: World, name: str) -> None:
    kind = TYPES[name]
    given = world.given(name)
    id_ = world.make(name, **given)
    row = world.read(name, id_)
    assert row.version == 1
    for key, value in given.items():
        field = kind[key]
        assert getattr(row, field.name) == read(field, value), key
    theirs = changed(name, world)
    after = world.change(name, id_, theirs, 1)
    assert after.version == 2
    for key, value in theirs.items():
        assert getattr(world.read(name, id_), kind[key].name) == read(kind[key], value)
    assert world.change(name, id_, theirs, 2).version == 2, "nothing is other: nothing is written"
    made, then = records(world.engine, name, id_)
    assert (made.action, made.version, made.actor) == ("created", 1, "ann")
    assert (then.action, then.version) == ("changed", 2)
    assert set(orjson.loads(then.changes)) == {kind[key].name for key in theirs}
    world.delete(name, id_, 2)
    with reading(world.engine, EVERYWHERE) as session:
        assert session.get(kind.model, id_) is None
    assert records(world.engine, name, id_)[-1].action == "deleted"
    assert world.make(name) > id_, "its audit log is nobody else's"


@every
def test_a_stale_change_is_told_what_others_did(world: World, name: str) -> None:
    id_ = world.make(name)
    theirs = changed(name, world)
    world.change(name, id_, theirs, 1, BOB)
    with pytest.raises(StaleVersion) as caught:
        world.change(name, id_, theirs, 1)
    assert caught.value.version == 2
    assert {each.field for each in caught.value.changes} == {TYPES[name][key].name for key in theirs}
    for each in caught.value.changes:
        field = TYPES[name][each.field]
        assert each.now == plain(read(field, theirs[field.api]))
        assert (each.who, each.label) == ("bob", field.label)
        assert each.at is not None
    with pytest.raises(StaleVersion):
        world.delete(name, id_, 1)


@every
def test_all_that_is_wrong_is_told_at_once(world: World, name: str) -> None:
    kind = TYPES[name]
    with reading(world.engine, EVERYWHERE) as session:
        there = set(session.scalars(select(kind.model.id)))
    with pytest.raises(EntityErrors) as caught, changing(world.engine, ANN, world.environments(name)) as work:
        create(work, kind, world.environment, {"no_such_field": 1})
    needed = {field.name for field in kind.fields if field.needed}
    assert {"no_such_field", *needed} <= caught.value.errors.keys()
    assert all(sentence.endswith(".") for sentence in caught.value.errors.values())
    wrong: dict[str, object] = {}
    for field in kind.fields:
        if field.kind is not Kind.LINK and not field.kept:
            wrong[field.name] = {"a": 1j} if field.kind is Kind.PAIRS else object()
    with pytest.raises(EntityErrors) as caught, changing(world.engine, ANN, world.environments(name)) as work:
        create(work, kind, world.environment, wrong)
    assert wrong.keys() <= caught.value.errors.keys()
    with reading(world.engine, EVERYWHERE) as session:
        assert set(session.scalars(select(kind.model.id))) == there


@every
def test_what_is_kept_or_fixed_is_not_changed(world: World, name: str) -> None:
    kind = TYPES[name]
    id_ = world.make(name)
    others = world.given(name)
    for field in kind.fields:
        if field.kept:
            with pytest.raises(EntityErrors, match="kept by Ringback"):
                world.change(name, id_, {field.name: "5"})
        elif field.fixed:
            row = world.read(name, id_)
            same = getattr(row, field.name)
            world.change(name, id_, {field.name: same})
            if field.api in others and read(field, others[field.api]) != same:
                with pytest.raises(EntityErrors, match="cannot be changed"):
                    world.change(name, id_, {field.name: others[field.api]})


@every
def test_no_two_are_the_same(world: World, name: str) -> None:
    kind = TYPES[name]
    given = world.given(name)
    id_ = world.make(name, **given)
    keys = [(field.name,) for field in kind.fields if field.unique] + ([kind.about.key] if kind.about.key else [])
    assert keys
    for names in keys:
        fresh = world.given(name)
        for each in names:
            fresh.pop(kind[each].api, None)
            fresh[each] = plain(getattr(world.read(name, id_), each))
        if name == "account_add_on":
            continue  # told by the rule about overlapping times, in its own test
        with pytest.raises(EntityErrors) as caught:
            world.make(name, **{kind[key].name: value for key, value in fresh.items()})
        assert names[-1] in caught.value.errors
        assert f"#{id_}" in caught.value.errors[names[-1]]


@every
def test_a_link_leads_to_what_there_is_here(world: World, name: str) -> None:
    elsewhere = World(world.engine, f"{world.environment}-elsewhere")
    given = world.given(name)
    for field in TYPES[name].fields:
        if not field.links_to:
            continue
        theirs = elsewhere.one(field.links_to)
        for wrong in (
            theirs,
            f"#{theirs}",
            10**9,
            -1,
            2**70,
            "no such",
            plain(title(elsewhere, field.links_to, theirs)),
        ):
            with pytest.raises(EntityErrors) as caught:
                world.make(name, **given | {field.api: wrong})
            assert caught.value.errors[field.name].startswith("There is no "), wrong


def title(world: World, name: str, id_: int) -> str:
    return f"{getattr(world.read(name, id_), TYPES[name].about.title)} of another"


@every
def test_another_environments_entity_is_not_there(world: World, name: str) -> None:
    if name == "environment":
        return  # it is its own
    id_ = world.make(name)
    stranger = World(world.engine, "elsewhere")
    with pytest.raises(EntityNotFound):
        stranger.change(name, id_, changed(name, world))
    with pytest.raises(EntityNotFound):
        stranger.delete(name, id_)


@every
def test_what_is_in_use_is_not_deleted(world: World, name: str) -> None:
    users = [(kind, field) for kind in TYPES.values() for field in kind.fields if field.links_to == name]
    for kind, field in users:
        if kind.name == name:
            continue
        world.forget()
        its = world.make(kind.name, **_linked_to(world, kind.name, field.api, name))
        target = getattr(world.read(kind.name, its), field.name)
        with pytest.raises(InUse) as caught:
            world.delete(name, target)
        assert kind.name in {use.type for use in caught.value.uses}
        assert all(use.count >= 1 for use in caught.value.uses)
        assert "used by" in str(caught.value)


def _linked_to(world: World, name: str, api: str, target: str) -> dict[str, Any]:
    more: dict[str, Any] = {} if name == "account_add_on" else {api: world.one(target)}
    if name == "did_number":
        more["state"] = "assigned"
    if name == "sim_card":
        more["status"] = "in_use"
    return more


@every
def test_no_statement_goes_past_the_audit_log(world: World, name: str) -> None:
    model = TYPES[name].model
    id_ = world.make(name)
    table: Any = model.__table__
    assert table.name in tracked_tables()
    column = next(iter(TYPES[name].fields)).name
    ways: list[Any] = [
        update(model).values({column: "x"}),
        update(table).values({column: "x"}),
        delete(model),
        delete(table).where(table.c.id == id_),
        insert(model),
        insert(table),
        text(f"UPDATE {table.name} SET {column} = 'x'"),
        text(f'/* no harm */ dElEtE\nfrom "{table.name}"'),
        text(f"WITH q AS (SELECT 1) UPDATE {table.name} SET version = 9"),
    ]
    for statement in ways:
        with pytest.raises(UntrackedChange), changing(world.engine, ANN, EVERYWHERE) as work:
            work.execute(statement)
    with pytest.raises(UntrackedChange), changing(world.engine, ANN, EVERYWHERE) as work:
        work.execute(insert(model), [{"environment": world.environment, column: "x"}])
    with pytest.raises(UntrackedChange), changing(world.engine, ANN, EVERYWHERE) as work:
        work.connection().exec_driver_sql(f"DELETE FROM {table.name}")
    assert world.read(name, id_).version == 1


@every
def test_secrets_are_sealed_and_in_no_record(world: World, name: str) -> None:
    kind = TYPES[name]
    secrets = [field for field in kind.fields if field.secret]
    given = {field.api: f"{number}5712{number}" for number, field in enumerate(secrets)}
    id_ = world.make(name, **given)
    if not secrets:
        return
    row = world.read(name, id_)
    assert [getattr(row, field.name) for field in secrets] == list(given.values())
    world.change(name, id_, {field.api: "999999" for field in secrets})
    table: Any = kind.model.__table__
    columns = [table.c[field.name] for field in secrets]
    with world.engine.connect() as connection:
        stored = connection.exec_driver_sql(
            f"SELECT {', '.join(column.name for column in columns)} FROM {table.name} WHERE id = {id_}"
        ).one()
    for at_rest in stored:
        assert at_rest.startswith("s1:")
        assert "999999" not in at_rest
    for record in records(world.engine, name, id_):
        told = orjson.loads(record.changes)
        assert not {"999999", *given.values()} & set(record.changes.split('"'))
        assert all(SECRET in told[field.name] for field in secrets)


@every
def test_lists_links_and_changes_of_others_fields_open_no_secret(world: World, name: str, tmp_path: Path) -> None:
    """With the key they were sealed with out of reach, only what is about them does not go on."""
    kind = TYPES[name]
    secret = next((field for field in kind.fields if field.secret), None)
    if secret is None:
        return
    id_ = world.make(name, **{secret.api: "57125712"})
    with other_key(tmp_path), reading(world.engine, (world.environment,)) as session:
        found = page(session, kind, ListQuery(), sees_personal=True).rows
        assert list(cells(session, kind, found, sees_personal=True))
        assert titles(session, kind, [id_])
        world.change(name, id_, changed(name, world))
        with pytest.raises(SecretsUnavailable):
            getattr(session.get_one(kind.model, id_), secret.name)
    world.change(name, id_, {secret.api: None})
    assert orjson.loads(records(world.engine, name, id_)[-1].changes) == {secret.name: [SECRET, None]}


@pytest.mark.parametrize("name", ["account", "cpe", "sim_card"])
def test_a_secret_that_was_not_read_is_told_right_when_it_changes(world: World, name: str) -> None:
    kind = TYPES[name]
    first, *_ = [field for field in kind.fields if field.secret]
    id_ = world.make(name, **{first.api: "11111111"})
    for new, told in (
        ("11111111", None),
        ("22222222", [SECRET, SECRET]),
        (None, [SECRET, None]),
        ("3", [None, SECRET]),
    ):
        with changing(world.engine, ANN, (world.environment,)) as work:
            setattr(work.get_one(kind.model, id_), first.name, new)
        last = records(world.engine, name, id_)[-1]
        assert (orjson.loads(last.changes) if told else last.action) == ({first.name: told} if told else "created")
    world.delete(name, id_)
    assert orjson.loads(records(world.engine, name, id_)[-1].changes)[first.name] == [SECRET, None]


@contextmanager
def other_key(folder: Path) -> Iterator[None]:
    was = ring._path
    ring.use(folder / "another.key")
    try:
        yield
    finally:
        assert was
        ring.use(was)
