"""Who looks after people: nobody gives more than they have, nothing to themselves, and one administrator stays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from people_made import PASSWORD, VISITOR, add, add_environment, add_program, signed_in, told, user
from sqlalchemy import Engine, select

from databases import at_once
from ringback.access import people
from ringback.access.models import LoginSession, User
from ringback.access.permissions import Role, permissions_of
from ringback.access.schemas import (
    AccessError,
    NotYours,
    PeopleQuery,
    PersonForm,
    PersonNotFound,
    Principal,
    WrongCredentials,
)
from ringback.access.service import log_in, principal_of_login
from ringback.billing.entities.belonging import people_of
from ringback.billing.entities.errors import InUse
from ringback.billing.entities.models import TYPES, Environment
from ringback.billing.entities.service import delete, needed_by
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records.engine import reading
from ringback.records.environments import UNASSIGNED

ACTOR = Actor("user", "ann", "console", "1", "192.0.2.1", "request-1")


@pytest.fixture
def ann(engine: Engine) -> Principal:
    """An administrator of the whole installation, where there is also the environment acme."""
    add_environment(engine, "acme")
    return signed_in(engine, "ann")


def form(name: str = "bob", **more: object) -> PersonForm:
    return PersonForm(**{"name": name, "role": Role.SUPPORT, "environments": ("default",), **more})  # type: ignore[arg-type]


def changed(engine: Engine, by: Principal, name: str, **more: object) -> None:
    there = user(engine, name)
    now = PersonForm(
        name,
        there.full_name,
        there.email,
        Role(there.role),
        there.environments,
        there.everywhere,
        there.sees_personal,
    )
    wanted = {**{field: getattr(now, field) for field in PersonForm.__slots__}, **more}
    people.change_person(engine, by, ACTOR, there.id, PersonForm(**wanted), there.version)


def test_somebody_new_has_to_choose_a_password_first(engine: Engine, ann: Principal) -> None:
    user_id, password = people.make_person(engine, ann, ACTOR, form(full_name="Bob  B.", email=" bob@example.com "))
    bob = people.read_person(engine, ann, user_id)
    assert (bob.full_name, bob.email, bob.role, bob.must_change_password) == (
        "Bob B.",
        "bob@example.com",
        "support",
        True,
    )
    principal = principal_of_login(engine, log_in(engine, "bob", password, VISITOR).secret)
    assert principal
    assert principal.due == "password"
    assert not principal.permissions, "nothing before that"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"name": "Bob!"}, "name"),
        ({"name": "ann"}, "name"),
        ({"email": "bob at home"}, "email"),
        ({"full_name": "x" * 121}, "full_name"),
        ({"environments": ()}, "environments"),
        ({"environments": ("nosuch",)}, "environments"),
        ({"environments": (UNASSIGNED,)}, "environments"),
        ({"everywhere": True}, "everywhere"),
    ],
)
def test_what_will_not_do_is_told_by_field(
    engine: Engine, ann: Principal, wanted: dict[str, object], field: str
) -> None:
    with pytest.raises(AccessError) as refused:
        people.make_person(engine, ann, ACTOR, form(**wanted))  # type: ignore[arg-type]
    assert refused.value.field == field
    assert people.list_people(engine, ann, PeopleQuery()).total == 1


def test_nobody_raises_themselves(engine: Engine, ann: Principal) -> None:
    add(engine, "cyd", Role.ADMINISTRATOR, ("default",))
    cyd = signed_in(engine, "cyd")
    for wanted in ({"environments": ("default", "acme")}, {"role": Role.NOC}, {"sees_personal": True}):
        with pytest.raises(AccessError):
            changed(engine, cyd, "cyd", **wanted)
    changed(engine, cyd, "cyd", full_name="Cyd Charisse")
    assert user(engine, "cyd").full_name == "Cyd Charisse"
    for act in (people.give_new_password, people.reset_second_factor, people.end_all_logins):
        with pytest.raises(NotYours, match="That is you"):
            act(engine, cyd, ACTOR, cyd.user_id or 0)


def test_the_last_administrator_stays(engine: Engine, ann: Principal) -> None:
    add(engine, "cyd", Role.ADMINISTRATOR, everywhere=True)
    cyd = signed_in(engine, "cyd")
    changed(engine, cyd, "ann", role=Role.SUPPORT, everywhere=False)
    with pytest.raises(NotYours, match="your role was changed"):
        changed(engine, ann, "cyd", role=Role.SUPPORT, everywhere=False)
    shell = Principal("user", "", (), cyd.permissions, None, belongs_to=("default", "acme"), everywhere=True)
    for wanted in ({"role": Role.SUPPORT, "everywhere": False}, {"everywhere": False}):
        with pytest.raises(AccessError, match="last administrator"):
            changed(engine, shell, "cyd", **wanted)
    with pytest.raises(AccessError, match="last administrator"):
        people.set_active(engine, shell, ACTOR, cyd.user_id or 0, False)
    assert user(engine, "cyd").active


def test_two_administrators_who_demote_each_other_leave_one(engine: Engine, hosts: list[Engine]) -> None:
    add(engine, "cyd", Role.ADMINISTRATOR, everywhere=True)
    principals = {name: signed_in(engine, name) for name in ("ann", "cyd")}

    def demote(host: Engine, by: str, whom: str) -> str:
        try:
            changed(host, principals[by], whom, role=Role.SUPPORT, everywhere=False)
        except (NotYours, AccessError) as refused:
            return type(refused).__name__
        return "done"

    done = at_once(partial(demote, hosts[0], "ann", "cyd"), partial(demote, hosts[1], "cyd", "ann"))
    assert sorted(done) == ["NotYours", "done"]
    with reading(engine) as session:
        assert len(session.scalars(select(User).where(User.role == "administrator")).all()) == 1


def test_two_who_change_one_person_do_not_overwrite_each_other(engine: Engine, hosts: list[Engine]) -> None:
    ann = signed_in(engine, "ann")
    bob = add(engine, "bob")

    def change(host: Engine, role: Role) -> str:
        try:
            people.change_person(host, ann, ACTOR, bob, form(role=role), 1)
        except AccessError as refused:
            return refused.field
        return "done"

    done = at_once(
        *[partial(change, host, role) for host, role in zip(hosts, (Role.NOC, Role.BILLING), strict=False)]
    )
    assert sorted(done) == ["done", "version"]


class TestAnAdministratorOfOneEnvironment:
    @pytest.fixture
    def eve(self, engine: Engine, ann: Principal) -> Principal:
        add(engine, "eve", Role.ADMINISTRATOR, ("acme",))
        for name, environments in (("ours", ("acme",)), ("shared", ("acme", "default")), ("theirs", ("default",))):
            add(engine, name, Role.SUPPORT, environments)
        return signed_in(engine, "eve")

    def test_sees_who_shares_it_and_no_name_of_another(self, engine: Engine, eve: Principal) -> None:
        seen = {one.name: one for one in people.list_people(engine, eve, PeopleQuery()).people}
        assert sorted(seen) == ["eve", "ours", "shared"]
        assert (seen["shared"].environments, seen["shared"].other_environments) == (("acme",), 1)
        assert eve.belongs_to == ("acme",)
        assert people.list_people(engine, eve, PeopleQuery(environment="default")).total == 0

    @pytest.mark.parametrize("name", ["theirs", "ann"])
    def test_others_are_not_there(self, engine: Engine, eve: Principal, name: str) -> None:
        stranger = user(engine, name).id
        acts: list[Callable[[], object]] = [
            lambda: people.read_person(engine, eve, stranger),
            lambda: people.change_person(engine, eve, ACTOR, stranger, form(environments=("acme",)), None),
            lambda: people.set_active(engine, eve, ACTOR, stranger, False),
            lambda: people.give_new_password(engine, eve, ACTOR, stranger),
            lambda: people.reset_second_factor(engine, eve, ACTOR, stranger),
            lambda: people.end_all_logins(engine, eve, ACTOR, stranger),
        ]
        for act in acts:
            with pytest.raises(PersonNotFound):
                act()

    def test_changes_those_who_are_theirs_alone(self, engine: Engine, eve: Principal) -> None:
        changed(engine, eve, "ours", role=Role.NOC)
        with pytest.raises(NotYours, match="environments that you do not belong to"):
            changed(engine, eve, "shared", role=Role.NOC, environments=("acme",))

    def test_gives_nothing_beyond(self, engine: Engine, eve: Principal) -> None:
        for wanted in ({"environments": ("acme", "default")}, {"role": Role.ADMINISTRATOR, "everywhere": True}):
            with pytest.raises(AccessError):
                changed(engine, eve, "ours", **wanted)


def test_what_one_may_not_do_oneself_one_does_not_give(engine: Engine, ann: Principal) -> None:
    add(engine, "eve", Role.ADMINISTRATOR)
    changed(engine, ann, "eve", sees_personal=False)
    eve = signed_in(engine, "eve")
    assert not eve.sees_personal
    with pytest.raises(AccessError, match=r"personal\.read"):
        people.make_person(engine, eve, ACTOR, form("new", role=Role.SUPPORT))
    bob = add(engine, "bob")
    with pytest.raises(NotYours, match="may do what you may not"):
        people.give_new_password(engine, eve, ACTOR, bob)
    people.make_person(engine, eve, ACTOR, form("new", role=Role.NOC))


@pytest.mark.parametrize("grant", [None, True, False])
@pytest.mark.parametrize("role", list(Role))
def test_personal_data_is_as_the_role_says_granted_or_taken(role: Role, grant: bool | None) -> None:
    given = "personal.read" in permissions_of(role, grant)
    assert given is (grant if grant is not None else role not in (Role.NOC, Role.READ_ONLY))


def test_who_is_deactivated_is_out_at_once_and_can_come_back(engine: Engine, ann: Principal) -> None:
    bob = add(engine, "bob")
    secret = log_in(engine, "bob", PASSWORD, VISITOR).secret
    people.set_active(engine, ann, ACTOR, bob, False)
    assert principal_of_login(engine, secret) is None
    with pytest.raises(WrongCredentials):
        log_in(engine, "bob", PASSWORD, VISITOR)
    people.set_active(engine, ann, ACTOR, bob, True)
    assert log_in(engine, "bob", PASSWORD, VISITOR)
    assert principal_of_login(engine, secret) is None, "what ended stays ended"


def test_a_program_has_no_login(engine: Engine, ann: Principal) -> None:
    crm = add_program(engine, "crm")
    assert not people.read_person(engine, ann, crm).has_password
    with pytest.raises(AccessError, match="no password"):
        people.give_new_password(engine, ann, ACTOR, crm)
    bob = add(engine, "bob")
    log_in(engine, "bob", PASSWORD, VISITOR)
    changed(engine, ann, "bob", role=Role.API)
    with pytest.raises(WrongCredentials):
        log_in(engine, "bob", PASSWORD, VISITOR)
    with reading(engine) as session:
        assert not session.scalars(select(LoginSession).where(LoginSession.user_id == bob)).all()


def test_an_environment_that_people_belong_to_stays(engine: Engine, ann: Principal) -> None:
    def remove() -> None:
        with changing(engine, ACTOR, ("acme",)) as work:
            one = work.scalars(select(Environment)).one()
            delete(work, TYPES["environment"], "acme", one.id)

    needed_by(people_of)
    people.make_person(engine, ann, ACTOR, form("bob", environments=("acme",)))
    people.make_person(engine, ann, ACTOR, form("cyd", environments=("acme",)))
    people.set_active(engine, ann, ACTOR, user(engine, "cyd").id, False)
    people.make_person(
        engine, ann, ACTOR, form("dan", role=Role.ADMINISTRATOR, environments=("acme",), everywhere=True)
    )
    with pytest.raises(InUse, match="used by 2 people") as refused:
        remove()
    assert [(use.path, use.api) for use in refused.value.uses] == [
        ("people?environment=acme", "users?environment=acme")
    ]
    for name in ("bob", "cyd"):
        changed(engine, ann, name, environments=("default",))
    remove()
    assert "acme" not in signed_in(engine, "ann").belongs_to


def test_the_list_is_searched_filtered_and_paged(engine: Engine, ann: Principal) -> None:
    for number in range(7):
        add(engine, f"noc{number}", Role.NOC, ("acme",) if number % 2 else ("default",))
    people.set_active(engine, ann, ACTOR, user(engine, "noc3").id, False)

    def names(**asked: object) -> list[str]:
        return [one.name for one in people.list_people(engine, ann, PeopleQuery(**asked)).people]  # type: ignore[arg-type]

    assert names(role="noc", environment="acme") == ["noc1", "noc3", "noc5"]
    assert names(state="inactive") == ["noc3"]
    assert names(text="OC4") == ["noc4"]
    assert names(text="%") == []
    assert names(state="never") == [f"noc{number}" for number in range(7)]
    assert names(environment="a_me") == []
    assert names(environment="acme", state="active") == ["ann", "noc1", "noc5"], "everywhere is there too"
    first = people.list_people(engine, ann, PeopleQuery(limit=5))
    rest = people.list_people(engine, ann, PeopleQuery(limit=5, after=first.more_after))
    assert (first.total, len(first.people), len(rest.people), rest.more_after) == (8, 5, 3, "")
    assert sorted(one.name for one in first.people + rest.people) == sorted(["ann", *names(state="never")])


def test_every_change_of_a_person_is_told_and_no_secret(engine: Engine, ann: Principal) -> None:
    user_id, password = people.make_person(engine, ann, ACTOR, form(full_name="Bob B."))
    changed(engine, ann, "bob", role=Role.NOC, environments=("default", "acme"))
    new_password = people.give_new_password(engine, ann, ACTOR, user_id)
    people.set_active(engine, ann, ACTOR, user_id, False)
    of_bob = [one for one in told(engine) if one.name == "bob"]
    assert [one.action for one in of_bob] == ["created", "changed", "changed", "changed"]
    assert '"role":["support","noc"]' in of_bob[1].text
    assert '"environments":[["default"],["default","acme"]]' in of_bob[1].text
    assert '"password_hash":["•••","•••"]' in of_bob[2].text
    assert '"active":[true,false]' in of_bob[3].text
    with reading(engine) as session:
        hashes = [each for each in session.scalars(select(User.password_hash)) if each]
    for secret in (password, new_password, PASSWORD, *hashes):
        assert all(secret not in one.text + one.name for one in told(engine))
