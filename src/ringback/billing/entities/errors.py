"""What can stand in the way of a change. Every text is fit to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ringback.changes.schemas import Json

WHOLE = ""  # the "field" of what is wrong with an entity as a whole


class EntityErrors(ValueError):
    """`errors`: field -> sentence; "" is the entity as a whole. All that is wrong, at once."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = dict(errors)


class EntityNotFound(LookupError):
    """Deleted, of another environment, or never there: not told apart."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """One field that others changed since a version was read."""

    field: str
    label: str
    was: Json  # in the version that was read
    now: Json
    who: str  # did it last
    at: datetime | None


class StaleVersion(Exception):
    """Somebody else changed it meanwhile. `version` is the one that it has now."""

    def __init__(self, version: int, changes: list[Meanwhile]) -> None:
        names = ", ".join(change.label for change in changes)
        super().__init__(
            f"It was changed meanwhile{f': {names}' if names else ''}. Look at the changes, then save again."
        )
        self.version = version
        self.changes = changes


@dataclass(frozen=True, slots=True)
class Use:
    """Entities of one type that need another one. `count` is MOST_COUNTED where there are more."""

    type: str  # its name
    label: str  # "account", "accounts"
    count: int
    path: str  # of their list
    filter: str  # API name of the field of that list that names the other
    api: str = ""  # path of the list in the API, where it is another one

    def __str__(self) -> str:
        return f"{self.count} {self.label}"


class InUse(Exception):
    """It cannot be deleted: why, and what needs it."""

    def __init__(self, sentence: str, uses: list[Use], id_: int) -> None:
        super().__init__(sentence)
        self.uses = uses
        self.id = id_


class OtherCount(Exception):
    """A bulk change that would hit another number of entities than was confirmed."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"{found} are found now where {expected} were expected: look at the list again.")
        self.found = found
