"""Kinds of values that an option can have: how text is read, what is stored, how it is told.

What is stored is JSON. A draft holds what was given, right or wrong (`draft`); `check` makes of it what is applied, or
says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

Json = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
Value = TypeVar("Value")

LONGEST_GIVEN = 4000  # characters of any value, before it is looked at
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class Kind(Protocol[Value]):
    """`secret`: what is stored holds sealed secrets, and `tell` never says them."""

    secret: bool

    @property
    def bounds(self) -> str:
        """In words, such as "30 to 3,650"; "" where there are none."""
        ...

    @property
    def schema(self) -> dict[str, Json]:
        """Of what is given, in the words of JSON Schema: for forms and programs."""
        ...

    def draft(self, given: Json, before: Json) -> Json:
        """How it is kept in a draft. `before`: what is stored or drafted now. Raises ValueError for what cannot even
        be kept."""
        ...

    def check(self, drafted: Json) -> Json:
        """As it is applied. Raises ValueError, with a reason fit to be shown."""
        ...

    def load(self, stored: Json) -> Value:
        """For who uses the option. Raises ValueError for what `check` would not let pass."""
        ...

    def tell(self, stored: Json) -> str:
        """For people; also of a draft that is wrong."""
        ...

    def show(self, stored: Json) -> Json:
        """For programs: without secrets."""
        ...

    def store(self, value: Value) -> Json:
        """A default as it would be stored."""
        ...


class _Plain:
    """Kept as it was given."""

    secret = False

    def draft(self, given: Json, before: Json) -> Json:
        if not isinstance(given, bool | int | str):
            raise ValueError("Give a text, a number or true or false.")
        if len(str(given)) > LONGEST_GIVEN:
            raise ValueError(f"That is longer than {LONGEST_GIVEN:,} characters.")
        if isinstance(given, str) and not given.isprintable():
            raise ValueError("Give a text on one line.")
        return given.strip() if isinstance(given, str) else given

    def show(self, stored: Json) -> Json:
        return stored

    def tell(self, stored: Json) -> str:
        return str(stored)


@dataclass(frozen=True)
class Whole(_Plain):
    least: int
    most: int

    @property
    def bounds(self) -> str:
        return f"{self.least:,} to {self.most:,}"

    @property
    def schema(self) -> dict[str, Json]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def check(self, drafted: Json) -> int:
        if isinstance(drafted, str) and _WHOLE.fullmatch(drafted):
            drafted = int(drafted)
        if isinstance(drafted, bool) or not isinstance(drafted, int):
            raise ValueError(f"Give a whole number from {self.bounds}.")
        if drafted < self.least:
            raise ValueError(f"The least is {self.least:,}.")
        if drafted > self.most:
            raise ValueError(f"The most is {self.most:,}.")
        return drafted

    def load(self, stored: Json) -> int:
        return self.check(stored)

    def store(self, value: int) -> Json:
        return value

    def tell(self, stored: Json) -> str:
        return f"{stored:,}" if isinstance(stored, int) and not isinstance(stored, bool) else str(stored)


@dataclass(frozen=True)
class Choice(_Plain):
    words: tuple[str, ...]

    @property
    def bounds(self) -> str:
        return ", ".join(self.words)

    @property
    def schema(self) -> dict[str, Json]:
        return {"type": "string", "enum": self.words}

    def check(self, drafted: Json) -> str:
        if not isinstance(drafted, str) or drafted not in self.words:
            raise ValueError(f"Choose one of {self.bounds}.")
        return drafted

    def load(self, stored: Json) -> str:
        return self.check(stored)

    def store(self, value: str) -> Json:
        return value


@dataclass(frozen=True)
class Flag(_Plain):
    @property
    def bounds(self) -> str:
        return "yes, no"

    @property
    def schema(self) -> dict[str, Json]:
        return {"type": "boolean"}

    def check(self, drafted: Json) -> bool:
        if isinstance(drafted, bool):
            return drafted
        if isinstance(drafted, str) and drafted.lower() in ("yes", "true", "on", "no", "false", "off"):
            return drafted.lower() in ("yes", "true", "on")
        raise ValueError("Give yes or no.")

    def load(self, stored: Json) -> bool:
        return self.check(stored)

    def store(self, value: bool) -> Json:
        return value

    def tell(self, stored: Json) -> str:
        return {True: "yes", False: "no"}[stored] if isinstance(stored, bool) else str(stored)


@dataclass(frozen=True)
class Text(_Plain):
    longest: int
    pattern: str = ""  # a regular expression for all of it
    like: str = ""  # what it asks for, in words

    @property
    def bounds(self) -> str:
        return (
            f"{self.like}, at most {self.longest:,} characters"
            if self.like
            else f"at most {self.longest:,} characters"
        )

    @property
    def schema(self) -> dict[str, Json]:
        return {"type": "string", "maxLength": self.longest, **({"pattern": self.pattern} if self.pattern else {})}

    def check(self, drafted: Json) -> str:
        if not isinstance(drafted, str) or not drafted.isprintable():
            raise ValueError("Give a text on one line.")
        if len(drafted) > self.longest:
            raise ValueError(f"The most are {self.longest:,} characters; these are {len(drafted):,}.")
        if self.pattern and not re.fullmatch(self.pattern, drafted):
            raise ValueError(f"Give {self.like}.")
        return drafted

    def load(self, stored: Json) -> str:
        return self.check(stored)

    def store(self, value: str) -> Json:
        return value


def whole(least: int, most: int) -> Whole:
    return Whole(least, most)


def choice(*words: str) -> Choice:
    return Choice(words)


def flag() -> Flag:
    return Flag()


def text(longest: int, pattern: str = "", like: str = "") -> Text:
    """Not empty where the pattern says so: an empty field goes back to the default."""
    return Text(longest, pattern, like)
