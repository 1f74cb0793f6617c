"""What `ringback config ...` does and prints: on the records themselves, with or without a server running."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine, select

from ringback import clock
from ringback.billing.entities.models import Environment
from ringback.changes.schemas import Actor
from ringback.configuration.kinds import Json
from ringback.configuration.options import Option
from ringback.configuration.schemas import ConfigurationError, Draft, Entry, OptionState, Source, UnknownOption
from ringback.configuration.sealed_list import ids_of
from ringback.configuration.service import ConfigurationService
from ringback.options import OPTIONS
from ringback.records.engine import reading
from ringback.records.tables import INSTALLATION
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

Say = Callable[[str], None]


class Configuring:
    """One command. Raises ConfigurationError."""

    def __init__(self, records: Engine, settings: Settings, environment: str | None, who: str, say: Say) -> None:
        """`environment`: None for what holds everywhere."""
        self._service = ConfigurationService(records, settings, OPTIONS)
        self._scope = _environment(records, environment) if environment else INSTALLATION
        self._actor = Actor("user", who, "cli")
        self._say = say

    def get(self, names: Sequence[str], *, as_json: bool) -> None:
        """What holds and why, and what the draft would make of it."""
        states, draft = self._service.overview(self._scope)
        wanted = {self._service.option(name, self._scope).name for name in names}
        chosen = [each for each in states if not wanted or each.option.name in wanted]
        if as_json:
            self._say(json.dumps([_document(each) for each in chosen], indent=1))
            return
        for each in chosen:
            drafted = f"   draft: {_drafted(each)}" if each.drafted else ""
            self._say(f"{each.option.name:28} {each.told:24} {_source(each)}{drafted}")
            if each.problem:
                self._say(f"    {each.problem}")
        self._tell_draft(draft)

    def set(self, name: str, value: str | None, keep: Sequence[str] | None, add: Sequence[str]) -> None:
        """Into the draft; None asks for the default. `keep` and `add` are of a list of secrets."""
        option = self._service.option(name, self._scope)
        draft = self._service.save(self._actor, self._scope, {option.name: _given(option, value, keep, add)}, None)
        drafted = draft.values.get(option.name)
        if drafted is None:
            self._say(f"{option.name} is what holds already: it is not in the draft.")
        elif drafted.error:
            self._say(f"{option.name}: {drafted.told}. This cannot be applied: {drafted.error}")
        else:
            self._say(f"{option.name}: {drafted.told}")
        self._tell_draft(draft)

    def drop_keys(self, name: str, drop: Sequence[str], add: Sequence[str]) -> None:
        """Of a list of secrets: all but these stay, and new ones come."""
        states = {each.option.name: each for each in self._service.overview(self._scope)[0]}
        option = self._service.option(name, self._scope)
        state = states[option.name]
        drafted = state.drafted.given if state.drafted else None
        ids = ids_of(state.stored if drafted is None else drafted)
        unknown = [each for each in drop if each not in ids]
        if unknown:
            raise ConfigurationError(f"{option.name} has no {unknown[0]}; it has {', '.join(ids) or 'none'}.")
        self.set(name, None, [each for each in ids if each not in drop], add)

    def discard(self) -> None:
        self._service.discard(self._actor, self._scope, None)
        self._say("The draft is discarded.")

    def verify(self) -> bool:
        """Whether the draft can be applied; also where there is nothing to apply."""
        found = self._service.verify(self._actor, self._scope)
        for name, reason in found.errors.items():
            self._say(f"wrong    {name}: {reason}")
        for each in found.changes:
            self._say(f"changes  {each.name}: {each.old_told} -> {each.new_told}")
            for sentence in found.touched.get(each.name, []):
                self._say(f"         {sentence}")
        if not found.errors and not found.changes:
            self._say("The draft is empty: nothing would change.")
        elif found.ok:
            self._say("Verified. `ringback config apply --reason WHY` makes it hold.")
        return not found.errors

    def apply(self, reason: str) -> None:
        draft = self._service.draft(self._scope)
        if not draft.values:
            raise ConfigurationError("The draft is empty: nothing would change.")
        if draft.verified is None:
            raise ConfigurationError(
                "The draft is not verified, or it or what holds was changed since: `ringback config verify` first."
            )
        entry = self._service.apply(self._actor, self._scope, draft.verified.token, reason)
        self._tell_entry(entry)
        self._say("All processes obey within 5 seconds.")

    def history(self, limit: int, *, as_json: bool) -> None:
        entries = self._service.history(self._scope, None, limit)
        if as_json:
            self._say(json.dumps([_entry_document(each) for each in entries], indent=1))
            return
        for each in entries:
            self._tell_entry(each)
        if not entries:
            self._say("Nothing was applied yet.")

    def roll_back(self, to: int) -> None:
        draft = self._service.roll_back(self._actor, self._scope, to, None)
        for name, value in sorted(draft.values.items()):
            self._say(f"{name}: {value.told}")
        if draft.values:
            self._tell_draft(draft)
        else:
            self._say("That is what holds: there is nothing to apply.")

    def _tell_draft(self, draft: Draft) -> None:
        if draft.values:
            state = f"verified by {draft.verified.by}" if draft.verified else "not verified"
            changes = "1 change" if len(draft.values) == 1 else f"{len(draft.values)} changes"
            self._say(f"The draft has {changes}, saved by {draft.saved_by}, {state}.")

    def _tell_entry(self, entry: Entry) -> None:
        back = "" if entry.back_to is None else f" (back to {entry.back_to})"
        self._say(f"{entry.id}  {entry.at:%Y-%m-%d %H:%M:%S}Z  {entry.by} ({entry.realm}): {entry.reason}{back}")
        for each in entry.changes:
            self._say(f"    {each.name}: {each.old_told} -> {each.new_told}")


def _environment(records: Engine, key: str) -> str:
    with reading(records, EVERYWHERE) as session:
        keys = session.scalars(select(Environment.key).order_by(Environment.key)).all()
    if key not in keys:
        raise ConfigurationError(f"There is no environment {key}. There are: {', '.join(keys)}.")
    return key


def _given(option: Option[Any], value: str | None, keep: Sequence[str] | None, add: Sequence[str]) -> Json:
    if option.kind.secret and (keep is not None or add):
        return {"keep": list(keep or ()), "add": list(add)}
    if option.kind.secret and value is not None:
        raise UnknownOption(
            f"{option.name} holds secrets: --add reads one from standard input, --drop ID removes one.", option.name
        )
    return value


def _source(state: OptionState) -> str:
    match state.source:
        case Source.APPLIED | Source.INSTALLATION:
            where = "applied" if state.source is Source.APPLIED else "of the installation, applied"
            return f"{where} by {state.by}, {state.at:%Y-%m-%d %H:%M}Z, entry {state.entry}"
        case Source.VARIABLE:
            return f"from {state.option.variable}"
        case _:
            return "default"


def _drafted(state: OptionState) -> str:
    if state.drafted is None or not state.drafted.error:
        return state.drafted.told if state.drafted else ""
    return f"{state.drafted.told} ({state.drafted.error})"


def _document(state: OptionState) -> dict[str, object]:
    kind = state.option.kind
    return {
        "name": state.option.name,
        "value": kind.show(state.stored),
        "source": str(state.source),
        "draft": {"value": None if state.drafted.given is None else kind.show(state.drafted.given),
                  "error": state.drafted.error, "saved_by": state.drafted.saved_by} if state.drafted else None,
    }  # fmt: skip


def _entry_document(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "at": clock.isoformat(clock.to_us(entry.at)),
        "by": entry.by,
        "realm": entry.realm,
        "reason": entry.reason,
        "back_to": entry.back_to,
        "changes": {each.name: [each.old_told, each.new_told] for each in entry.changes},
    }
