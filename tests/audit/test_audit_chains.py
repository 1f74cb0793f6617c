"""However many write at once, each chain has every number once, each hash follows the one before, and causes are kept."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from pathlib import Path

import orjson
import pytest
from chains import EACH, ENVIRONMENTS, WRITERS, write, write_in_process
from sqlalchemy import Engine

from audited import ANN, add_customer, records
from databases import at_once
from ringback.audit.keys import AuditKeys
from ringback.audit.verification import verify
from ringback.changes.schemas import Actor, Owner
from ringback.changes.service import because, do_changing, note, note_on
from ringback.records.engine import UnitOfWork, open_engine
from ringback.records.wall import EVERYWHERE


def all_is_there(engine: Engine) -> None:
    expected = Counter({"default": 0, "other": 0, "third": 0})
    for writer_number in range(WRITERS):
        for number in range(EACH):
            used = ENVIRONMENTS[: 1 + number % 3]
            expected.update(used)
            expected[used[0] if writer_number % 2 else used[-1]] += 1
    ids: set[int] = set()
    for environment in ENVIRONMENTS:
        found = records(engine, environment)
        assert [each.seq for each in found] == list(range(1, expected[environment] + 1))
        assert [each.id for each in found] == sorted(each.id for each in found)
        ids |= {each.id for each in found}
        assert verify(engine, environment, AuditKeys()).is_whole
    assert len(ids) == expected.total()
    everything = {each.id: each for environment in ENVIRONMENTS for each in records(engine, environment)}
    for each in everything.values():
        if each.action == "created":
            assert each.cause_id is not None
            cause = everything[each.cause_id]
            assert each.entity_name == f"Product {cause.entity_name}"
            assert each.root_id == cause.id < each.id


def test_sixteen_threads_leave_chains_without_forks(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    engines = [open_engine(url) for _ in range(WRITERS)]
    at_once(*[lambda e=each, n=number: write(e, n) for number, each in enumerate(engines)])
    for each in engines:
        each.dispose()
    all_is_there(engine)


def test_sixteen_processes_leave_chains_without_forks(engine: Engine, composed: Path) -> None:
    url = engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["ringback.billing.entities.models", "ringback.audit.writer"]
    )  # imported once, not 16 times
    started = [context.Process(target=write_in_process, args=(url, composed, number)) for number in range(WRITERS)]
    for each in started:
        each.start()
    for each in started:
        each.join(timeout=100)
    assert [each.exitcode for each in started] == [0] * WRITERS
    all_is_there(engine)


def test_who_waits_for_the_chain_goes_on_from_its_new_end(engine: Engine) -> None:
    """The second unit of work began, and read, before the first was committed."""
    began, go = threading.Event(), threading.Event()

    def slow(work: UnitOfWork) -> None:
        add_customer(work, "Slow", environment="default")
        began.set()
        go.wait(5 if work.get_bind().dialect.name == "postgresql" else 0.2)  # SQLite has one writer at a time

    def quick(work: UnitOfWork) -> None:
        add_customer(work, "Quick", environment="default")
        go.set()

    def after() -> None:
        began.wait(10)
        do_changing(engine, ANN, EVERYWHERE, quick)

    at_once(lambda: do_changing(engine, ANN, EVERYWHERE, slow), after)
    found = records(engine)
    assert [each.seq for each in found] == [1, 2]
    assert verify(engine, "default", AuditKeys()).is_whole


def test_what_is_too_long_is_cut_and_anything_json_is_kept(engine: Engine) -> None:
    actor = Actor("user", "a" * 300, "console", "1" * 100, "f" * 100, "r" * 100)
    arguments = {"number": 1, "list": [1, "é", None], "map": {"b": True, "a": 1.5}}

    def do(work: UnitOfWork) -> None:
        note(work, "test.command", "test", "i" * 100, "n" * 300, Owner("default"), arguments=arguments)  # type: ignore[arg-type]

    do_changing(engine, actor, EVERYWHERE, do, reason="r" * 300, comment="c" * 5000)
    (record,) = records(engine)
    lengths = [len(text) for text in (record.actor, record.actor_id, record.address, record.request_id)]
    assert lengths == [255, 64, 64, 64]
    assert (len(record.entity_id), len(record.entity_name), len(record.reason), len(record.comment)) == (
        64,
        255,
        255,
        5000,
    )
    assert orjson.loads(record.arguments) == arguments
    assert verify(engine, "default", AuditKeys()).is_whole


def test_an_unknown_cause_is_kept_as_it_was_named(engine: Engine) -> None:
    """Its record may be past its days."""

    def do(work: UnitOfWork) -> None:
        customer = add_customer(work, environment="default")
        with because(work, 12345):
            note_on(work, "test.command", customer)

    do_changing(engine, ANN, EVERYWHERE, do)
    assert [(each.cause_id, each.root_id) for each in records(engine)] == [
        (None, records(engine)[0].id),
        (12345, 12345),
    ]


@pytest.mark.parametrize("text", ["\x00", "a\x00b"])
def test_character_0_which_postgresql_has_not_is_left_out(engine: Engine, text: str) -> None:
    def do(work: UnitOfWork) -> None:
        note(work, "test.command", "test", "1", f"name{text}", Owner("default"), arguments={"typed": text})

    do_changing(engine, ANN, EVERYWHERE, do, comment=text)
    (record,) = records(engine)
    assert "\x00" not in record.entity_name + record.comment
    assert orjson.loads(record.arguments)["typed"] == text
    assert verify(engine, "default", AuditKeys()).is_whole
