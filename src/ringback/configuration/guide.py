"""The page of the documentation that names every option, between two marks of docs/configuration.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ringback.configuration.options import Option, Scope

PAGE = "configuration.md"
BEGIN, END = "<!-- options: written by `ringback docs` -->", "<!-- end of options -->"


def table(options: Iterable[Option[Any]]) -> str:
    lines = ["| option | bounds | default | for | until applied | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for each in options:
        default = each.tell(each.kind.store(each.default))
        scope = "environments" if each.scope is Scope.ENVIRONMENT else "installation"
        variable = f"`{each.variable}`" if each.variable else ""
        bounds = f"{each.kind.bounds} {each.unit}".strip()
        lines.append(f"| `{each.name}` | {bounds} | {default} | {scope} | {variable} | {each.help} |")
    return "\n".join(lines) + "\n"


def write_options(folder: Path, options: Iterable[Option[Any]]) -> Path:
    """Raises OSError, ValueError where the page has no marks."""
    path = folder / PAGE
    path.write_text(_current(path.read_text(), options))
    return path


def is_current(folder: Path, options: Iterable[Option[Any]]) -> bool:
    """Raises as `write_options`."""
    text = (folder / PAGE).read_text()
    return text == _current(text, options)


def _current(text: str, options: Iterable[Option[Any]]) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has lost the marks that the table of options stands between")
    return f"{before}{BEGIN}\n{table(options)}{END}{after}"
