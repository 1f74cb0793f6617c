"""The troubleshooting guide, made of the catalogue: one page an issue, as files for the repository and as HTML."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from markdown_it import MarkdownIt

from ringback.sessions.diagnose.catalogue import (
    GROUPS,
    ROLES,
    Catalogue,
    Definition,
    load_catalogue,
    source_address,
)
from ringback.sessions.diagnose.wording import sentences

INDEX = "index"
_ROLE_TITLES = {"support": "Support", "noc": "NOC", "billing": "Billing", "customer": "The customer"}
_SEVERITY_WORDS = {
    "critical": "critical: the session failed and someone must act",
    "warning": "warning: it worked, but badly",
    "notice": "notice: expected, or chosen by a party",
}
_TELLS_WORDS = {"end": "what ended the session", "media": "what hurt the media", "unusual": "what was unusual"}

# What stands in a placeholder of steps and causes, where its name does not say it.
_WORDS = {
    "at_least": "that time",
    "called": "the called number",
    "caller": "the caller's number",
    "delay": "so long",
    "ended": "the answer and who gave it",
    "limit": "the limit",
    "node": "the node that answered",
    "rang_for": "so long",
    "receiver": "the receiver",
    "said": "the answer",
    "sender": "the sender",
    "slow_node": "the slow node",
    "target": "the new target",
    "unheard": "side that is not heard",
    "username": "the user name",
    "waited": "so long",
    "waiting_node": "the waiting node",
    "worked": "the next route",
}


def write_guide(folder: Path, catalogue: Catalogue | None = None) -> list[Path]:
    """All pages into `folder` (made if need be); pages of issues that are no more are removed. Returns what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    pages = _pages(load_catalogue() if catalogue is None else catalogue)
    for name in check_guide(folder, catalogue):
        path = folder / name
        if name in pages:
            path.write_text(pages[name], "utf-8")
        else:
            path.unlink()
        changed.append(path)
    return changed


def check_guide(folder: Path, catalogue: Catalogue | None = None) -> list[str]:
    """Names of files that are missing, differ from what would be written, or belong to no issue."""
    pages = _pages(load_catalogue() if catalogue is None else catalogue)
    there = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")} if folder.is_dir() else {}
    return sorted(name for name in pages.keys() | there.keys() if pages.get(name) != there.get(name))


def guide_html(issue: str, catalogue: Catalogue | None = None) -> str:
    """The page of an issue, or the list of all for "index", as an HTML fragment with links to /guide/<id>.

    Raises KeyError for an issue that is not in the catalogue. Markup in an operator's texts is shown, not obeyed.
    """
    if catalogue is None:
        catalogue = load_catalogue()
    if issue == INDEX:
        return _html(index_markdown(catalogue, _product_link))
    definition = catalogue.get(issue)
    if definition is None:
        raise KeyError(issue)
    return _html(page_markdown(definition, catalogue, _product_link))


def index_markdown(catalogue: Catalogue, link: Callable[[str], str]) -> str:
    lines = [
        "# Troubleshooting guide",
        "",
        "Every issue that Ringback can find in a session, what it means, how it is recognised and what to do about it.",
    ]
    for group, title in GROUPS.items():
        own = [one for one in catalogue if one.group == group]
        if own:
            lines += ["", f"## {title}", ""]
            lines += [f"- [{_plain(one.title)}]({link(one.id)}) (`{one.id}`, {one.severity})" for one in own]
    return "\n".join(lines) + "\n"


def page_markdown(definition: Definition, catalogue: Catalogue, link: Callable[[str], str]) -> str:
    lines = [
        f"# {_plain(definition.title)}",
        "",
        f"`{definition.id}` · {_SEVERITY_WORDS[definition.severity]} · tells {_TELLS_WORDS[definition.tells]} · "
        f"[{GROUPS[definition.group]}]({link(INDEX)})" + (f" · since {definition.since}" if definition.since else ""),
        "",
        "## What it means",
        "",
        definition.meaning or _marked(definition.description),
    ]
    if definition.meaning and definition.example:
        lines += ["", "Ringback says, for example:", "", f"> {_example(definition)}"]
    if definition.recognised:
        lines += ["", "## How Ringback recognises it", "", definition.recognised]
    if definition.causes:
        lines += ["", "## Possible causes", "", *(f"- {_marked(cause)}" for cause in definition.causes)]
    lines += ["", "## What to do"]
    for role in ROLES:
        steps = [step.text for step in definition.steps if step.role == role]
        if steps:
            lines += ["", f"### {_ROLE_TITLES[role]}", ""]
            lines += [f"{number}. {_marked(text)}" for number, text in enumerate(steps, 1)]
    related = [one for name in definition.related if (one := catalogue.get(name))]
    sources = [f"[{one}]({address})" if (address := source_address(one)) else one for one in definition.sources]
    if related or sources:
        lines += ["", "## Related", ""]
        lines += [f"- [{_plain(one.title)}]({link(one.id)})" for one in related]
        lines += [f"- {source}" for source in sources]
    return "\n".join(lines) + "\n"


def _pages(catalogue: Catalogue) -> dict[str, str]:
    """File name -> content."""
    note = "\n<!-- Made by `ringback docs` from src/ringback/sessions/diagnose/issues/. Do not edit. -->\n"
    pages = {f"{one.id}.md": page_markdown(one, catalogue, _file_link) + note for one in catalogue}
    pages[f"{INDEX}.md"] = index_markdown(catalogue, _file_link) + note
    return pages


def _file_link(issue: str) -> str:
    return f"{issue}.md"


def _product_link(issue: str) -> str:
    return "/guide" if issue == INDEX else f"/guide/{issue}"


def _html(markdown: str) -> str:
    rendered: str = _renderer().render(markdown)
    return rendered


@lru_cache(1)
def _renderer() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False})


def _example(definition: Definition) -> str:
    """The description with the values of a real case; one that the operator has changed may name others too."""
    values = {name: definition.example.get(name, _word(name)) for name in _names(definition.description)}
    return sentences(definition.description.format_map(values))


def _plain(text: str) -> str:
    return _filled(text, "{}")


def _marked(text: str) -> str:
    return _filled(text, "*{}*")


def _filled(text: str, style: str) -> str:
    return text.format_map({name: style.format(_word(name)) for name in _names(text)})


def _names(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))
