"""The three steps, Save, Verify and Apply, and the way back. Everything that writes takes the lock `configuration`
first: entries of the history are applied one after the other, so that their ids tell readers what is new."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ringback import clock
from ringback.changes.schemas import Actor, Owner
from ringback.changes.schemas import Json as FactJson
from ringback.changes.service import changing, note
from ringback.configuration import options as registered
from ringback.configuration import queries
from ringback.configuration.kinds import Json
from ringback.configuration.models import (
    ConfigurationApply,
    ConfigurationChange,
    ConfigurationDraft,
    ConfigurationDraftValue,
    ConfigurationValue,
)
from ringback.configuration.options import Looking, Option, Registry, Scope
from ringback.configuration.schemas import (
    BadValue,
    Change,
    ConfigurationError,
    Draft,
    DraftChanged,
    DraftValue,
    Entry,
    NotVerified,
    OptionState,
    Process,
    Source,
    UnknownEntry,
    UnknownOption,
    Verification,
    Verified,
)
from ringback.hosts.service import role_states
from ringback.records.engine import UnitOfWork, reading, unit_of_work
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

APPLIED = "configuration.applied"  # the action of its audit record
VERIFIED_FOR = timedelta(hours=1)  # what a change touches grows old
LONGEST_REASON = 500
_LOCK = "configuration"


class ConfigurationService:
    """Thread-safe. Methods that write raise ConfigurationError and sqlalchemy.exc.SQLAlchemyError."""

    def __init__(self, records: Engine, settings: Settings, registry: Registry = registered.registry) -> None:
        self._records = records
        self._settings = settings
        self._registry = registry

    def option(self, name: str, scope: str = INSTALLATION) -> Option[Any]:
        """Raises UnknownOption; also for one that has no value of its own in the scope."""
        found = self._registry.get(name)
        if found is None:
            raise UnknownOption(f"There is no option {name}.", name)
        if scope != INSTALLATION and found.scope is Scope.INSTALLATION:
            raise UnknownOption(f"{found.name} has one value for the whole installation.", found.name)
        return found

    def options(self, scope: str) -> list[Option[Any]]:
        """That can be set in the scope."""
        return [each for each in self._registry if scope == INSTALLATION or each.scope is Scope.ENVIRONMENT]

    def overview(self, scope: str) -> tuple[list[OptionState], Draft]:
        """One view of both."""
        with reading(self._records, _seen_from(scope)) as session:
            return list(self._states(session, scope)), self._draft(session, scope)

    def draft(self, scope: str) -> Draft:
        return self.overview(scope)[1]

    def save(
        self, actor: Actor, scope: str, given: Mapping[str, Json], version: int | None, *, replace: bool = False
    ) -> Draft:
        """Puts values into the draft, right or wrong; None asks for the default. What is given as it is leaves the
        draft. `version` is the draft's that was read (None: whatever it is); with `replace` only what is given stays.

        Raises UnknownOption, BadValue, DraftChanged.
        """
        options = {name: self.option(name, scope) for name in given}
        with unit_of_work(self._records, _seen_from(scope)) as work:
            draft = self._locked_draft(work, scope, version)
            drafted = queries.draft_values(work, scope)
            now_stored = {row.name: json.loads(row.value) for row in queries.values(work, [scope])}
            if replace:
                keep = {each.name for each in options.values()}
                for name in drafted.keys() - keep:
                    work.delete(drafted.pop(name))
            for name, value in given.items():
                option = options[name]
                self._put(work, actor, draft, option, value, drafted, now_stored)
            self._touch(draft, actor, back_to=None)
        return self.draft(scope)

    def discard(self, actor: Actor, scope: str, version: int | None) -> Draft:
        """Empties the draft. Raises DraftChanged."""
        return self.save(actor, scope, {}, version, replace=True)

    def verify(self, actor: Actor, scope: str) -> Verification:
        """Looks at every value of the draft, at what would change, and at what that would touch. Without errors the
        draft counts as verified until it, or what holds, is changed."""
        with reading(self._records, _seen_from(scope)) as session:
            draft = self._draft(session, scope)
            changes = list(self._changes(session, scope, draft))
            before, after = self._loaded(session, scope, draft)
            token = _token(draft.version, queries.latest(session, _seen_from(scope)))
        errors = {name: value.error for name, value in draft.values.items() if value.error}
        if errors or not changes:
            return Verification("", errors, changes)
        touched = {
            each.name: sentences
            for each in changes
            if (sentences := self._sentences(scope, each.name, before[each.name], after[each.name]))
        }
        with unit_of_work(self._records, _seen_from(scope)) as work:
            work.lock(_LOCK)
            row = queries.draft(work, scope)
            if row is None or token != _token(row.version, queries.latest(work, _seen_from(scope))):
                raise DraftChanged("The draft, or what holds, changed while it was verified. Verify again.")
            row.verified, row.verified_by, row.verified_at = token, actor.name, clock.now()
        return Verification(token, {}, changes, touched)

    def apply(self, actor: Actor, scope: str, token: str, reason: str) -> Entry:
        """Makes the verified draft hold, on all processes within seconds. Raises NotVerified; ConfigurationError
        without a reason."""
        reason = " ".join(reason.split())
        if not reason:
            raise ConfigurationError("Say why: the reason stands in the history and in the audit log.")
        if not reason.isprintable():
            raise ConfigurationError("A reason is plain text.")
        if len(reason) > LONGEST_REASON:
            raise ConfigurationError(f"A reason has at most {LONGEST_REASON} characters.")
        with changing(self._records, actor, _seen_from(scope), reason=reason) as work:
            work.lock(_LOCK)
            draft = self._draft(work, scope)
            if draft.verified is None or draft.verified.token != token:
                raise NotVerified(
                    "The draft, or what holds, was changed since it was verified, or that is too long ago. Verify again."
                )
            changes = list(self._changes(work, scope, draft))
            wrong = [name for name, value in draft.values.items() if value.error]
            if wrong or not changes:
                raise NotVerified("What was verified cannot be applied any more. Verify again.", *wrong)
            entry = self._write(work, actor, scope, draft, changes, reason)
        return self.entry(scope, entry)

    def roll_back(self, actor: Actor, scope: str, to: int, version: int | None) -> Draft:
        """Makes a draft, in place of what is there, of what held after the entry `to`; 0: before the first entry.
        Options that are gone since are left out. Raises UnknownEntry, DraftChanged."""
        with unit_of_work(self._records, _seen_from(scope)) as work:
            draft = self._locked_draft(work, scope, version)
            if to != 0 and queries.entry(work, scope, to) is None:
                raise UnknownEntry(f"There is no entry {to} in this history.")
            then = {each.name: each.new for each in queries.changes_until(work, scope, to)}
            now_stored = {each.name: each.value for each in queries.values(work, [scope])}
            queries.clear_draft(work, scope)
            work.flush()
            for option in self.options(scope):
                back = then.get(option.name)
                if back != now_stored.get(option.name):
                    work.add(_draft_value(scope, option.name, back, actor))
            self._touch(draft, actor, back_to=to)
        return self.draft(scope)

    def history(self, scope: str, before: int | None = None, limit: int = 50) -> list[Entry]:
        """Newest first, those with smaller ids than `before`."""
        with reading(self._records, _seen_from(scope)) as session:
            rows = queries.history(session, scope, before, limit)
            changes = queries.changes(session, [row.id for row in rows])
            return [_entry(row, changes.get(row.id, [])) for row in rows]

    def entry(self, scope: str, number: int) -> Entry:
        """Raises UnknownEntry."""
        with reading(self._records, _seen_from(scope)) as session:
            row = queries.entry(session, scope, number)
            if row is None:
                raise UnknownEntry(f"There is no entry {number} in this history.")
            return _entry(row, queries.changes(session, [number]).get(number, []))

    def processes(self) -> tuple[int, list[Process]]:
        """The last entry of all scopes, and which of the roles that run has taken in which."""
        running = [(each.host, each.role) for each in role_states(self._records) if each.running]
        with reading(self._records, EVERYWHERE) as session:
            seen = {(row.host, row.role): row for row in queries.seen(session)}
            last = queries.latest(session)
        found = []
        for host, role in running:
            row = seen.get((host, role))
            found.append(Process(host, role, row.apply_id if row else None, row.seen_at if row else None))
        return last, found

    # What holds and what is drafted

    def _states(self, session: Session, scope: str) -> Iterator[OptionState]:
        rows = {(row.environment, row.name): row for row in queries.values(session, _seen_from(scope))}
        applies = queries.applies(session, {row.apply_id for row in rows.values()})
        drafted = self._draft(session, scope).values
        for option in self.options(scope):
            mine, all_have = rows.get((scope, option.name)), rows.get((INSTALLATION, option.name))
            row, problem = mine or all_have, ""
            stored, source = self._otherwise(option)
            otherwise = option.tell(stored)
            otherwise_from = option.variable if source is Source.VARIABLE else "default"
            if scope != INSTALLATION and all_have:
                otherwise, otherwise_from = option.tell(json.loads(all_have.value)), "installation"
            for each in filter(None, (mine, all_have)):
                try:
                    stored = option.kind.check(json.loads(each.value))
                except ValueError as error:
                    problem = f"What is applied, {option.tell(json.loads(each.value))}, does not hold: {error}"
                else:
                    row, source = each, Source.APPLIED if each is mine else Source.INSTALLATION
                    break
            applied = applies.get(row.apply_id) if row is not None else None
            yield OptionState(
                option=option,
                stored=stored,
                told=option.tell(stored),
                source=source,
                by=applied.applied_by if applied else "",
                at=applied.applied_at if applied else None,
                entry=applied.id if applied else None,
                problem=problem,
                otherwise=otherwise,
                otherwise_from=otherwise_from,
                drafted=drafted.get(option.name),
            )

    def _otherwise(self, option: Option[Any]) -> tuple[Json, Source]:
        """What holds where nothing is applied, as it would be stored."""
        source = Source.VARIABLE if option.by_variable(self._settings) else Source.DEFAULT
        return option.kind.store(option.otherwise(self._settings)), source

    def _draft(self, session: Session, scope: str) -> Draft:
        row = queries.draft(session, scope)
        if row is None:
            return Draft(scope, 0, {}, "", None, None, None)
        values = {}
        for each in queries.draft_values(session, scope).values():
            option = self._registry.get(each.name)
            if option is not None:
                values[option.name] = self._draft_value(option, each)
        verified = None
        if row.verified and row.verified_at and clock.now() - row.verified_at < VERIFIED_FOR:
            current = _token(row.version, queries.latest(session, _seen_from(scope)))
            if row.verified == current:
                verified = Verified(row.verified, row.verified_by or "", row.verified_at)
        return Draft(scope, row.version, values, row.saved_by, row.saved_at, row.back_to, verified)

    def _draft_value(self, option: Option[Any], row: ConfigurationDraftValue) -> DraftValue:
        given, error = None, ""
        if row.value is not None:
            given = json.loads(row.value)
            try:
                given = option.kind.check(given)
            except ValueError as wrong:
                error = str(wrong)
        told = "default" if given is None else option.tell(given) if not error else option.kind.tell(given)
        return DraftValue(given, told, error, row.saved_by, row.saved_at)

    # Save

    def _locked_draft(self, work: UnitOfWork, scope: str, version: int | None) -> ConfigurationDraft:
        work.lock(_LOCK)
        draft = queries.draft(work, scope)
        present = draft.version if draft else 0
        if version is not None and version != present:
            who = f"{draft.saved_by} saved" if draft else "It was"
            raise DraftChanged(
                f"{who} the draft meanwhile: it is at version {present}, not {version}. Look at it again."
            )
        if draft is None:
            draft = ConfigurationDraft(environment=scope, version=0, saved_at=clock.now(), saved_by="")
            work.add(draft)
            work.flush()
        return draft

    def _put(
        self,
        work: UnitOfWork,
        actor: Actor,
        draft: ConfigurationDraft,
        option: Option[Any],
        value: Json,
        drafted: dict[str, ConfigurationDraftValue],
        now_stored: dict[str, Json],
    ) -> None:
        row = drafted.get(option.name)
        kept: Json = None
        if value is not None:
            before = json.loads(row.value) if row is not None and row.value is not None else None
            if before is None:
                before = now_stored.get(option.name)
            if before is None:
                before = self._otherwise(option)[0]
            try:
                kept = option.kind.draft(value, before)
            except ValueError as error:
                raise BadValue(f"{option.name}: {error}", option.name) from error
        if _checked(option, kept) == now_stored.get(option.name):
            if row is not None:
                work.delete(row)
            return
        text = None if kept is None else _dumped(kept)
        if row is None:
            work.add(_draft_value(draft.environment, option.name, text, actor))
        elif row.value != text:
            row.value, row.saved_by, row.saved_at = text, actor.name, clock.now()

    def _touch(self, draft: ConfigurationDraft, actor: Actor, back_to: int | None) -> None:
        draft.version += 1
        draft.saved_by, draft.saved_at, draft.back_to = actor.name, clock.now(), back_to
        draft.verified = draft.verified_by = draft.verified_at = None

    # Verify

    def _changes(self, session: Session, scope: str, draft: Draft) -> Iterator[Change]:
        """Of values that are right."""
        states = {each.option.name: each for each in self._states(session, scope)}
        stored = {row.name: json.loads(row.value) for row in queries.values(session, [scope])}
        for name, value in sorted(draft.values.items()):
            if value.error or name not in states or value.given == stored.get(name):
                continue
            state = states[name]
            otherwise = f"{state.otherwise} ({state.otherwise_from})"
            new_told = otherwise if value.given is None else value.told
            old_told = state.told if name in stored else otherwise
            yield Change(name, stored.get(name), value.given, old_told, new_told)

    def _loaded(self, session: Session, scope: str, draft: Draft) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values as those who use them have them, before and after."""
        before, after = {}, {}
        for state in self._states(session, scope):
            option, drafted = state.option, state.drafted
            before[option.name] = after[option.name] = option.kind.load(state.stored)
            if drafted is not None and not drafted.error:
                after[option.name] = (
                    self._inherited(session, scope, option)
                    if drafted.given is None
                    else option.kind.load(drafted.given)
                )
        return before, after

    def _inherited(self, session: Session, scope: str, option: Option[Any]) -> Any:
        """What holds in the scope once nothing is applied in it."""
        if scope != INSTALLATION:
            for row in queries.values(session, [INSTALLATION]):
                if row.name == option.name:
                    with suppress(ValueError):  # of another version: it does not hold
                        return option.kind.load(json.loads(row.value))
        return option.otherwise(self._settings)

    def _sentences(self, scope: str, name: str, old: Any, new: Any) -> list[str]:
        option = self.option(name)
        looking = Looking(self._records, self._settings, scope, clock.now())
        return [sentence for touch in self._registry.touches_of(option) for sentence in touch(looking, old, new)]

    # Apply

    def _write(
        self, work: UnitOfWork, actor: Actor, scope: str, draft: Draft, changes: Sequence[Change], reason: str
    ) -> int:
        now = clock.now()
        entry = ConfigurationApply(
            environment=scope,
            applied_at=now,
            applied_by=actor.name,
            realm=actor.realm,
            reason=reason,
            back_to=draft.back_to,
        )
        work.add(entry)
        work.flush()
        values = {row.name: row for row in queries.values(work, [scope])}
        for each in changes:
            new = None if each.new is None else _dumped(each.new)
            row = values.get(each.name)
            work.add(
                ConfigurationChange(
                    apply_id=entry.id,
                    name=each.name,
                    environment=scope,
                    old=row.value if row else None,
                    new=new,
                    old_told=each.old_told,
                    new_told=each.new_told,
                )
            )
            if new is None:
                if row is not None:
                    work.delete(row)
            elif row is None:
                work.add(ConfigurationValue(environment=scope, name=each.name, value=new, apply_id=entry.id))
            else:
                row.value, row.apply_id = new, entry.id
        queries.clear_draft(work, scope)
        row_of_draft = queries.draft(work, scope)
        if row_of_draft is not None:
            self._touch(row_of_draft, actor, back_to=None)
        facts: dict[str, tuple[FactJson, FactJson]] = {each.name: (each.old_told, each.new_told) for each in changes}
        named = "Configuration" if scope == INSTALLATION else f"Configuration of {scope}"
        note(work, APPLIED, "configuration", entry.id, named, Owner(scope), changes=facts)
        return entry.id


def _entry(row: ConfigurationApply, changes: Sequence[ConfigurationChange]) -> Entry:
    told = [
        Change(
            each.name,
            None if each.old is None else json.loads(each.old),
            None if each.new is None else json.loads(each.new),
            each.old_told,
            each.new_told,
        )
        for each in changes
    ]
    return Entry(row.id, row.environment, row.applied_at, row.applied_by, row.realm, row.reason, row.back_to, told)


def _seen_from(scope: str) -> tuple[str, ...]:
    return (scope,) if scope == INSTALLATION else (scope, INSTALLATION)


def _token(version: int, latest: int) -> str:
    return f"{version}-{latest}"


def _dumped(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _checked(option: Option[Any], value: Json) -> Json:
    """As it would be stored; as it was given where it is wrong."""
    if value is None:
        return None
    try:
        return option.kind.check(value)
    except ValueError:
        return value


def _draft_value(scope: str, name: str, value: str | None, actor: Actor) -> ConfigurationDraftValue:
    return ConfigurationDraftValue(
        environment=scope, name=name, value=value, saved_at=clock.now(), saved_by=actor.name
    )
