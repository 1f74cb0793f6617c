"""Wire text made fit for a diagram: harmless, and as wide as there is room. What was sent may be hostile."""

from __future__ import annotations

import unicodedata

_ASCII = {"…": "...", "×": "x", "→": "->", "·": "-", "–": "-", "✕": "X"}


def printable(text: str) -> str:
    r"""Controls, and characters that hide or reorder others, as `\x1b` or `\u202e`: nothing is left that a terminal or a
    browser would act on."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def ascii_only(text: str) -> str:
    for sign, plain in _ASCII.items():
        text = text.replace(sign, plain)
    return text.encode("ascii", "backslashreplace").decode()


def cells(text: str) -> int:
    """Columns of a terminal (and of a monospaced font) that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, room: int, ending: str = "…") -> str:
    """`text` in at most `room` cells; what is cut off is told by `ending`."""
    if cells(text) <= room:
        return text
    kept, used = [], cells(ending)
    if used > room:
        return ""
    for character in text:
        used += _width(character)
        if used > room:
            break
        kept.append(character)
    return "".join(kept) + ending


def wrapped(text: str, room: int, most: int) -> list[str]:
    """`text` on at most `most` lines of `room` cells, broken after a space or a hyphen where it can be; the last one cut."""
    lines: list[str] = []
    while cells(text) > room and len(lines) < most - 1:
        at = max(1, len(cut(text, room, "")))
        if text[at : at + 1] != " ":
            at = max(text.rfind(" ", 0, at), text.rfind("-", 0, at)) + 1 or at
        lines.append(text[:at].rstrip())
        text = text[at:].lstrip()
    return [*lines, cut(text, room)]


def centred(text: str, room: int) -> str:
    left = (room - cells(text)) // 2
    return " " * left + text + " " * (room - cells(text) - left)
