"""The second factor: asked for at each login once it is set up, each code good for one, tried as slowly as passwords."""

from __future__ import annotations

import re
from datetime import timedelta

import pyotp
import pytest
from access_clock import Clock
from fastapi import FastAPI
from people_made import PASSWORD, VISITOR, add, told, user
from sqlalchemy import Engine, select, text
from starlette.testclient import TestClient

from ringback.access import commands, people, service
from ringback.access.models import RecoveryCode
from ringback.access.policy import Policy
from ringback.access.schemas import AccessError, LoginOver, Principal, TooManyAttempts, Visitor, WrongCredentials
from ringback.records.engine import reading


def principal(engine: Engine, name: str = "ann") -> Principal:
    return Principal("user", name, ("default",), frozenset(), user(engine, name).id)


def code_of(engine: Engine, frozen: Clock, name: str = "ann") -> str:
    secret = user(engine, name).totp_secret
    assert secret
    return pyotp.TOTP(secret).at(frozen.now)


def enrol(engine: Engine, frozen: Clock, name: str = "ann") -> list[str]:
    """The recovery codes; the clock is at a step whose code is not used yet."""
    service.begin_second_factor(engine, principal(engine, name), PASSWORD, VISITOR)
    codes = service.confirm_second_factor(engine, principal(engine, name), code_of(engine, frozen, name), VISITOR)
    frozen.passes(seconds=60)
    return codes


def begun(engine: Engine, name: str = "ann") -> str:
    login = service.log_in(engine, name, PASSWORD, VISITOR)
    assert login.code_due
    assert service.principal_of_login(engine, login.secret) is None, "the password alone opens nothing"
    return login.secret


def test_it_is_asked_for_from_then_on(engine: Engine, frozen: Clock) -> None:
    assert len(set(enrol(engine, frozen))) == 10
    secret = service.check_code(
        engine, begun(engine), f" {code_of(engine, frozen)[:3]} {code_of(engine, frozen)[3:]}", VISITOR
    )
    signed_in = service.principal_of_login(engine, secret)
    assert signed_in
    assert signed_in.name == "ann"


def test_a_code_is_good_once_and_for_a_minute(engine: Engine, frozen: Clock) -> None:
    enrol(engine, frozen)
    code = code_of(engine, frozen)
    service.check_code(engine, begun(engine), code, VISITOR)
    with pytest.raises(WrongCredentials):
        service.check_code(engine, begun(engine), code, VISITOR)
    frozen.passes(seconds=30)
    late = code_of(engine, frozen)
    frozen.passes(seconds=30)
    assert service.check_code(engine, begun(engine), late, VISITOR), "a phone's clock may be a step behind"
    frozen.passes(seconds=30)
    old = code_of(engine, frozen)
    frozen.passes(seconds=61)
    with pytest.raises(WrongCredentials):
        service.check_code(engine, begun(engine), old, VISITOR)


def test_a_recovery_code_stands_in_once(engine: Engine, frozen: Clock) -> None:
    codes = enrol(engine, frozen)
    assert service.check_code(engine, begun(engine), codes[3].upper().replace("-", " "), VISITOR)
    with pytest.raises(WrongCredentials):
        service.check_code(engine, begun(engine), codes[3], VISITOR)
    new = service.new_recovery_codes(engine, principal(engine), PASSWORD, VISITOR)
    with pytest.raises(WrongCredentials):
        service.check_code(engine, begun(engine), codes[4], VISITOR)
    assert service.check_code(engine, begun(engine), new[0], VISITOR)


def test_codes_are_guessed_slowly(engine: Engine, frozen: Clock) -> None:
    enrol(engine, frozen)
    pending = begun(engine)
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            service.check_code(engine, pending, "000000", VISITOR)
    with pytest.raises(TooManyAttempts):
        service.check_code(engine, pending, code_of(engine, frozen), VISITOR)
    with pytest.raises(TooManyAttempts):
        service.check_code(engine, begun(engine), code_of(engine, frozen), VISITOR)
    frozen.passes(seconds=31)
    assert service.check_code(engine, begun(engine), code_of(engine, frozen), VISITOR)


def test_nobody_blocks_the_codes_of_others_by_what_they_type_as_a_name(engine: Engine, frozen: Clock) -> None:
    enrol(engine, frozen)
    for _ in range(6):
        with pytest.raises((WrongCredentials, TooManyAttempts)):
            service.log_in(engine, "CODE ann", "x", Visitor("198.51.100.9", ""))
    assert service.check_code(engine, begun(engine), code_of(engine, frozen), VISITOR)


def test_a_login_does_not_wait_for_its_code_for_ever(engine: Engine, frozen: Clock) -> None:
    enrol(engine, frozen)
    pending = begun(engine)
    frozen.now += service.CODE_WAIT + timedelta(seconds=1)
    for secret in (pending, "unknown"):
        with pytest.raises(LoginOver):
            service.check_code(engine, secret, code_of(engine, frozen), VISITOR)


def test_the_secret_is_sealed_and_recovery_codes_are_hashes(engine: Engine, frozen: Clock) -> None:
    codes = enrol(engine, frozen)
    with reading(engine) as session:
        stored = session.scalar(text("SELECT totp_secret FROM users"))
        hashes = session.scalars(select(RecoveryCode.code_hash)).all()
    assert (user(engine, "ann").totp_secret or "x") not in stored
    assert not set(codes) & set(hashes)
    everything = " ".join(one.text for one in told(engine))
    assert (user(engine, "ann").totp_secret or "x") not in everything
    assert not any(code in everything for code in codes)


@pytest.mark.parametrize("password", ["", "wrong"])
def test_it_is_set_up_and_turned_off_with_the_password_only(engine: Engine, frozen: Clock, password: str) -> None:
    with pytest.raises(AccessError, match="not your password"):
        service.begin_second_factor(engine, principal(engine), password, VISITOR)
    enrol(engine, frozen)
    for act in (service.turn_off_second_factor, service.new_recovery_codes):
        with pytest.raises(AccessError, match="not your password"):
            act(engine, principal(engine), password, VISITOR)
    service.turn_off_second_factor(engine, principal(engine), PASSWORD, VISITOR)
    assert not service.log_in(engine, "ann", PASSWORD, VISITOR).code_due


def test_a_wrong_code_confirms_nothing(engine: Engine, frozen: Clock) -> None:
    service.begin_second_factor(engine, principal(engine), PASSWORD, VISITOR)
    with pytest.raises(AccessError, match="not the code"):
        service.confirm_second_factor(engine, principal(engine), "123", VISITOR)
    assert not service.log_in(engine, "ann", PASSWORD, VISITOR).code_due


def test_an_administrator_helps_who_lost_it(engine: Engine, frozen: Clock) -> None:
    bob = add(engine, "bob")
    enrol(engine, frozen, "bob")
    commands.reset_second_factor(engine, "bob")
    assert not service.log_in(engine, "bob", PASSWORD, VISITOR).code_due
    assert not people.read_person(engine, commands._ruler(engine), bob).second_factor


def test_logins_and_failures_are_told(engine: Engine, frozen: Clock) -> None:
    enrol(engine, frozen)
    with pytest.raises(WrongCredentials):
        service.log_in(engine, "ann", "hunter2hunter2", VISITOR)
    with pytest.raises(WrongCredentials):
        service.log_in(engine, "hunter2hunter2", PASSWORD, VISITOR)
    pending = begun(engine)
    with pytest.raises(WrongCredentials):
        service.check_code(engine, pending, "000000", VISITOR)
    service.check_code(engine, pending, code_of(engine, frozen), VISITOR)
    logins = [one for one in told(engine) if one.action.startswith("login")]
    assert [(one.action, one.name) for one in logins] == [
        ("login.failed", "ann"),
        ("login.failed", "unknown"),
        ("login.failed", "ann"),
        ("login.succeeded", "ann"),
    ]
    assert '"password and code"' in logins[-1].text
    assert "hunter2" not in "".join(one.text + one.name + one.actor for one in told(engine))


# Pages


def csrf(client: TestClient, path: str = "/profile/second-factor") -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def test_the_pages_lead_through_it(ann: TestClient, engine: Engine, frozen: Clock) -> None:
    assert ann.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 303
    token = csrf(ann)
    assert (
        ann.post("/profile/second-factor/begin", data={"csrf_token": token, "password": PASSWORD}).status_code == 303
    )
    page = ann.get("/profile/second-factor").text
    assert "<svg" in page
    assert (user(engine, "ann").totp_secret or "x") in page
    form = {"csrf_token": token, "code": code_of(engine, frozen)}
    page = ann.post("/profile/second-factor/confirm", data=form).text
    codes = re.findall(r"<li>(\w{4}-\w{4}-\w{4}-\w{4})</li>", page)
    assert len(codes) == 10
    assert codes[0] not in ann.get("/profile/second-factor").text
    assert (user(engine, "ann").totp_secret or "x") not in ann.get("/profile/second-factor").text
    ann.cookies.clear()
    answer = ann.post("/login", data={"name": "ann", "password": PASSWORD, "next": "/capture"})
    assert answer.headers["location"] == "/login/code?next=%2Fcapture"
    assert ann.get("/sessions").status_code == 303, "not signed in yet"
    assert ann.post("/login/code", data={"code": "1", "next": "/capture"}).status_code == 401
    done = ann.post("/login/code", data={"code": codes[0], "next": "/capture"})
    assert (done.status_code, done.headers["location"]) == (303, "/capture")
    assert ann.get("/sessions").status_code == 200


def test_a_code_from_another_site_is_refused(ann: TestClient) -> None:
    answer = ann.post("/login/code", data={"code": "1"}, headers={"Origin": "https://evil.test"})
    assert answer.status_code == 403


def test_it_can_be_asked_of_everybody(app: FastAPI, ann: TestClient, engine: Engine, frozen: Clock) -> None:
    app.state.access_policy = lambda: Policy(second_factor_required=True)
    ann.post("/login", data={"name": "ann", "password": PASSWORD})
    assert ann.get("/sessions").headers["location"] == "/profile/second-factor"
    assert ann.get("/api/v1/whoami").status_code == 403
    assert "asked of everybody" in ann.get("/profile/second-factor").text
    enrol(engine, frozen)
    assert ann.get("/sessions").status_code == 200
    off = ann.post("/profile/second-factor/off", data={"csrf_token": csrf(ann), "password": PASSWORD})
    assert off.status_code == 422
