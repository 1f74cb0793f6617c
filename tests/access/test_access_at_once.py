"""Several processes on several hosts do things at the same moment: each is done as if one came after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from access_clock import Clock
from sqlalchemy import Engine, func, select

from actors import by_tester
from databases import at_once
from ringback.access import passwords
from ringback.access.models import ApiToken, LoginSession, LoginThrottle, TokenUse, User
from ringback.access.schemas import AccessError, Principal, TooManyAttempts, Visitor, WrongCredentials
from ringback.access.service import (
    add_user,
    change_password,
    ensure_first_user,
    log_in,
    log_out,
    principal_of_login,
    reset_password,
)
from ringback.access.tokens import create_token, principal_of_token, revoke_token
from ringback.records.engine import reading

PASSWORD = "correct horse battery"
VISITOR = Visitor("192.0.2.1", "test")
ANN = Principal("user", "ann", ("default",), frozenset(), 1)


def count(engine: Engine, table: type) -> int:
    with reading(engine) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def told(do: Callable[[], object]) -> str:
    """What came of it: "done", or the class of an error that is fit to be shown."""
    try:
        do()
    except (AccessError, TooManyAttempts, WrongCredentials) as error:
        return type(error).__name__
    return "done"


def test_one_first_user_is_made_and_one_password_shown(engine: Engine, hosts: list[Engine]) -> None:
    with by_tester(engine) as work:
        work.delete(work.scalars(select(User)).one())
    shown = at_once(*[partial(ensure_first_user, each) for each in hosts])
    (password,) = [each for each in shown if each]
    assert log_in(engine, "admin", password, VISITOR)
    assert count(engine, User) == 1


def test_a_name_is_given_once(engine: Engine, hosts: list[Engine]) -> None:
    def add(host: Engine, name: str) -> None:
        with by_tester(host) as work:
            add_user(work, name, PASSWORD)

    for name in ("bob", "cyd", "dan"):
        done = at_once(*[partial(told, partial(add, each, name)) for each in hosts])
        assert sorted(done) == ["AccessError"] * 3 + ["done"]


def test_a_live_token_has_its_name_for_itself(engine: Engine, hosts: list[Engine]) -> None:
    def make(host: Engine) -> None:
        with by_tester(host) as work:
            create_token(work, "crm")

    def end(host: Engine) -> None:
        with by_tester(host) as work:
            revoke_token(work, "crm")

    for number in range(1, 4):
        assert sorted(at_once(*[partial(told, partial(make, each)) for each in hosts])) == ["AccessError"] * 3 + [
            "done"
        ]
        assert sorted(at_once(*[partial(told, partial(end, each)) for each in hosts])) == ["AccessError"] * 3 + [
            "done"
        ]
        assert count(engine, ApiToken) == number


def test_guesses_on_many_hosts_are_counted_one_by_one(engine: Engine, hosts: list[Engine], frozen: Clock) -> None:
    tries = [partial(told, partial(log_in, host, "ann", "x", VISITOR)) for host in hosts for _ in range(3)]
    done = at_once(*tries)
    assert (done.count("WrongCredentials"), done.count("TooManyAttempts")) == (5, 7)


def test_old_counts_are_forgotten_by_many_at_once(engine: Engine, hosts: list[Engine], frozen: Clock) -> None:
    names = [f"user{number}" for number in range(8)]

    def guess(host: Engine, order: int) -> None:
        for name in names[::order]:
            with pytest.raises(WrongCredentials):
                log_in(host, name, "x", Visitor(f"192.0.2.{names.index(name)}", "test"))

    for _ in range(3):
        at_once(*[partial(guess, host, order) for host, order in zip(hosts[:2], (1, -1), strict=True)])
        with reading(engine) as session:
            assert session.scalars(select(LoginThrottle.failures)).all() == [2] * 16, "none was taken for another"
        frozen.passes(days=3)


def test_a_clock_that_is_behind_adds_no_failures(engine: Engine, frozen: Clock) -> None:
    for _ in range(2):
        assert told(partial(log_in, engine, "ann", "x", VISITOR)) == "WrongCredentials"
        frozen.passes(minutes=-20)
    with reading(engine) as session:
        assert session.scalars(select(LoginThrottle.failures)).all() == [2, 2]


@pytest.fixture
def while_verifying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """What is given happens while the next password is verified."""
    verify = passwords.verify_password

    def let(happen: Callable[[], object]) -> None:
        def verify_slowly(password_hash: str, password: str) -> bool:
            monkeypatch.setattr(passwords, "verify_password", verify)
            happen()
            return verify(password_hash, password)

        monkeypatch.setattr(passwords, "verify_password", verify_slowly)

    return let


def test_a_login_does_not_outlive_the_password_it_was_begun_with(
    engine: Engine, hosts: list[Engine], while_verifying: Callable[[Callable[[], object]], None]
) -> None:
    def reset() -> None:
        with by_tester(hosts[0]) as work:
            reset_password(work, "ann")

    while_verifying(reset)
    with pytest.raises(WrongCredentials):
        log_in(engine, "ann", PASSWORD, VISITOR)
    assert count(engine, LoginSession) == 0


def test_of_two_changes_of_a_password_the_first_holds(
    engine: Engine, hosts: list[Engine], while_verifying: Callable[[Callable[[], object]], None]
) -> None:
    ann = principal_of_login(engine, log_in(engine, "ann", PASSWORD, VISITOR).secret)
    assert ann
    other = partial(change_password, hosts[0], ann, PASSWORD, "the first new password", VISITOR)
    while_verifying(other)
    with pytest.raises(AccessError, match="changed meanwhile"):
        change_password(engine, ann, PASSWORD, "the second new password", VISITOR)
    assert log_in(engine, "ann", "the first new password", VISITOR)


def test_a_user_that_is_gone_is_not_let_in(
    engine: Engine, hosts: list[Engine], while_verifying: Callable[[Callable[[], object]], None]
) -> None:
    def remove() -> None:
        with by_tester(hosts[0]) as work:
            work.delete(work.scalars(select(User)).one())

    while_verifying(remove)
    with pytest.raises(WrongCredentials):
        log_in(engine, "ann", PASSWORD, VISITOR)


def test_a_login_that_was_ended_is_not_used_again(engine: Engine, hosts: list[Engine], frozen: Clock) -> None:
    secret = log_in(engine, "ann", PASSWORD, VISITOR).secret
    frozen.passes(minutes=2)
    at_once(
        *[partial(principal_of_login, host, secret) for host in hosts], partial(log_out, engine, ANN, secret, VISITOR)
    )
    assert principal_of_login(engine, secret) is None
    assert count(engine, LoginSession) == 0


def test_people_who_do_everything_at_once_wait_for_each_other_and_never_for_ever(
    engine: Engine, hosts: list[Engine], frozen: Clock
) -> None:
    """Nothing but what is fit to be shown is raised: no deadlock, no lost row, no constraint."""
    with by_tester(engine) as work:
        token = create_token(work, "crm")
        work.add(TokenUse(token_id=1, last_at=frozen.now - timedelta(days=1), last_address=""))

    def use(host: Engine) -> None:
        for number in range(4):
            told(partial(log_in, host, "ann", PASSWORD, VISITOR))
            told(partial(log_in, host, f"nobody{number}", "x", VISITOR))
            told(partial(change_password, host, ANN, PASSWORD, f"{PASSWORD[::-1]} {id(host)}", VISITOR))
            assert principal_of_token(host, token)
            with by_tester(host) as work:
                reset_password(work, "ann")
                user = work.get_one(User, 1)
                user.password_hash = passwords.hash_password(PASSWORD)
            with by_tester(host) as work:
                for login in work.scalars(select(LoginSession).order_by(LoginSession.id_hash).with_for_update()):
                    login.expires_at = frozen.now
            with by_tester(host) as work:  # in the order of an attempt: accounts before addresses
                in_order = select(LoginThrottle).order_by(LoginThrottle.kind, LoginThrottle.key)
                for row in work.scalars(in_order.with_for_update()):
                    row.last_failed_at = frozen.now - timedelta(days=3)

    at_once(*[partial(use, host) for host in hosts])
    assert count(engine, User) == 1
