"""Options and their register. A room registers what it obeys beside the code that obeys it:

    LOG_MAX_AGE = option("Tasks.Log_Max_Age", whole(30, 3650), default=180, unit="days", help="...")

and asks `reader.Current.value(LOG_MAX_AGE)` each time it needs it. `ringback.options` names every module that registers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ringback.configuration.kinds import Json, Kind
from ringback.settings import Settings, setting_infos

if TYPE_CHECKING:
    from sqlalchemy import Engine

Value = TypeVar("Value")

_NAME = re.compile(r"[A-Z][A-Za-z0-9]*\.[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
LONGEST_NAME = 64


class Scope(StrEnum):
    INSTALLATION = "installation"  # one value for everything
    ENVIRONMENT = "environment"  # each environment may have its own; else the installation's holds


class OptionError(ValueError):
    """An option that cannot be registered: a mistake of the program."""


@dataclass(frozen=True, slots=True, eq=False)
class Option(Generic[Value]):
    """`variable`: the environment variable that holds until a value is applied; `of_setting` makes the value of it."""

    name: str
    kind: Kind[Value]
    default: Value
    help: str
    unit: str = ""
    scope: Scope = Scope.INSTALLATION
    variable: str = ""
    of_setting: Callable[[Any], Value] | None = None

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    @property
    def label(self) -> str:
        return self.name.partition(".")[2].replace("_", " ")

    def otherwise(self, settings: Settings) -> Value:
        """What holds where nothing is applied."""
        if not self.variable:
            return self.default
        given = getattr(settings, _setting_of(self.variable))
        return self.of_setting(given) if self.of_setting else given

    def by_variable(self, settings: Settings) -> bool:
        """Whether the environment variable says something else than the default."""
        return bool(self.variable) and self.otherwise(settings) != self.default

    def tell(self, stored: Json) -> str:
        told = self.kind.tell(stored)
        return f"{told} {self.unit}" if self.unit else told


@dataclass(frozen=True, slots=True)
class Looking:
    """What those may look at who tell what a change touches."""

    records: Engine
    settings: Settings
    environment: str  # ringback.records.tables.INSTALLATION, or the one whose value changes
    now: datetime


class Harmless(str):
    """A sentence about what does no harm."""

    __slots__ = ()
    harmless = True


Touch = Callable[[Looking, Any, Any], Iterable[str]]  # (.., old value, new value) -> sentences


class Registry:
    def __init__(self) -> None:
        self._options: dict[str, Option[Any]] = {}
        self._touches: dict[str, list[Touch]] = {}

    def option(
        self,
        name: str,
        kind: Kind[Value],
        *,
        default: Value,
        help: str,  # noqa: A002 -- the field's word
        unit: str = "",
        scope: Scope = Scope.INSTALLATION,
        variable: str = "",
        of_setting: Callable[[Any], Value] | None = None,
    ) -> Option[Value]:
        """Raises OptionError."""
        if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise OptionError(f"{name!r} is not named Group.Option_Name")
        if any(each.lower() == name.lower() for each in self._options):
            raise OptionError(f"{name} is registered twice")
        if len(help.strip()) < 20 or not help.endswith("."):
            raise OptionError(f"{name} has no help: a sentence that says what it does")
        if variable:
            _setting_of(variable)
        made = Option(name, kind, default, help, unit, scope, variable, of_setting)
        try:
            kind.check(kind.store(default))
        except ValueError as error:
            raise OptionError(f"{name}: its default is out of its own bounds: {error}") from error
        self._options[name] = made
        return made

    def touches(self, option: Option[Any]) -> Callable[[Touch], Touch]:
        """A decorator: the function says, before a change of `option` is applied, what will come of it."""

        def register(touch: Touch) -> Touch:
            self._touches.setdefault(option.name, []).append(touch)
            return touch

        return register

    def touches_of(self, option: Option[Any]) -> list[Touch]:
        return list(self._touches.get(option.name, ()))

    def __iter__(self) -> Iterator[Option[Any]]:
        """By group and name."""
        return iter(sorted(self._options.values(), key=lambda each: (each.group, each.name)))

    def get(self, name: str) -> Option[Any] | None:
        """Upper and lower case count as one: people type names."""
        return next((each for each in self._options.values() if each.name.lower() == name.lower()), None)

    def groups(self) -> list[str]:
        return list(dict.fromkeys(each.group for each in self))


registry = Registry()
option = registry.option
touches = registry.touches


def _setting_of(variable: str) -> str:
    """The field of Settings. Raises OptionError."""
    for each in setting_infos():
        if each.variable == variable:
            return each.name
    raise OptionError(f"there is no variable {variable}")
