"""The catalogue of issues: texts as data, checked when they are read, extended and overridden by a folder of the operator's.

A file holds one issue. Every mistake in it is an error that names the file and the key: a catalogue that loads can be
shown for every session.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import cast

from ringback.sessions.diagnose.billing_reasons import OWN_FILE, Reasons, ReasonsError, built_in, read_reasons
from ringback.sessions.diagnose.conditions import Condition, ConditionError, read_condition
from ringback.sessions.diagnose.finding import Severity
from ringback.sessions.diagnose.predicates import ENDINGS, RECOGNISED, REMARKS
from ringback.sessions.diagnose.telling import OF_ENDINGS, SHARED
from ringback.sessions.story import Step

BUILT_IN = Path(__file__).parent / "issues"
ROLES = ("support", "noc", "billing", "customer")
SEVERITIES = ("critical", "warning", "notice")
GROUPS = {
    "billing": "Refused by billing",
    "authentication": "Authentication and registration",
    "routing": "Routing and signalling",
    "media": "Media",
    "capture": "Capture",
    "local": "Your own",
}
TELLS = ("end", "media", "unusual")  # the order in which issues are told

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_RFC = re.compile(r"RFC (\d+)(?: section ([0-9.]+))?\Z")
_KEYS = {
    "id", "group", "tells", "severity", "since", "title", "meaning", "description", "example", "recognised", "causes",
    "steps", "related", "sources", "when", "disabled",
}  # fmt: skip
_REQUIRED = ("severity", "title", "description", "steps")
_REQUIRED_BUILT_IN = ("group", "tells", "since", "meaning", "example", "recognised", "causes", "sources")


class CatalogueError(ValueError):
    """A file of the catalogue that cannot be used: which, where in it, and why."""

    def __init__(self, path: Path, key: str, reason: str) -> None:
        super().__init__(f"{path}: {key}: {reason}" if key else f"{path}: {reason}")
        self.path = path
        self.key = key
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Definition:
    """One issue as the catalogue knows it. Texts may hold {placeholders} that a finding's values fill."""

    id: str
    group: str  # a key of GROUPS
    tells: str  # end | media | unusual
    severity: Severity
    since: str
    title: str
    meaning: str  # for the guide: what the issue is, without the facts of a session
    description: str
    example: Mapping[str, str]  # for the guide: values of a real case for the placeholders of title and description
    recognised: str  # for the guide: what Ringback takes as proof
    causes: tuple[str, ...]
    steps: tuple[Step, ...]
    related: tuple[str, ...]  # ids
    sources: tuple[str, ...]  # "RFC 3261 section 21.4.24"
    when: Condition | None  # of the operator's own issues
    severity_is_set: bool = False  # by the operator: it then holds for milder cases too

    @property
    def always_troubled(self) -> bool:
        """Only found in sessions that ended badly or that ingest marked: a search may leave out all others."""
        own = [one for one in ENDINGS if one.issue == self.id]
        return bool(own) and not any(one.unmarked for one in own) and all(one.issue != self.id for one in REMARKS)

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """(text, address): the guide's page, then the standards."""
        guide = ("What this means and what to do", f"/guide/{self.id}")
        return (guide, *((source, address) for source in self.sources if (address := source_address(source))))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every issue that can be found, in the order of the guide."""

    definitions: Mapping[str, Definition]
    reasons: Reasons = field(default_factory=built_in)  # of billing engines' refusals

    def __iter__(self) -> Iterator[Definition]:
        return iter(self.definitions.values())

    def __len__(self) -> int:
        return len(self.definitions)

    def get(self, issue: str) -> Definition | None:
        return self.definitions.get(issue)

    @property
    def own(self) -> list[Definition]:
        """The operator's own issues, asked before ours."""
        return [one for one in self if one.when is not None]


def source_address(source: str) -> str:
    """Where a standard can be read, "" for one that is no RFC."""
    match = _RFC.match(source)
    if match is None:
        return ""
    section = f"#section-{match[2]}" if match[2] else ""
    return f"https://www.rfc-editor.org/rfc/rfc{match[1]}{section}"


def load_catalogue(folder: Path | None = None) -> Catalogue:
    """The built-in catalogue, with the operator's `folder` over it. Raises CatalogueError, and OSError for the folder."""
    built_in = _built_in()
    if folder is None:
        return built_in
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a folder of issues")
    definitions = dict(built_in.definitions)
    changed: dict[str, Path] = {}
    for path in sorted(folder.glob("*.toml")):
        if path.name == OWN_FILE:
            continue
        table = _table(path)
        name = _id(path, table)
        if name in changed:
            raise CatalogueError(path, "id", f"{name!r} is also in {changed[name].name}")
        changed[name] = path
        known = definitions.get(name)
        if table.get("disabled", False) is True:
            if known is None:
                raise CatalogueError(path, "disabled", f"there is no issue {name!r} to disable")
            del definitions[name]
            continue
        definitions[name] = _overridden(path, table, known) if known else _own(path, table, name)
    _check_related(definitions, changed)
    return Catalogue(definitions, _reasons(folder / OWN_FILE))


def _reasons(path: Path) -> Reasons:
    """The built-in ones, with the operator's over them."""
    if not path.exists():
        return built_in()
    try:
        return built_in().with_own(read_reasons(path))
    except ReasonsError as error:
        raise CatalogueError(path, error.key, str(error)) from error


@lru_cache(1)
def _built_in() -> Catalogue:
    return read_catalogue(BUILT_IN)


def read_catalogue(folder: Path) -> Catalogue:
    """A whole catalogue, in which every predicate has its issue and every issue its predicate. Raises CatalogueError."""
    found: dict[str, Definition] = {}
    paths: dict[str, Path] = {}
    for path in sorted(folder.glob("*.toml")):
        table = _table(path)
        name = _id(path, table)
        if name in found:
            raise CatalogueError(path, "id", f"{name!r} is also in {paths[name].name}")
        if name not in RECOGNISED:
            raise CatalogueError(path, "id", f"no predicate is registered for {name!r}")
        for key in (*_REQUIRED, *_REQUIRED_BUILT_IN):
            if key not in table:
                raise CatalogueError(path, key, "is missing")
        if "when" in table or "disabled" in table:
            raise CatalogueError(path, "when" if "when" in table else "disabled", "is for an operator's own folder")
        found[name], paths[name] = _definition(path, table, name, None), path
    missing = sorted(RECOGNISED - found.keys())
    if missing:
        raise CatalogueError(folder, "", f"no file for {', '.join(missing)}")
    _check_related(found, paths)
    groups = list(GROUPS)
    ordered = sorted(found.values(), key=lambda one: (groups.index(one.group), one.id))
    return Catalogue({one.id: one for one in ordered})


def _table(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(path, "", f"is no TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise CatalogueError(path, "", f"is no UTF-8: {error.reason} at byte {error.start}") from error
    for key in table:
        if key not in _KEYS:
            raise CatalogueError(path, key, f"is no key of an issue; there are {', '.join(sorted(_KEYS))}")
    if not isinstance(table.get("disabled", False), bool):
        raise CatalogueError(path, "disabled", "must be true or false")
    return table


def _id(path: Path, table: Mapping[str, object]) -> str:
    name = table.get("id")
    if not isinstance(name, str) or not _ID.match(name):
        raise CatalogueError(path, "id", 'must be words in lower case joined by "-"')
    return name


def _own(path: Path, table: Mapping[str, object], name: str) -> Definition:
    for key in ("when", *_REQUIRED):
        if key not in table:
            raise CatalogueError(
                path, key, f"is missing: {name!r} is not among the built-in issues, so it is a new one"
            )
    return _definition(path, table, name, None)


def _overridden(path: Path, table: Mapping[str, object], known: Definition) -> Definition:
    for key in ("when", "tells"):
        if key in table:
            raise CatalogueError(
                path, key, f"cannot be changed: Ringback itself recognises {known.id!r}; choose another id"
            )
    return _definition(path, table, known.id, known)


def _definition(path: Path, table: Mapping[str, object], name: str, known: Definition | None) -> Definition:
    when = None
    if "when" in table:
        given = table["when"]
        if not isinstance(given, dict):
            raise CatalogueError(path, "when", "must be a table")
        try:
            when = read_condition(given)
        except ConditionError as error:
            raise CatalogueError(path, error.key, error.reason) from error
    definition = Definition(
        id=name,
        group=_one_of(path, table, "group", tuple(GROUPS), known.group if known else "local"),
        tells=_one_of(path, table, "tells", TELLS, known.tells if known else "end"),
        severity=cast("Severity", _one_of(path, table, "severity", SEVERITIES, known.severity if known else "")),
        since=_text(path, table, "since", known.since if known else ""),
        title=_text(path, table, "title", known.title if known else ""),
        meaning=_text(path, table, "meaning", known.meaning if known else ""),
        description=_text(path, table, "description", known.description if known else ""),
        example=_example(path, table, known),
        recognised=_text(path, table, "recognised", known.recognised if known else when.words if when else ""),
        causes=_list(path, table, "causes", known.causes if known else ()),
        steps=_steps(path, table, known.steps if known else ()),
        related=_list(path, table, "related", known.related if known else ()),
        sources=_list(path, table, "sources", known.sources if known else ()),
        when=when,
        severity_is_set=known is not None and "severity" in table,
    )
    _check_placeholders(path, definition)
    return definition


def _text(path: Path, table: Mapping[str, object], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or (key in table and not value.strip()):
        raise CatalogueError(path, key, "must be text, and not empty")
    return " ".join(value.split())


def _example(path: Path, table: Mapping[str, object], known: Definition | None) -> Mapping[str, str]:
    given = table.get("example", dict(known.example) if known else {})
    if not isinstance(given, dict) or any(not isinstance(value, str) for value in given.values()):
        raise CatalogueError(path, "example", "must be a table of texts, one for each placeholder")
    return dict(given)


def _one_of(path: Path, table: Mapping[str, object], key: str, known: Sequence[str], default: str) -> str:
    value = table.get(key, default)
    if value not in known:
        raise CatalogueError(path, key, f"must be one of {', '.join(known)}, not {value!r}")
    return cast("str", value)


def _list(path: Path, table: Mapping[str, object], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = table.get(key, list(default))
    if not isinstance(value, list) or any(not isinstance(one, str) or not one.strip() for one in value):
        raise CatalogueError(path, key, "must be a list of texts, none of them empty")
    return tuple(" ".join(one.split()) for one in value)


def _steps(path: Path, table: Mapping[str, object], default: tuple[Step, ...]) -> tuple[Step, ...]:
    """In the order of ROLES; a role that is given replaces what was said for that role."""
    given = table.get("steps", {})
    if not isinstance(given, dict):
        raise CatalogueError(path, "steps", "must be a table of lists, one for each role")
    for role in given:
        if role not in ROLES:
            raise CatalogueError(path, f"steps.{role}", f"is no role; there are {', '.join(ROLES)}")
    by_role = {role: [step.text for step in default if step.role == role] for role in ROLES}
    for role, texts in given.items():
        by_role[role] = list(_list(path, {f"steps.{role}": texts}, f"steps.{role}", ()))
    steps = tuple(Step(role, text) for role in ROLES for text in by_role[role])
    if not steps:
        raise CatalogueError(path, "steps", "must tell somebody what to do")
    return steps


def placeholders_of(issue: str, own: bool) -> frozenset[str]:
    """The names that texts of an issue may use: those that each of its predicates provides."""
    if own:
        return SHARED | OF_ENDINGS
    provided = [one.provides | OF_ENDINGS for one in ENDINGS if one.issue == issue]
    provided += [one.provides for one in REMARKS if one.issue == issue]
    return SHARED.union(frozenset.intersection(*provided) if provided else frozenset())


def _check_placeholders(path: Path, definition: Definition) -> None:
    known = placeholders_of(definition.id, own=definition.when is not None)
    texts = {"title": (definition.title,), "description": (definition.description,), "causes": definition.causes}
    for role in ROLES:
        texts[f"steps.{role}"] = tuple(step.text for step in definition.steps if step.role == role)
    for key, values in texts.items():
        for text in values:
            try:
                fields = list(string.Formatter().parse(text))
            except ValueError as error:
                raise CatalogueError(path, key, f"{error}; write a brace twice to show it") from error
            for _, name, format_spec, conversion in fields:
                if name is None:
                    continue
                if name not in known or format_spec or conversion:
                    raise CatalogueError(
                        path, key, f"{{{name}}} is no placeholder here; there are {', '.join(sorted(known))}"
                    )


def _check_related(definitions: Mapping[str, Definition], paths: Mapping[str, Path]) -> None:
    for name, path in paths.items():
        definition = definitions.get(name)
        for other in definition.related if definition else ():
            if other not in definitions and other not in RECOGNISED:
                raise CatalogueError(path, "related", f"there is no issue {other!r}")
