"""Sessions that are written some at a time: none is lost for the sake of another, nor while the records are away."""

from __future__ import annotations

from engine_asked import Asking, Books, Running
from sqlalchemy import Engine, select

from ringback.billing.engine.direct import Direct, RecordsAway
from ringback.billing.engine.models import EngineSession
from ringback.billing.engine.queries import Statements
from ringback.billing.engine.reserving import Reservations, Row
from ringback.records.engine import reading
from running import until


def keys(engine: Engine) -> set[str]:
    with reading(engine, ("default",)) as session:
        return set(session.scalars(select(EngineSession.key)))


def row_of(engine: Engine, **more: object) -> Row:
    """Like the one session that there is."""
    columns = [column.name for column in EngineSession.__table__.columns]
    with reading(engine, ("default",)) as session:
        one = session.scalars(select(EngineSession)).first()
        row = {name: getattr(one, name) for name in columns if name not in ("id", "started_at", "ended_at", "xdr_id")}
    return row | more


def test_a_row_that_is_refused_holds_up_no_other(live: Running, books: Books, node: Asking, engine: Engine) -> None:
    session = node.authorize()["session"]
    node.tell("start", call_id="c0", account="12103355787")
    direct = Direct(engine)
    reservations = Reservations(direct, Statements(engine))
    reservations.put(row_of(engine, key="one", call_id="c1"))
    reservations.put(row_of(engine, key="nobody's", call_id="c2", account_id=999_999))
    reservations.put(row_of(engine, key="two", call_id="c3"))
    reservations.flush()
    assert keys(engine) >= {session, "one", "two"}
    assert "nobody's" not in keys(engine)
    direct.close()


def test_what_was_put_waits_for_the_records(live: Running, books: Books, node: Asking, engine: Engine) -> None:
    class Away(Direct):
        away, refused = True, 0

        def write(self, *arguments: object) -> None:
            if self.away:
                self.refused += 1
                raise RecordsAway("nobody answers")
            super().write(*arguments)  # type: ignore[arg-type]

    node.authorize()
    node.tell("start", call_id="c0", account="12103355787")
    direct = Away(engine)
    reservations = Reservations(direct, Statements(engine))
    reservations.start()
    reservations.put(row_of(engine, key="one", call_id="c1"))
    reservations.put(row_of(engine, key="one", call_id="c1", max_seconds=7))
    until(lambda: direct.refused)
    direct.away = False
    reservations.flush()
    with reading(engine, ("default",)) as session:
        found = session.scalars(select(EngineSession).where(EngineSession.key == "one")).one()
        assert found.max_seconds == 7, "asked twice, reserved once: as it was allowed last"
    reservations.close()
    direct.close()
