"""Random edits of random entities; then every entity's state is rebuilt from its audit records alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from goods import ANN, NAMES, World, changed
from ringback.audit.models import AuditRecord
from ringback.billing.entities.errors import EntityErrors, InUse
from ringback.billing.entities.fields import EntityType
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.service import change
from ringback.billing.entities.values import plain
from ringback.changes.schemas import SECRET
from ringback.changes.service import changing
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
EDITS = st.lists(
    st.tuples(st.sampled_from(["make", "change", "again", "delete", "break"]), st.sampled_from(NAMES), TEXTS,
              st.integers(0, 10**6)),
    min_size=5, max_size=20,
)  # fmt: skip


def rebuilt(engine: Engine, begun: dict[tuple[str, int], dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """(type, id) -> field -> value, of what its records say there is; `begun`: what a migration made."""
    found = {key: dict(state) for key, state in begun.items()}
    with reading(engine, EVERYWHERE) as session:
        told = select(AuditRecord).where(AuditRecord.entity_type.in_(NAMES), AuditRecord.entity_id != "")
        for record in session.scalars(told.order_by(AuditRecord.id)):
            key = record.entity_type, int(record.entity_id)
            changes = orjson.loads(record.changes)
            if record.action == "created":
                assert key not in found
                found[key] = {"version": 1}
            state = found[key]
            for name, (old, new) in changes.items():
                if record.action != "created":
                    assert state.get(name, empty(TYPES[key[0]], name)) == old, (key, name)
                state[name] = new
            if record.action == "deleted":
                del found[key]
            else:
                state["version"] = record.version
    return found


def empty(kind: EntityType, name: str) -> Any:
    return plain(kind[name].empty)


def stored(engine: Engine) -> dict[tuple[str, int], dict[str, Any]]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with reading(engine, EVERYWHERE) as session:
        for kind in TYPES.values():
            for row in session.scalars(select(kind.model)):
                state: dict[str, Any] = {"version": row.version}
                for field in kind.fields:
                    if field.kept:
                        continue  # its records are those of what moved it
                    value = getattr(row, field.name)
                    state[field.name] = (SECRET if value else None) if field.secret else plain(value)
                found[kind.name, row.id] = state
    return found


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # the next example begins where this one left off
)
@given(EDITS)
def test_records_tell_the_whole_state(engine: Engine, edits: list[tuple[str, str, str, int]]) -> None:
    if engine not in worlds:
        worlds[engine] = World(engine), stored(engine)
    world, begun = worlds[engine]
    for what, name, text, number in edits:
        kind = TYPES[name]
        with reading(engine, EVERYWHERE) as session:
            ids = list(session.scalars(select(kind.model.id).order_by(kind.model.id)))
        one = ids[number % len(ids)] if ids else None
        try:
            if what == "make" or one is None:
                world.make(name)
            elif what == "change":
                world.change(name, one, changed(name, world) | first_text(kind, text))
            elif what == "again":
                world.change(
                    name, one, {field.name: None for field in kind.fields if not field.required and not field.fixed}
                )
            elif what == "delete":
                world.delete(name, one)
                world.forget()
            else:
                broken(world, name, one, text)
        except (EntityErrors, InUse):
            continue
    told, there = rebuilt(engine, begun), stored(engine)
    assert told.keys() == there.keys()
    for key, state in there.items():
        kind = TYPES[key[0]]
        said = {name: told[key].get(name, empty(kind, name) if name != "version" else 1) for name in state}
        assert said == state, key


worlds: dict[Engine, tuple[World, dict[tuple[str, int], dict[str, Any]]]] = {}


def first_text(kind: EntityType, text: str) -> dict[str, object]:
    free = [
        field
        for field in kind.fields
        if field.kind == "text" and not field.check and not field.unique and not field.fixed
    ]
    return {free[0].name: text} if free else {}


def broken(world: World, name: str, id_: int, text: str) -> None:
    """Half a change, and then an error: nothing of it happened."""
    with pytest.raises(ZeroDivisionError):
        half(world, name, id_, changed(name, world) | first_text(TYPES[name], text))


def half(world: World, name: str, id_: int, given_: dict[str, object]) -> None:
    with changing(world.engine, ANN, EVERYWHERE) as work:
        change(work, TYPES[name], world.of(work, TYPES[name], id_), id_, given_, None)
        raise ZeroDivisionError
