"""Guessing is slow, per account and per address, also after a restart and when tried all at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from access_clock import Clock
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from ringback.access.models import LoginThrottle
from ringback.access.schemas import TooManyAttempts, Visitor, WrongCredentials
from ringback.access.service import log_in
from ringback.records.engine import open_engine, unit_of_work

PASSWORD = "correct horse battery"


def outcome(engine: Engine, name: str, password: str, address: str = "192.0.2.1") -> str:
    try:
        log_in(engine, name, password, Visitor(address, "test"))
    except TooManyAttempts as refused:
        return f"wait {refused.wait_seconds}"
    except WrongCredentials:
        return "wrong"
    return "in"


def test_after_five_failures_an_account_has_to_wait_and_each_further_one_doubles_it(
    engine: Engine, frozen: Clock
) -> None:
    assert [outcome(engine, "ann", "x") for _ in range(5)] == ["wrong"] * 5
    waits = []
    for _ in range(6):
        refused = outcome(engine, "ann", PASSWORD)
        assert refused.startswith("wait "), "the right password has to wait too"
        waits.append(int(refused.removeprefix("wait ")))
        frozen.passes(seconds=waits[-1])
        assert outcome(engine, "ann", "x") == "wrong"
    assert waits == [30, 60, 120, 240, 480, 900]


def test_the_wait_is_said(client: TestClient, frozen: Clock) -> None:
    for _ in range(5):
        client.post("/login", data={"name": "ann", "password": "x"})
    answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "30"
    assert "Too many failed attempts. Try again in 30 s." in answer.text


def test_an_unknown_account_waits_like_a_known_one(engine: Engine, frozen: Clock) -> None:
    known = [outcome(engine, "ann", "x", "192.0.2.1") for _ in range(7)]
    unknown = [outcome(engine, "nobody", "x", "192.0.2.2") for _ in range(7)]
    assert known == unknown


def test_success_starts_the_account_anew(engine: Engine, frozen: Clock) -> None:
    for _ in range(3):
        assert [outcome(engine, "ann", "x") for _ in range(4)] == ["wrong"] * 4
        assert outcome(engine, "ann", PASSWORD) == "in"


def test_one_address_may_not_try_many_accounts(engine: Engine, frozen: Clock) -> None:
    tried = [outcome(engine, f"user{number}", "x") for number in range(25)]
    assert tried[:20] == ["wrong"] * 20
    assert all(each.startswith("wait") for each in tried[20:])
    assert outcome(engine, "ann", PASSWORD, "192.0.2.77") == "in"


def test_ones_own_login_does_not_wash_an_address_clean(engine: Engine, frozen: Clock) -> None:
    for number in range(19):
        outcome(engine, f"user{number}", "x")
    assert outcome(engine, "ann", PASSWORD) == "in"
    assert outcome(engine, "user20", "x") == "wrong"
    assert outcome(engine, "user21", "x").startswith("wait")


def test_an_ipv6_host_is_one_address(engine: Engine, frozen: Clock) -> None:
    tried = [outcome(engine, f"user{number}", "x", f"2001:db8::{number:x}") for number in range(22)]
    assert tried[-1].startswith("wait")
    assert outcome(engine, "user", "x", "2001:db8:0:1::1") == "wrong"


def test_failures_are_forgiven_with_time(engine: Engine, frozen: Clock) -> None:
    for _ in range(4):
        outcome(engine, "ann", "x")
    frozen.passes(hours=1)
    assert [outcome(engine, "ann", "x") for _ in range(5)] == ["wrong"] * 5


def test_a_restart_forgets_nothing(engine: Engine, frozen: Clock) -> None:
    for _ in range(5):
        outcome(engine, "ann", "x")
    again = open_engine(engine.url.render_as_string(hide_password=False))
    assert outcome(again, "ann", PASSWORD) == "wait 30"
    again.dispose()


def test_many_at_once_are_counted_one_by_one(engine: Engine, frozen: Clock) -> None:
    with ThreadPoolExecutor(8) as pool:
        tried = list(pool.map(lambda _: outcome(engine, "ann", "x"), range(16)))
    assert tried.count("wrong") == 5
    assert tried.count("wait 30") == 11


def test_what_was_typed_as_a_name_is_not_stored(engine: Engine) -> None:
    outcome(engine, "hunter2hunter2", "x")
    with unit_of_work(engine) as work:
        stored = work.scalars(select(LoginThrottle.key)).all()
    assert not any("hunter2" in key for key in stored)


@pytest.mark.parametrize(("seconds", "said"), [(30, "30 s"), (119, "119 s"), (130, "3 minutes"), (900, "15 minutes")])
def test_a_wait_in_words(seconds: int, said: str) -> None:
    assert str(TooManyAttempts(seconds)) == f"Too many failed attempts. Try again in {said}."
