"""Share links show one session until they expire or are revoked; every view is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from ringback import clock
from ringback.records.engine import reading, unit_of_work
from ringback.records.wall import EVERYWHERE
from ringback.sessions.share.models import ShareLink
from ringback.sessions.share.schemas import ShareError, ShareInfo, ShareNotFound, Viewer
from ringback.sessions.share.service import (
    create_share,
    list_shares,
    list_views,
    open_share,
    record_view,
    revoke_share,
)

WEEK = timedelta(days=7)
DEFAULT = ("default",)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Its one element is the time."""
    time = [datetime(2026, 11, 22, 12, tzinfo=UTC)]
    monkeypatch.setattr(clock, "now", lambda: time[0])
    return time


def share(
    engine: Engine, life: timedelta = WEEK, session: str = "s1", environment: str = "default"
) -> tuple[ShareInfo, str]:
    with unit_of_work(engine, EVERYWHERE) as work:
        return create_share(work, environment, session, "ann", life)


def test_a_link_opens_its_session_and_no_other(engine: Engine) -> None:
    made, token = share(engine)
    opened = open_share(engine, token)
    assert (opened.session_id, opened.environment, opened.created_by) == ("s1", "default", "ann")
    assert opened == made


def test_a_link_expires(engine: Engine, now: list[datetime]) -> None:
    _, token = share(engine, timedelta(hours=1))
    now[0] += timedelta(minutes=59, seconds=59)
    open_share(engine, token)
    now[0] += timedelta(seconds=1)
    with pytest.raises(ShareNotFound, match="expired"):
        open_share(engine, token)


def test_a_revoked_link_is_closed_at_once(engine: Engine) -> None:
    made, token = share(engine)
    with unit_of_work(engine, EVERYWHERE) as work:
        revoke_share(work, DEFAULT, made.id)
    with pytest.raises(ShareNotFound):
        open_share(engine, token)


def test_expired_revoked_and_unknown_links_are_answered_alike(engine: Engine, now: list[datetime]) -> None:
    made, revoked = share(engine)
    with unit_of_work(engine, EVERYWHERE) as work:
        revoke_share(work, DEFAULT, made.id)
    _, expired = share(engine, timedelta(hours=1))
    now[0] += timedelta(hours=2)
    said = set()
    for token in (revoked, expired, "never-was", ""):
        with pytest.raises(ShareNotFound) as caught:
            open_share(engine, token)
        said.add(str(caught.value))
    assert len(said) == 1


@pytest.mark.parametrize("life", [timedelta(minutes=59), timedelta(days=30, seconds=1), timedelta(0), -WEEK])
def test_a_link_lives_from_an_hour_to_thirty_days(engine: Engine, life: timedelta) -> None:
    with pytest.raises(ShareError) as caught:
        share(engine, life)
    assert caught.value.field == "expires_in_hours"
    assert list_shares(engine, DEFAULT) == []


def test_the_records_hold_no_secret_of_a_link(engine: Engine) -> None:
    _, token = share(engine)
    with reading(engine, EVERYWHERE) as session:
        row = session.scalars(select(ShareLink)).one()
    assert token != row.token_hash
    assert len(token) >= 43


def test_links_of_another_environment_are_out_of_reach(engine: Engine) -> None:
    made, token = share(engine, environment="other")
    assert list_shares(engine, DEFAULT) == []
    with pytest.raises(ShareNotFound), unit_of_work(engine, EVERYWHERE) as work:
        revoke_share(work, DEFAULT, made.id)
    open_share(engine, token)


def test_every_view_is_recorded_with_who_and_how(engine: Engine, now: list[datetime]) -> None:
    made, _ = share(engine)
    seen = [
        (Viewer("user", "ann", "192.0.2.1"), "page"),
        (Viewer("token", "crm", "192.0.2.2"), "api"),
        (Viewer("share", "ann", "203.0.113.5", made.id), "page"),
    ]
    for viewer, how in seen:
        now[0] += timedelta(seconds=1)
        with unit_of_work(engine, EVERYWHERE) as work:
            record_view(work, "default", "s1", viewer, how)
    views = list_views(engine, DEFAULT, "s1")
    assert [(view.viewer, view.how) for view in views] == seen[::-1]
    assert views[0].viewed_at == now[0]
    assert list_views(engine, ("other",), "s1") == []
    assert list_views(engine, DEFAULT, "s2") == []


def test_a_link_tells_how_often_it_was_opened(engine: Engine, now: list[datetime]) -> None:
    first, _ = share(engine)
    share(engine, session="s2")
    for _ in range(2):
        now[0] += timedelta(minutes=1)
        with unit_of_work(engine, EVERYWHERE) as work:
            record_view(work, "default", "s1", Viewer("share", "ann", "203.0.113.5", first.id), "page")
    listed = list_shares(engine, DEFAULT)
    assert [(one.session_id, one.views) for one in listed] == [("s2", 0), ("s1", 2)]
    assert listed[1].last_viewed_at == now[0]
    assert [one.session_id for one in list_shares(engine, DEFAULT, "s2")] == ["s2"]
