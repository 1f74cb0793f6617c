"""The sentences of audit records: a catalogue of messages for each language, and how they are filled in.

A record holds what happened (type, action, properties) and arguments, never a sentence: so it can be told in any language,
and to a reader who may not see personal data. English is complete; a language that lacks a message falls back to it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal

from ringback.billing.entities.pages_values import amount, day_text
from ringback.web import formats

ENGLISH = "en"
FOLDER = Path(__file__).parent / "messages"
_PLACE = re.compile(r"\{(\w+)(?::([\w-]+))?\}")

Message = str | Mapping[str, str]  # the second: {"by": argument, CLDR category: text}
Fill = Callable[[str, str], str]  # (name, how) -> text


@dataclass(frozen=True, slots=True)
class Messages:
    """One language. `language` is as Babel names it: en, de, pt_BR."""

    language: str
    locale: Locale
    sentences: Mapping[str, Message]
    parts: Mapping[str, Message]
    values: Mapping[str, str]
    types: Mapping[str, str]
    labels: Mapping[str, str]

    def sentence(self, keys: Sequence[str]) -> Message | None:
        """Of the first key that there is."""
        return next((self.sentences[key] for key in keys if key in self.sentences), None)

    def plural(self, count: int | float | Decimal) -> str:
        """CLDR category: one, other, few ..."""
        return str(self.locale.plural_form(count))

    def number(self, value: int | float | Decimal) -> str:
        if self.language == ENGLISH:  # as all pages write it
            return (
                formats.number(float(value), 0) if isinstance(value, int) else amount(Decimal(str(value)), places=0)
            )
        return str(format_decimal(value, locale=self.locale))

    def money(self, value: Decimal, currency: str, places: int) -> str:
        """Without the currency's name."""
        if self.language == ENGLISH:
            return amount(value, currency, places)
        return str(format_decimal(value, f"#,##0.{'0' * places}{'#' * (5 - places)}", locale=self.locale))

    def day(self, value: date) -> str:
        return day_text(value) if self.language == ENGLISH else str(format_date(value, "medium", locale=self.locale))

    def fill(self, message: Message, fill: Fill, arguments: Mapping[str, Any]) -> str:
        """A sentence begins with a capital, whatever it begins with."""
        if not isinstance(message, str):
            count = arguments.get(message["by"])
            category = self.plural(count) if isinstance(count, int | float) else "other"
            message = message.get(category) or message["other"]
        begin, *filled = _pieces(message)
        text = begin[2] + "".join([fill(name, how) + after for name, how, after in filled])
        return text[:1].upper() + text[1:]


@cache
def messages(language: str = ENGLISH, folder: Path = FOLDER) -> Messages:
    """Of the language, and English for what it lacks. An unknown language is English."""
    english = _read(FOLDER / f"{ENGLISH}.toml")
    path = folder / f"{language}.toml"
    own = _read(path) if path.is_file() and re.fullmatch(r"\w+", language) else {}
    locale = Locale.parse(language if own else ENGLISH)
    return Messages(
        language if own else ENGLISH,
        locale,
        **{name: english[name] | own.get(name, {}) for name in ("sentences", "parts", "values", "types", "labels")},
    )


def places(message: Message) -> set[tuple[str, str]]:
    """(name, how) of everything that a message has filled in."""
    texts = [message] if isinstance(message, str) else [text for name, text in message.items() if name != "by"]
    return {(name, how) for text in texts for name, how in _PLACE.findall(text)}


def keys(entity_type: str, action: str, variants: Sequence[str] = ()) -> list[str]:
    """In which order a sentence is looked for; `variants` from the closest to the farthest."""
    actions = [*(f"{action}.{variant}" for variant in variants), action]
    return [key for each in actions for key in (f"{entity_type}.{each}", each)]


@cache
def _pieces(text: str) -> list[tuple[str, str, str]]:
    """(name, how, what stands behind it) of each place of a message; the first is only what stands before all places."""
    parts = ["", "", *_PLACE.split(text)]
    return [(name, how or "", after) for name, how, after in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    with path.open("rb") as file:
        return tomllib.load(file)
