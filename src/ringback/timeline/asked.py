"""What is asked of a timeline, as the URL of its page holds it: read, and written back as links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ringback import clock
from ringback.sessions.pages.interval import for_input, picked
from ringback.sessions.schemas import QueryError
from ringback.timeline.schemas import Asked, Kind

_DAY_US = 86_400_000_000
PRESETS: dict[str, tuple[str, int]] = {
    "24h": ("24 h", _DAY_US), "7d": ("7 days", 7 * _DAY_US), "30d": ("30 days", 30 * _DAY_US),
    "180d": ("180 days", 180 * _DAY_US), "2y": ("2 years", 731 * _DAY_US),
}  # fmt: skip
DEFAULT = "30d"
MOST_WORDS, LONGEST = 8, 200


@dataclass(slots=True)
class Form:
    """`errors`, by parameter: while there are any, nothing is read."""

    path: str
    asked: Asked
    preset: str  # "" where two moments were picked
    text: str  # the words as they were typed
    picked: tuple[str, str]  # values of the two inputs
    errors: dict[str, str] = field(default_factory=dict)

    def url(self, *, preset: str | None = None, kinds: Iterable[str] | None = None, text: str | None = None) -> str:
        """The same with this instead."""
        shown = self.preset if preset is None else preset
        pairs = [("last", shown)] if shown not in ("", DEFAULT) else []
        if not shown:
            pairs = [("from", clock.isoformat(self.asked.start_us)), ("to", clock.isoformat(self.asked.end_us))]
        pairs += [("kind", each) for each in (self.asked.kinds if kinds is None else kinds)]
        pairs += [("words", words)] if (words := self.text if text is None else text) else []
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    def older(self, cursor: str) -> str:
        url = self.url()
        return f"{url}{'&' if '?' in url else '?'}{urlencode([('cursor', cursor)])}"

    def with_kind(self, kind: Kind | None) -> str:
        return self.url(kinds=[kind] if kind else [])


def read(path: str, parameters: Iterable[tuple[str, str]], tz: ZoneInfo, now_us: int) -> Form:
    """Empty parameters are none; unknown ones are left to others."""
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        if value.strip():
            given.setdefault(name, []).append(value.strip()[:LONGEST])
    errors: dict[str, str] = {}
    preset = given.get("last", [DEFAULT])[0]
    start_us, end_us = now_us - PRESETS.get(preset, PRESETS[DEFAULT])[1], now_us
    if "from" in given or "to" in given:
        preset = ""
        try:
            chosen = picked(given.get("from", [""])[0], given.get("to", [""])[0], tz, now_us)
            start_us, end_us = max(chosen.start_us, 0), chosen.end_us
        except QueryError as error:
            errors[error.field] = error.reason
    elif preset not in PRESETS:
        errors["last"], preset = f"“{preset}” is none of {', '.join(PRESETS)}", DEFAULT
    kinds = tuple(dict.fromkeys(given.get("kind", ())))
    if unknown := [each for each in kinds if each not in get_args(Kind)]:
        errors["kind"], kinds = f"“{unknown[0]}” is none of {', '.join(get_args(Kind))}", ()
    text = given.get("words", [""])[0]
    inputs = ("", "") if preset else (for_input(start_us, tz), for_input(end_us, tz))
    return Form(path, Asked(start_us, end_us, kinds, words_of(text)), preset, text, inputs, errors)  # type: ignore[arg-type]


def words_of(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split()))[:MOST_WORDS]
