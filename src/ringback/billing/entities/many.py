"""Many entities at once: imports and bulk changes, in batches of units of work, each row with its outcome.

A dry run does all but write: links, names that are taken, rules, and what earlier rows of the same file would make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ringback import clock
from ringback.billing.entities.errors import WHOLE, EntityErrors, InUse, OtherCount
from ringback.billing.entities.fields import Entity, EntityType, Field, Kind
from ringback.billing.entities.known import Known
from ringback.billing.entities.queries import ListQuery, matching_ids
from ringback.billing.entities.service import (
    Given,
    check_unused,
    fields_by_name,
    flush,
    keys_of,
    lock,
    propose,
    put,
)
from ringback.billing.entities.values import plain, read
from ringback.changes.schemas import SECRET, Actor, Json, Owner
from ringback.changes.service import because, changing, note
from ringback.garbage import uncollected
from ringback.records.engine import UnitOfWork, reading

CREATED, CHANGED, UNCHANGED, DELETED, REFUSED = "created", "changed", "unchanged", "deleted", "refused"
IMPORTED, BULK = "entities.imported", "entities.bulk"  # the facts that are the cause of all the others
BATCH = 1000  # rows of a unit of work
_ALONE = frozenset({"node", "account_add_on"})  # whose rules look at what others of the same batch wrote

Key = tuple[tuple[str, ...], tuple[Hashable, ...]]  # fields, values
_Done = tuple["Outcome", "Entity | None"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became, or would become, of one row."""

    row: int  # in the file, from 1; of a bulk change in the list
    status: str
    id: int | None
    title: str
    changes: dict[str, tuple[Json, Json]] = field(default_factory=dict)  # field -> old, new
    errors: dict[str, str] = field(default_factory=dict)  # field -> sentence


@dataclass(slots=True)
class Report:
    """Counts by outcome, filled while the outcomes are read."""

    dry_run: bool
    applied: bool = False  # else nothing was written
    counts: Counter[str] = field(default_factory=Counter)

    def counting(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            self.counts[outcome.status] += 1
            yield outcome


@dataclass(slots=True)
class _Many:
    engine: Engine
    actor: Actor
    environment: str
    kind: EntityType
    reason: str
    sees_personal: bool

    def _started(self, action: str, arguments: dict[str, Json]) -> int:
        """The id of the record that is the cause of all that follows."""
        with changing(self.engine, self.actor, (self.environment,), reason=self.reason) as work:
            owner = Owner(self.environment)
            fact = note(work, action, self.kind.name, "", self.kind.about.plural, owner, arguments=arguments)
        return fact.record_id or 0

    def _written(
        self, do: Callable[[UnitOfWork], list[_Done]], undo: Callable[[], None], cause: int
    ) -> list[Outcome] | None:
        """The outcomes of a batch in a unit of work of its own; None: others changed something at the same moment."""
        try:
            with uncollected(), changing(self.engine, self.actor, (self.environment,), reason=self.reason) as work:
                lock(work, self.kind, self.environment)
                with because(work, cause):
                    done = do(work)
                    flush(work, *(row for _, row in done if row is not None))
                return [replace(one, id=row.id) if row is not None else one for one, row in done]
        except EntityErrors:
            undo()
            return None


@dataclass(slots=True)
class Import(_Many):
    """One file. `rows` gives the rows anew each time: they may be gone through twice. A row that cannot be read is the
    EntityErrors that says why."""

    rows: Callable[[], Iterable[Given | EntityErrors]]
    name: str = ""  # of the file

    def outcomes(self, report: Report, *, all_or_nothing: bool = True) -> Iterator[Outcome]:
        """Writes all rows, or those that are good; nothing if the report is that of a dry run."""
        report.applied = not report.dry_run
        if report.applied and all_or_nothing:
            report.applied = all(outcome.status != REFUSED for outcome in self._tried())
        yield from report.counting(self._applied() if report.applied else self._tried())

    def _tried(self) -> Iterator[Outcome]:
        seen, numbered = _Seen(dry=True), enumerate(self.rows(), 1)
        with reading(self.engine, (self.environment,)) as session:
            while batch := list(islice(numbered, BATCH)):
                yield from (outcome for outcome, _ in self._batch(session, batch, seen))
                session.expunge_all()

    def _applied(self) -> Iterator[Outcome]:
        seen, numbered = _Seen(dry=False), enumerate(self.rows(), 1)
        cause = self._started(IMPORTED, {"file": self.name})
        size = 1 if self.kind.name in _ALONE else BATCH
        while batch := list(islice(numbered, size)):
            yield from self._apply(batch, seen, cause)

    def _apply(self, batch: list[tuple[int, Given | EntityErrors]], seen: _Seen, cause: int) -> list[Outcome]:
        done = self._written(lambda work: self._batch(work, batch, seen), seen.undo, cause)
        if done is not None:
            return done
        if len(batch) == 1:
            sentence = "Somebody changed what this needs at the same moment. Try again."
            return [Outcome(batch[0][0], REFUSED, None, "", errors={WHOLE: sentence})]
        return [outcome for one in batch for outcome in self._apply([one], seen, cause)]

    def _batch(self, session: Session, batch: list[tuple[int, Given | EntityErrors]], seen: _Seen) -> list[_Done]:
        seen.begin()
        known = Known(session, self.environment)
        known.pending = seen.pending
        fields = fields_by_name(self.kind)
        good = [given for _, given in batch if not isinstance(given, EntityErrors)]
        _preload_links(known, fields, good)
        names = self.kind.about.key or (self.kind.about.title,)
        keys = [_key(self.kind, names, fields, given, known) for given in good]
        known.preload_taken(self.kind, names, [key for key in keys if key is not None])
        _preload_unique(known, self.kind, names, fields, good)
        key_of = iter(keys)
        return [
            (Outcome(number, REFUSED, None, "", errors=given.errors), None)
            if isinstance(given, EntityErrors)
            else self._one(session, number, given, next(key_of), known, seen)
            for number, given in batch
        ]

    def _one(
        self, session: Session, number: int, given: Given, key: tuple[Any, ...] | None, known: Known, seen: _Seen
    ) -> _Done:
        names = self.kind.about.key or (self.kind.about.title,)
        row = known.taken(self.kind, names, key) if key is not None else None
        proposed, errors = propose(self.kind, row, given, known, sees_personal=self.sees_personal)
        title = str(proposed.values.get(self.kind.about.title) or (row.told_as() if row is not None else ""))
        if not errors:
            errors = seen.claim(proposed, number)
        if errors:
            return Outcome(number, REFUSED, row.id if row is not None else None, title, errors=errors), None
        if row is not None:
            changes = _changes(self.kind, row, proposed.values)
            if isinstance(session, UnitOfWork):
                put(row, proposed.values)
            status = CHANGED if changes else UNCHANGED
            return Outcome(number, status, row.id, row.told_as(), changes), row if changes else None
        if not isinstance(session, UnitOfWork):
            seen.would_make(self.kind, title, proposed.values)
            return Outcome(number, CREATED, None, title), None
        made = self.kind.model(environment=self.environment, created_at=clock.now(), **proposed.values)
        session.add(made)
        seen.made(self.kind, title, made)
        return Outcome(number, CREATED, None, title), made


@dataclass(slots=True)
class Bulk(_Many):
    """One change of the entities that a list shows, or of those that were picked. `given` None: they are deleted."""

    query: ListQuery  # its `ids` are those that were picked
    count: int  # how many that were when it was decided
    given: Given | None

    def outcomes(self, report: Report, *, all_or_nothing: bool = False) -> Iterator[Outcome]:
        """Raises EntityErrors, OtherCount, BadQuery, before anything is written."""
        self._check()
        with reading(self.engine, (self.environment,)) as session:
            ids = matching_ids(session, self.kind, self.query, sees_personal=self.sees_personal)
        if len(ids) != self.count:
            raise OtherCount(self.count, len(ids))
        report.applied = not report.dry_run
        if report.applied and all_or_nothing:
            report.applied = all(outcome.status != REFUSED for outcome in self._tried(ids))
        return report.counting(self._applied(ids) if report.applied else self._tried(ids))

    def _check(self) -> None:
        fields = fields_by_name(self.kind)
        wrong = {
            name: f"{fields[name].label} cannot be the same of several."
            for name in self.given or ()
            if name in fields and (fields[name].unique or fields[name].fixed)
        }
        if wrong or (self.given is not None and not self.given):
            raise EntityErrors(wrong or {WHOLE: "Say what shall be changed."})

    def _tried(self, ids: Sequence[int]) -> Iterator[Outcome]:
        with reading(self.engine, (self.environment,)) as session:
            for batch in _batches(ids):
                yield from (outcome for outcome, _ in self._batch(session, batch))
                session.expunge_all()

    def _applied(self, ids: Sequence[int]) -> Iterator[Outcome]:
        cause = self._started(BULK, {"do": "delete" if self.given is None else "change", "count": len(ids)})
        for batch in _batches(ids, 1 if self.kind.name in _ALONE else BATCH):
            yield from self._apply(batch, cause)

    def _apply(self, batch: list[tuple[int, int]], cause: int) -> list[Outcome]:
        done = self._written(lambda work: self._batch(work, batch), lambda: None, cause)
        if done is not None:
            return done
        if len(batch) == 1:
            sentence = "Somebody changed what this needs at the same moment. Try again."
            return [Outcome(batch[0][0], REFUSED, batch[0][1], "", errors={WHOLE: sentence})]
        return [outcome for one in batch for outcome in self._apply([one], cause)]

    def _batch(self, session: Session, batch: list[tuple[int, int]]) -> list[_Done]:
        model: Any = self.kind.model
        found = select(model).where(model.id.in_([id_ for _, id_ in batch]))
        if isinstance(session, UnitOfWork):
            found = found.with_for_update().execution_options(populate_existing=True)
        rows = {row.id: row for row in session.scalars(found)}
        known = Known(session, self.environment)
        return [self._one(session, number, id_, rows.get(id_), known) for number, id_ in batch]

    def _one(self, session: Session, number: int, id_: int, row: Entity | None, known: Known) -> _Done:
        if row is None:
            return Outcome(number, REFUSED, id_, "", errors={WHOLE: "It was deleted meanwhile."}), None
        if self.given is None:
            return self._deleted(session, number, row), None
        proposed, errors = propose(self.kind, row, self.given, known, sees_personal=self.sees_personal)
        if errors:
            return Outcome(number, REFUSED, row.id, row.told_as(), errors=errors), None
        changes = _changes(self.kind, row, proposed.values)
        if isinstance(session, UnitOfWork):
            put(row, proposed.values)
        return Outcome(
            number, CHANGED if changes else UNCHANGED, row.id, row.told_as(), changes
        ), row if changes else None

    def _deleted(self, session: Session, number: int, row: Entity) -> Outcome:
        try:
            check_unused(session, self.kind, row)
        except InUse as error:
            return Outcome(number, REFUSED, row.id, row.told_as(), errors={WHOLE: str(error)})
        if isinstance(session, UnitOfWork):
            session.delete(row)
            flush(session)
        return Outcome(number, DELETED, row.id, row.told_as())


class _Seen:
    """What earlier rows of the same file are, so that no two are the same entity."""

    def __init__(self, *, dry: bool) -> None:
        self.pending: dict[tuple[str, int | str], Any] = {}  # only of types that link to themselves
        self._claimed: dict[Key, int] = {}
        self._new: list[Key] = []
        self._made: list[tuple[str, int | str]] = []
        self._dry = dry

    def begin(self) -> None:
        self._new.clear()
        if not self._dry:
            self.pending.clear()  # they are in the database

    def undo(self) -> None:
        for key in self._new:
            self._claimed.pop(key, None)
        self._new.clear()
        self.pending.clear()

    def claim(self, proposed: Any, number: int) -> dict[str, str]:
        """Field -> sentence, where an earlier row has it."""
        kind: EntityType = proposed.kind
        wanted: list[Key] = []
        for names in keys_of(kind):
            values = tuple(proposed[name] for name in names)
            if len(names) == 1 and values[0] == kind[names[0]].empty:
                continue
            earlier = self._claimed.get((names, values))
            if earlier is not None:
                return {names[-1]: f"Row {earlier} of this file is the same already."}
            wanted.append((names, values))
        for key in wanted:
            self._claimed[key] = number
        self._new += wanted
        return {}

    def would_make(self, kind: EntityType, title: str, values: Mapping[str, Any]) -> None:
        if _links_to_itself(kind):
            one = SimpleNamespace(**{name: values[name] for name in _LOOKED_AT}, id=-len(self.pending) - 1)
            one.told_as = lambda: title
            self.pending[kind.name, title] = self.pending[kind.name, one.id] = one

    def made(self, kind: EntityType, title: str, row: Entity) -> None:
        if _links_to_itself(kind):
            self.pending[kind.name, title] = row


_LOOKED_AT = ("customer_id", "product_id", "billing_model", "status")  # of an account, by those that stand for it


def _links_to_itself(kind: EntityType) -> bool:
    return any(each.links_to == kind.name for each in kind.fields)


def _key(
    kind: EntityType, names: tuple[str, ...], fields: Mapping[str, Field], given: Given, known: Known
) -> tuple[Any, ...] | None:
    """The values that tell which entity a row is; None where one is not there, or wrong: then `propose` says so."""
    by_name = {fields[name].name: value for name, value in given.items() if name in fields}
    values = []
    for name in names:
        each = kind[name]
        try:
            value = read(each, by_name.get(name))
        except ValueError:
            return None
        if value == each.empty and each.default is not None:
            value = each.default
        if each.kind is Kind.LINK and value is not None:
            linked = known.linked(each, value)
            if linked is None or linked.id is None:
                return None
            value = linked.id
        values.append(value)
    return tuple(values)


def _preload_links(known: Known, fields: Mapping[str, Field], batch: Sequence[Given]) -> None:
    wanted: dict[Field, set[int | str]] = {}
    for given in batch:
        for name, value in given.items():
            each = fields.get(name)
            if each is not None and each.links_to and value not in (None, "") and isinstance(value, int | str):
                wanted.setdefault(each, set()).add(value.strip() if isinstance(value, str) else value)
    for each, keys in wanted.items():
        known.preload_links(each, keys)


def _preload_unique(
    known: Known, kind: EntityType, key: tuple[str, ...], fields: Mapping[str, Field], batch: Sequence[Given]
) -> None:
    """Of fields that are one entity's besides its key."""
    for each in kind.fields:
        if not each.unique or (each.name,) == key:
            continue
        values = set()
        for given in batch:
            for name, value in given.items():
                if fields.get(name) is each:
                    try:
                        values.add((read(each, value),))
                    except ValueError:
                        continue
        known.preload_taken(kind, (each.name,), values)


def _changes(kind: EntityType, row: Entity, values: Mapping[str, Any]) -> dict[str, tuple[Json, Json]]:
    found: dict[str, tuple[Json, Json]] = {}
    for name, value in values.items():
        old = getattr(row, name)
        if kind[name].secret:
            found[name] = SECRET if old else None, SECRET if value else None
        else:
            found[name] = plain(old), plain(value)
    return found


def _batches(ids: Sequence[int], size: int = BATCH) -> Iterator[list[tuple[int, int]]]:
    numbered = enumerate(ids, 1)
    while batch := list(islice(numbered, size)):
        yield batch
