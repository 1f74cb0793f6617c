"""Options of who signs in. They stand here because access is below configuration: it is told the policy that holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from ringback.access.models import User
from ringback.access.permissions import Role
from ringback.access.policy import Policy
from ringback.configuration.kinds import flag, whole
from ringback.configuration.options import Harmless, Looking, option, touches
from ringback.configuration.reader import Current
from ringback.records.engine import reading
from ringback.web.formats import plural

SECOND_FACTOR = option(
    "Access.Second_Factor_Required",
    flag(),
    default=False,
    help="Whether everybody who signs in with a password needs a second factor. Who has none is led to set one up before"
    " anything else; who signs in by single sign-on is not asked.",
)
PASSWORD_MAX_AGE = option(
    "Access.Password_Max_Age",
    whole(0, 3650),
    default=0,
    unit="days",
    help="After how many days a password has to be changed; 0 for never. It is asked for at the next page.",
)


def policy_of(current: Current) -> Policy:
    """What holds now."""
    days = current.value(PASSWORD_MAX_AGE)
    return Policy(second_factor_required=current.value(SECOND_FACTOR), password_days=days or None)


@touches(PASSWORD_MAX_AGE)
def _with_old_ones(looking: Looking, old: int, new: int) -> Iterator[str]:
    if not new or (old and new > old):
        yield Harmless("Nobody has to change a password sooner than now.")
        return
    with reading(looking.records) as session:
        able = (User.active, User.password_hash.is_not(None), User.role != Role.API)
        due = User.password_changed_at <= looking.now - timedelta(days=new)
        found = session.scalars(select(func.count()).where(*able, due)).one()
    if found:
        who = "1 person has" if found == 1 else f"{found} people have"
        yield f"{who} a password older than {plural(new, 'day')} and can do nothing else until it is changed."


@touches(SECOND_FACTOR)
def _without_one(looking: Looking, _old: bool, new: bool) -> Iterator[str]:
    if not new:
        yield Harmless("Second factors that were set up are still asked for.")
        return
    with reading(looking.records) as session:
        able = (User.active, User.password_hash.is_not(None), User.role != Role.API)
        bare = session.scalars(select(func.count()).where(*able, User.totp_confirmed_at.is_(None))).one()
    if bare:
        who = "1 person has" if bare == 1 else f"{bare} people have"
        yield f"{who} no second factor and can do nothing else until one is set up."
