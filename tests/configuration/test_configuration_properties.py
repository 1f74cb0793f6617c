"""Whatever is saved, verified, applied and rolled back, by whomever: what holds stays in bounds, and the history alone
rebuilds it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from settled import ANN, BOB, Room, room
from sqlalchemy import select

from ringback.audit.models import AuditRecord
from ringback.changes.schemas import Actor
from ringback.configuration.kinds import Json
from ringback.configuration.schemas import ConfigurationError, Entry
from ringback.records.engine import open_engine, reading
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE

SCOPES = (INSTALLATION, "default", "b")
NAMES = ("Tasks.Age", "Access.Words", "Access.Strict", "Sessions.Life", "Sessions.Note", "Capture.Keys", "None.Such")
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 4000),
    st.sampled_from(["few", "many", "yes", "30", "3650", "a b", "", "Z", "0"]),
    st.fixed_dictionaries({"add": st.lists(st.sampled_from(["k1", "k2", "k3"]), max_size=4)}),
    st.lists(st.integers(), max_size=1),
)
scopes = st.sampled_from(SCOPES)
versions = st.sampled_from([None, None, 0, 1, 2, 3])
steps = st.one_of(
    st.tuples(
        st.just("save"), scopes, st.dictionaries(st.sampled_from(NAMES), values, max_size=3), versions, st.booleans()
    ),
    st.tuples(st.just("verify"), scopes),
    st.tuples(st.just("apply"), scopes, st.booleans()),  # what was verified in this run, or anything
    st.tuples(st.just("roll back"), scopes, st.integers(0, 6), versions),
    st.tuples(st.just("all three"), scopes, st.dictionaries(st.sampled_from(NAMES[:6]), values, max_size=3)),
)


@contextmanager
def fresh(template: Path) -> Iterator[Room]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.sqlite"
        path.write_bytes(template.read_bytes())
        engine = open_engine(f"sqlite:///{path}")
        try:
            yield room(engine, Path(folder))
        finally:
            engine.dispose()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=st.lists(steps, max_size=14))
def test_any_sequence_ends_in_bounds_and_its_history_rebuilds_it(
    taken: list[tuple[Any, ...]], sqlite_template: Path
) -> None:
    with fresh(sqlite_template) as here:
        tokens: dict[str, str] = {}
        applied: list[Entry] = []
        for number, step in enumerate(taken):
            with suppress(ConfigurationError):  # refused: and then nothing of it happened, which the end tells
                applied += take(here, step, tokens, ANN if number % 2 else BOB)
        for scope in SCOPES:
            history = here.service.history(scope)[::-1]
            assert [each.id for each in history] == [each.id for each in applied if each.scope == scope]
            rebuilt: dict[str, Json] = {}
            for entry in history:
                for change in entry.changes:
                    assert rebuilt.get(change.name) == change.old, "each entry goes on from the one before"
                    rebuilt[change.name] = change.new
            here.current.refresh()
            for state in here.service.overview(scope)[0]:
                name, kind = state.option.name, state.option.kind
                assert state.problem == ""
                assert kind.check(state.stored) == state.stored, "in bounds"
                if rebuilt.get(name) is not None:
                    assert state.stored == rebuilt[name]
                else:
                    assert state.source != "applied"
                assert here.current.value(state.option, scope) == kind.load(state.stored), "as every process has it"
        with reading(here.engine, EVERYWHERE) as session:
            records = session.scalars(select(AuditRecord.changes).order_by(AuditRecord.id)).all()
        assert [json.loads(each) for each in records] == [
            {change.name: [change.old_told, change.new_told] for change in entry.changes} for entry in applied
        ]


def take(here: Room, step: Sequence[Any], tokens: dict[str, str], who: Actor) -> list[Entry]:
    """What was applied."""
    service = here.service
    match step:
        case ("save", scope, given, version, replace):
            service.save(who, scope, given, version, replace=replace)
        case ("verify", scope):
            tokens[scope] = service.verify(who, scope).token
        case ("apply", scope, verified):
            return [service.apply(who, scope, tokens.get(scope, "") if verified else "1-0", "so it is")]
        case ("roll back", scope, to, version):
            service.roll_back(who, scope, to, version)
        case ("all three", scope, given):
            service.save(who, scope, given, None, replace=True)
            return [service.apply(who, scope, service.verify(who, scope).token, "at once")]
    return []
