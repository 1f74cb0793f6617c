"""What can be done with entities of any type: make, change, delete. Each in a unit of work of `changes.changing`.

`given` maps fields, by their names or API names, to values as people and programs give them (`values.read`). Everything
is checked before anything is written, and all that is wrong is told at once (`EntityErrors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from ringback import clock
from ringback.billing.entities.errors import WHOLE, EntityErrors, EntityNotFound, InUse, Meanwhile, StaleVersion, Use
from ringback.billing.entities.fields import Entity, EntityType, Field, Kind
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import TYPES, Environment
from ringback.billing.entities.node import Node
from ringback.billing.entities.personal import is_masked
from ringback.billing.entities.rules import Proposed, broken, in_the_way
from ringback.billing.entities.senders import index_senders
from ringback.billing.entities.values import plain, read
from ringback.changes.history import changes_after
from ringback.changes.schemas import READ, SECRET, Fact, Json, Owner
from ringback.changes.service import note
from ringback.records.engine import UnitOfWork

MOST_COUNTED = 1000  # of what needs an entity

Given = Mapping[str, object]
Needed = Callable[[Session, Entity], list[Use]]
_needed: list[Needed] = []


def needed_by(others: Needed) -> None:
    """Rooms that do not belong to billing tell what of theirs needs an entity, which is then not deleted."""
    if others not in _needed:
        _needed.append(others)


def create(
    work: UnitOfWork, kind: EntityType, environment: str, given: Given, *, known: Known | None = None
) -> Entity:
    """Flushed: it has its id. Raises EntityErrors. An environment is made in a unit of work for EVERYWHERE."""
    lock(work, kind, environment)
    proposed, errors = propose(kind, None, given, known or Known(work, environment))
    if errors:
        raise EntityErrors(errors)
    row = kind.model(environment=environment, created_at=clock.now(), **proposed.values)
    if isinstance(row, Environment):
        row.environment = row.key
    work.add(row)
    flush(work, row)
    return row


def change(
    work: UnitOfWork, kind: EntityType, environment: str, id_: int, given: Given, version: int | None,
    *, sees_personal: bool = True,
) -> tuple[Entity, bool]:  # fmt: skip
    """The entity, and whether anything is other than before. `version`: what the changes were made to; None: whatever.

    Who may not see personal data gives back masks for it: these change nothing. Raises EntityNotFound, EntityErrors,
    StaleVersion.
    """
    lock(work, kind, environment)
    row = locked(work, kind, environment, id_)
    if version is not None and row.version != version:
        raise stale(work, kind, row, version)
    proposed, errors = propose(kind, row, given, Known(work, environment), sees_personal=sees_personal)
    if errors:
        raise EntityErrors(errors)
    put(row, proposed.values)
    flush(work, row)
    return row, bool(proposed.values)


def delete(work: UnitOfWork, kind: EntityType, environment: str, id_: int, version: int | None = None) -> Entity:
    """Raises EntityNotFound, StaleVersion, InUse."""
    lock(work, kind, environment)
    row = locked(work, kind, environment, id_)
    if version is not None and row.version != version:
        raise stale(work, kind, row, version)
    check_unused(work, kind, row)
    work.delete(row)
    flush(work, None)
    return row


def check_unused(session: Session, kind: EntityType, row: Entity) -> None:
    """Raises InUse: why it cannot be deleted."""
    reason, uses = in_the_way(row), uses_of(session, kind, row)
    if reason or uses:
        needs = f"It is used by {_listed([str(use) for use in uses])}: delete or change these first." if uses else ""
        raise InUse(" ".join(filter(None, (reason, needs))), uses, row.id)


def uses_of(session: Session, kind: EntityType, row: Entity) -> list[Use]:
    """What needs the entity: counts stop at MOST_COUNTED."""
    found = []
    for other in TYPES.values():
        for field in other.fields:
            if field.links_to != kind.name:
                continue
            some = select(other.model.id).where(getattr(other.model, field.name) == row.id).limit(MOST_COUNTED)
            count = session.scalar(select(func.count()).select_from(some.subquery())) or 0
            if count:
                found.append(_use(other, count, field.api))
    if isinstance(row, Environment):
        for other in TYPES.values():
            if other.name == kind.name:
                continue
            of_it = select(other.model.id).where(other.model.environment == row.key)
            count = session.scalar(select(func.count()).select_from(of_it.limit(MOST_COUNTED).subquery())) or 0
            if count:
                found.append(_use(other, count, ""))
    return found + [use for others in _needed for use in others(session, row)]


def locked(work: UnitOfWork, kind: EntityType, environment: str, id_: int) -> Entity:
    """As it is now; nobody else changes it before this work ends. Raises EntityNotFound."""
    found = select(kind.model).where(kind.model.id == id_, kind.model.environment == environment).with_for_update()
    fresh = found.execution_options(populate_existing=True)
    row: Entity | None = work.scalars(fresh).one_or_none() if 0 < id_ < 1 << 53 else None
    if row is None:
        raise EntityNotFound(f"There is no {_inside(kind.about.label)} {id_}.")
    return row


def stale(session: Session, kind: EntityType, row: Entity, version: int) -> StaleVersion:
    """What others changed since: of each field what it was, what it is, who did it last and when."""
    found: dict[str, Meanwhile] = {}
    names = {field.name: field for field in kind.fields}
    for past in changes_after(session, row.environment, kind.name, str(row.id), version):
        for name, (old, new) in past.changes.items():
            if name in names:
                was = found[name].was if name in found else old
                found[name] = Meanwhile(name, names[name].label, was, new, past.who, past.at)
    return StaleVersion(row.version, [each for each in found.values() if each.was != each.now or each.now == SECRET])


def propose(
    kind: EntityType, row: Entity | None, given: Given, known: Known, *, sees_personal: bool = True
) -> tuple[Proposed, dict[str, str]]:
    """The entity as it would be, and what is wrong with that, by the names of the fields."""
    errors: dict[str, str] = {}
    fields = fields_by_name(kind)
    values: dict[str, Any] = {}
    for name, each in given.items():
        field = fields.get(name)
        if field is None:
            errors[name] = f"{_a(kind.about.label)} has no field {name!r}."
            continue
        if row is not None and not sees_personal and is_masked(field, getattr(row, field.name), each):
            continue
        try:
            values[field.name] = _value(field, each, known)
        except ValueError as error:
            errors[field.name] = str(error)
    for field in kind.fields:
        _complete(field, row, values, errors)
    proposed = Proposed(kind, row, values, known, set(errors))
    errors |= _taken(proposed)
    proposed.wrong |= errors.keys()
    for name, sentence in broken(proposed).items():
        errors.setdefault(name, sentence)
    return proposed, errors


def put(row: Entity, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def fields_by_name(kind: EntityType) -> dict[str, Field]:
    """By name and by API name."""
    return {name: field for field in kind.fields for name in (field.name, field.api)}


def keys_of(kind: EntityType) -> list[tuple[str, ...]]:
    """Fields whose values together are one entity's in its environment."""
    alone = [(field.name,) for field in kind.fields if field.unique]
    return [*alone, *([kind.about.key] if kind.about.key else [])]


def note_read(work: UnitOfWork, kind: EntityType, row: Entity) -> Fact:
    """Somebody sees personal data of it in clear."""
    return note(work, READ, kind.name, row.id, row.told_as(), row.owner())


def note_list(
    work: UnitOfWork, kind: EntityType, environment: str, shown: Mapping[str, Json], count: int, how: str = "list"
) -> Fact:
    """Somebody sees personal data of `count` of them. `shown`: the filter; `how`: list, csv or xlsx."""
    arguments: dict[str, Json] = {"filter": dict(shown), "count": count, "how": how}
    return note(work, READ, kind.name, "", kind.about.plural, Owner(environment), arguments=arguments)


def _value(field: Field, given: object, known: Known) -> Any:
    """Raises ValueError."""
    if field.kept:
        raise ValueError(f"{field.label} is kept by Ringback: it cannot be given.")
    value = read(field, given)
    if field.kind is not Kind.LINK or value is None:
        return value
    found = known.linked(field, value)
    if found is None:
        raise ValueError(f"There is no {_inside(TYPES[field.links_to].about.label)} {value}.")
    return found.id


def _complete(field: Field, row: Entity | None, values: dict[str, Any], errors: dict[str, str]) -> None:
    """Defaults of a new entity; of one there is only what changes is kept."""
    name = field.name
    if name in errors:
        values.pop(name, None)
        return
    if row is None:
        if values.get(name, field.empty) == field.empty and field.default is not None:
            values[name] = field.default
        elif name not in values:
            values[name] = field.empty
    elif name in values:
        if field.required and values[name] is None and field.default is not None:
            values[name] = field.default
        if values[name] == getattr(row, name):
            del values[name]
            return
        if field.fixed:
            errors[name] = f"{field.label} cannot be changed: it was set when this was made."
    if field.required and not field.kept and name in values and values[name] in (None, ""):
        errors.setdefault(name, f"{field.label} is needed.")


def _taken(new: Proposed) -> dict[str, str]:
    """Another one that is the same already, named."""
    errors: dict[str, str] = {}
    for names in keys_of(new.kind):
        if new.wrong.intersection(names) or not any(name in new.values for name in names):
            continue
        values = tuple(new[name] for name in names)
        if len(names) == 1 and values[0] == new.kind[names[0]].empty:
            continue
        other = new.known.taken(new.kind, names, values)
        if other is not None and other.id != new.id:
            shown = other.told_as() if len(names) == 1 else ", ".join(str(plain(value)) for value in values)
            what = f"{new.kind[names[0]].label} {values[0]}" if len(names) == 1 else "the same"
            one = _inside(new.kind.about.label)
            if new.kind.about.title == names[0]:
                errors[names[-1]] = f"There is {_an(one)} {shown} already (#{other.id})."
            elif len(names) == 1:
                errors[names[0]] = f"{what} is that of the {one} {shown} (#{other.id})."
            else:
                labels = _listed([_inside(new.kind[name].label) for name in names])
                errors[names[-1]] = f"There is {_an(one)} with this {labels} already (#{other.id})."
    return errors


def lock(work: UnitOfWork, kind: EntityType, environment: str) -> None:
    """Changes of one type in one environment go one after the other: each is checked against all others."""
    work.lock("entities", kind.name, environment)


def flush(work: UnitOfWork, *rows: Entity | None) -> None:
    """Raises EntityErrors where others changed the same at the same moment."""
    try:
        work.flush()
        nodes = [row for row in rows if isinstance(row, Node)]
        for node in nodes:
            index_senders(work, node)
        if nodes:
            work.flush()
    except (IntegrityError, StaleDataError) as error:
        raise EntityErrors({WHOLE: "Somebody changed what this needs at the same moment. Try again."}) from error


def _use(other: EntityType, count: int, name: str) -> Use:
    label = _inside(other.about.label if count == 1 else other.about.plural)
    return Use(other.name, label, count, other.about.path, name)


def _inside(label: str) -> str:
    """As it stands inside a sentence: "Customer" -> "customer", "SIM card" stays."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def _an(label: str) -> str:
    return f"{'an' if label[:1] in 'aeioAEIO' else 'a'} {label}"


def _a(label: str) -> str:
    text = _an(_inside(label))
    return text[:1].upper() + text[1:]


def _listed(texts: list[str]) -> str:
    return ", ".join(texts[:-1]) + (" and " if len(texts) > 1 else "") + texts[-1]
