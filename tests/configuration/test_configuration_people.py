"""What options of who signs in touch."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from settled import Room

from actors import by_tester
from ringback import clock
from ringback.access.models import User
from ringback.access.service import add_user
from ringback.configuration.options import Looking, Option
from ringback.configuration.people import PASSWORD_MAX_AGE, SECOND_FACTOR
from ringback.options import OPTIONS
from ringback.records.tables import INSTALLATION


def touched(here: Room, option: Option[Any], old: object, new: object) -> list[str]:
    looking = Looking(here.engine, here.settings, INSTALLATION, clock.now())
    return [sentence for touch in OPTIONS.touches_of(option) for sentence in touch(looking, old, new)]


def test_who_will_have_to_do_something_is_counted(here: Room) -> None:
    with by_tester(here.engine) as work:
        for name, days in (("ann", 100), ("bob", 40), ("zoe", 400)):
            add_user(work, name, "correct horse battery")
            work.query(User).filter_by(name=name).one().password_changed_at = clock.now() - timedelta(days=days)
        work.query(User).filter_by(name="zoe").one().active = False
    assert touched(here, PASSWORD_MAX_AGE, 0, 90) == [
        "1 person has a password older than 90 days and can do nothing else until it is changed."
    ]
    assert touched(here, PASSWORD_MAX_AGE, 90, 30)[0].startswith("2 people have a password older than 30 days")
    assert touched(here, PASSWORD_MAX_AGE, 0, 200) == []
    for old, new in ((90, 0), (30, 90)):
        assert touched(here, PASSWORD_MAX_AGE, old, new) == ["Nobody has to change a password sooner than now."]
    assert touched(here, SECOND_FACTOR, False, True)[0].startswith("2 people have no second factor")
    assert touched(here, SECOND_FACTOR, True, False) == ["Second factors that were set up are still asked for."]
