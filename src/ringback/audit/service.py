"""What a reader may ask of the audit log. Logs of one entity come from the records and have everything that was committed;
the search over everything comes from the event store, to which records are copied within a second or so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Engine

from ringback import clock
from ringback.access.schemas import Principal
from ringback.audit import queries
from ringback.audit.chain import Chain, Link, chain_of
from ringback.audit.models import AuditRecord
from ringback.audit.telling import Telling, ToldRecord, sees
from ringback.billing.entities.models import TYPES
from ringback.changes.schemas import Actor, Json
from ringback.changes.schemas import Owner as ChangeOwner
from ringback.changes.service import changing, note
from ringback.events.store import AuditQuery, EventStore
from ringback.records.engine import reading

PAGE, MOST = 50, 500  # records of a page
READ, SEARCHED, EXPORTED = "audit.read", "audit.search.read", "audit.export.read"
LOG = "audit_log"


class RecordNotFound(Exception):
    """There is no such record, or none that this reader may see."""


class NotForThisReader(Exception):
    """A search that would tell what is masked: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Page:
    records: list[ToldRecord]
    cursor: str | None  # None: nothing more
    led_to: frozenset[int] = frozenset()  # those of the records that have effects


@dataclass(frozen=True, slots=True)
class ChainState:
    """What is known of an environment's chain without reading it."""

    records: int
    first: int
    last: int
    anchored_at_us: int | None
    anchored_seq: int


def log_of(
    engine: Engine, reader: Principal, of: ColumnElement[bool], *, limit: int = PAGE, before: int | None = None,
    kind: str = "",
) -> Page:  # fmt: skip
    """Of one entity, customer or account: `of` is one of `queries.of_...`."""
    with reading(engine, reader.environments[:1]) as session:
        found = queries.newest(session, of, limit + 1, before, kind)
        more = len(found) > limit
        shown = found[:limit]
        told = Telling(session, reader).tell(shown)
        led_to = queries.with_effects(session, [each.id for each in shown])
    return Page(told, str(shown[-1].id) if more else None, frozenset(led_to))


def search(
    engine: Engine, events: EventStore, reader: Principal, query: AuditQuery, *, limit: int = PAGE,
    cursor: str | None = None,
) -> Page:  # fmt: skip
    """Over everything that was copied. Raises EventStoreError, NotForThisReader."""
    check(reader, query)
    seen = sees(reader)
    query = replace(query, environments=tuple(each for each in query.environments if each in seen))
    if not query.environments:
        return Page([], None)
    page = events.search_audit(query, limit, cursor)
    with reading(engine, seen) as session:
        found = queries.by_ids(session, [row.id for row in page.rows])
        told = Telling(session, reader).tell(found)
        led_to = queries.with_effects(session, [each.id for each in found])
    return Page(told, page.cursor, frozenset(led_to))


def every(
    engine: Engine, events: EventStore, reader: Principal, query: AuditQuery, most: int
) -> Iterator[list[ToldRecord]]:
    """All pages of a search, up to `most` records. Raises as `search` does."""
    cursor, left = None, most
    while left > 0:
        page = search(engine, events, reader, query, limit=min(MOST, left), cursor=cursor)
        yield page.records
        left -= len(page.records)
        cursor = page.cursor
        if cursor is None:
            return


def check(reader: Principal, query: AuditQuery) -> None:
    """Who sees masks must not find out by searching what is behind them. Raises NotForThisReader."""
    if query.names and not reader.sees_personal:
        raise NotForThisReader(
            "name", "Searching by name takes the permission personal.read: it would tell what is masked for you."
        )


def open_record(engine: Engine, reader: Principal, record_id: int) -> ToldRecord:
    """Raises RecordNotFound."""
    with reading(engine, sees(reader)) as session:
        return Telling(session, reader).tell([_found(queries.record(session, record_id))])[0]


def chain(
    engine: Engine, reader: Principal, record_id: int, *, unfolded: Collection[int] = (), all_shown: bool = False
) -> Chain:
    """The tree that the record belongs to, as far as the reader may see it. Raises RecordNotFound."""
    with reading(engine, sees(reader)) as session:
        here = _found(queries.record(session, record_id))
        links = [Link(*each) for each in queries.tree(session, here.root_id)]
        is_cut = len(links) > queries.MOST_OF_A_TREE
        links = links[: queries.MOST_OF_A_TREE]
        if here.id not in {each.id for each in links}:
            links = sorted([*links, Link(here.id, here.cause_id, here.amount, here.currency)])

        def tell(ids: Sequence[int]) -> list[ToldRecord]:
            found = queries.by_ids(session, ids)
            if len(found) < len(ids):  # trimmed since the links were read
                raise RecordNotFound
            return Telling(session, reader).tell(found)

        return chain_of(record_id, links, tell, is_cut=is_cut, unfolded=unfolded, all_shown=all_shown)


def chain_state(engine: Engine, environment: str) -> ChainState:
    with reading(engine, (environment,)) as session:
        state = queries.chain(session, environment)
        anchor = queries.last_anchor(session, environment)
    return ChainState(
        state.seq - state.trimmed_seq if state else 0,
        state.trimmed_seq + 1 if state else 1,
        state.seq if state else 0,
        clock.to_us(anchor.at) if anchor else None,
        anchor.seq if anchor else 0,
    )


def note_read_of(engine: Engine, reader: Principal, actor: Actor, told: ToldRecord | tuple[str, str, str]) -> None:
    """Somebody reads the audit log of an entity (type, id, name) and sees personal data in it: that is a record too."""
    if not reader.sees_personal:
        return
    kind, id_, name = told if isinstance(told, tuple) else (told.entity_type, told.entity_id, told.entity_name)
    ids = {"customer": int(id_) if kind == "customer" else None, "account": int(id_) if kind == "account" else None}
    owner = ChangeOwner(reader.environments[0], ids["customer"], ids["account"])
    with changing(engine, actor, reader.environments[:1]) as work:
        note(work, READ, kind, id_, name, owner)


def note_record(engine: Engine, reader: Principal, actor: Actor, told: ToldRecord) -> None:
    """As `note_read_of`, where a record of an entity with personal data is read."""
    entity = TYPES.get(told.entity_type)
    if entity is not None and entity.personal and told.entity_id and told.environment == reader.environments[0]:
        note_read_of(engine, reader, actor, told)


def note_search(
    engine: Engine, reader: Principal, actor: Actor, action: str, asked: dict[str, Json], count: int
) -> None:
    """`asked`: the filters as they were given. Exports are told always, searches where personal data was read."""
    if action == SEARCHED and not (reader.sees_personal and count):
        return
    environment = reader.environments[0]
    with changing(engine, actor, (environment,)) as work:
        note(
            work, action, LOG, environment, environment, ChangeOwner(environment),
            arguments={"filter": asked, "count": count},
        )  # fmt: skip


def _found(record: AuditRecord | None) -> AuditRecord:
    if record is None:
        raise RecordNotFound
    return record
