"""Whatever is saved, verified, applied and rolled back, by whomever: what holds stays in bounds, and the history alone
rebuilds it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
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
good: dict[str, st.SearchStrategy[Json]] = {
    "Tasks.Age": st.one_of(st.integers(30, 3650), st.sampled_from(["30", "3650"])),
    "Access.Words": st.sampled_from(["few", "many"]),
    "Access.Strict": st.one_of(st.booleans(), st.sampled_from(["yes", "no"])),
    "Sessions.Life": st.integers(1, 30),
    "Sessions.Note": st.sampled_from(["a b", "none", "c"]),
    "Capture.Keys": st.fixed_dictionaries(
        {"add": st.lists(st.sampled_from(["k1", "k2", "k3"]), max_size=2, unique=True)}
    ),
}
out_of_bounds: st.SearchStrategy[Json] = st.sampled_from([-5, 4000, "Z", "", True])
not_to_be_kept: st.SearchStrategy[Json] = st.sampled_from([[1], {"keep": ["x"]}, "a\nb"])
scopes = st.sampled_from(SCOPES)
versions = st.sampled_from([None] * 6 + [0, 2])
rarely = st.integers(0, 7).map(lambda number: number == 0)


@st.composite
def values(draw: st.DrawFn, scope: str) -> dict[str, Json]:
    """Most are right, some are out of bounds, few cannot even be kept, or are of no option of the scope."""
    names = list(good) if scope == INSTALLATION or draw(rarely) else ["Sessions.Life"]
    given: dict[str, Json] = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        wrong = draw(rarely) and name != "Capture.Keys"
        right: st.SearchStrategy[Json] = st.one_of(good[name], good[name], st.none())
        given[name] = draw(out_of_bounds) if wrong else draw(right)
        if draw(rarely) and draw(rarely):
            given[name] = draw(not_to_be_kept)
    return given


@st.composite
def a_step(draw: st.DrawFn) -> tuple[Any, ...]:
    scope = draw(scopes)
    match draw(st.sampled_from(["save", "verify", "apply", *["roll back"] * 2, *["all three"] * 4])):
        case "save":
            return "save", scope, draw(values(scope)), draw(versions), draw(rarely)
        case "verify":
            return "verify", scope
        case "apply":
            return "apply", scope, not draw(rarely)
        case "roll back":
            return "roll back", scope, draw(st.integers(0, 5)), draw(versions), not draw(rarely)
        case _:
            return "all three", scope, draw(values(scope))


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


AND_BACK: list[tuple[Any, ...]] = [
    ("all three", INSTALLATION, {"Tasks.Age": 40}), ("all three", INSTALLATION, {"Tasks.Age": 50}),
    *[("roll back", INSTALLATION, 2, None, True)] * 2,
]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(taken=AND_BACK)
@given(taken=st.lists(a_step(), min_size=4, max_size=14))
def any_sequence(taken: list[tuple[Any, ...]], sqlite_template: Path, ever: Counter[str]) -> None:
    with fresh(sqlite_template) as here:
        tokens: dict[str, str] = {}
        applied: list[Entry] = []
        for number, step in enumerate(taken):
            with suppress(ConfigurationError):  # refused: and then nothing of it happened, which the end tells
                applied += take(here, step, tokens, ANN if number % 2 else BOB)
        ever.update("rolled back" if each.back_to is not None else "applied" for each in applied)
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
        case ("roll back", scope, number, version, whole):
            entries = [0, *(each.id for each in service.history(scope))]
            service.roll_back(who, scope, entries[number % len(entries)], version)
            if whole:
                return [service.apply(who, scope, service.verify(who, scope).token, "it was better")]
        case ("all three", scope, given):
            service.save(who, scope, given, None, replace=True)
            return [service.apply(who, scope, service.verify(who, scope).token, "at once")]
    return []


def test_any_sequence_ends_in_bounds_and_its_history_rebuilds_it(sqlite_template: Path) -> None:
    ever: Counter[str] = Counter()
    any_sequence(sqlite_template=sqlite_template, ever=ever)
    assert ever["applied"] > 10
    assert ever["rolled back"] > 1
