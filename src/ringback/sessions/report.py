"""A session told in plain text: the headline, the answer, what to do. Works on documents, so that an answer that came
over the API reads the same as one worked out here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from ringback.sessions.documents import IssueDocument, SessionDocument

GOOD = frozenset({"answered", "registered", "unregistered", "succeeded"})
BAD = frozenset({"failed", "rejected"})
SEVERITY_COLOUR = {"critical": "red", "warning": "amber", "notice": "blue"}

Paint = Callable[[str, str], str]  # (text, one of: red amber green blue soft bold) -> text


def plain(text: str, _colour: str) -> str:
    """The paint of a file or a pipe."""
    return text


def headline(document: SessionDocument, number: int | None = None, paint: Paint = plain) -> str:
    """The one line of a session: when, what, who, and how it ended."""
    mark, colour = ("✓", "green") if document["outcome"] in GOOD else ("•", "blue")
    if document["outcome"] in BAD:
        mark, colour = "✕", "red"
    ended = f"{mark} {document['outcome'].replace('_', ' ')}"
    if document["final_code"]:
        ended += f" · {document['final_code']} {document['final_phrase']}".rstrip()
    who = " → ".join(name for name in (document["caller"], document["called"]) if name) or "(nobody named)"
    parts = [
        document["started_at"].replace("T", " ")[:23] + "Z",
        document["kind"],
        paint(printable(who), "bold"),
        paint(printable(ended), colour),
        paint(f"· {document['messages']} messages", "soft"),
    ]
    if number is not None:
        parts.insert(0, paint(f"{number:>2}", "bold"))
    return " ".join(parts)


def answer(
    issues: Sequence[IssueDocument], *, width: int, steps: bool = True, paint: Paint = plain, indent: int = 3
) -> Iterator[str]:
    """The issues, primary first: title, what it means, why we say so and what to do."""
    margin = " " * indent
    if not issues:
        yield margin + paint("Nothing unusual.", "green")
    for issue in issues:
        sure = f"[{issue['id']}, {issue['severity']}, {round(issue['confidence'] * 100)} % sure]"
        yield f"{margin}{paint(printable(issue['title']), SEVERITY_COLOUR[issue['severity']])} {paint(sure, 'soft')}"
        yield _filled(issue["description"], width, margin + "  ")
        if issue["evidence"]:
            why = "; ".join(f"#{one['message']} {one['why']}" for one in issue["evidence"])
            yield _filled(f"Because: {why}", width, margin + "  ")
        if steps:
            for step in issue["steps"]:
                yield _filled(step["text"], width, f"{margin}  {step['role']:>8}: ", " " * (indent + 12))


def _filled(text: str, width: int, first: str, following: str | None = None) -> str:
    return textwrap.fill(
        printable(text), width, initial_indent=first, subsequent_indent=first if following is None else following
    )


def printable(text: str) -> str:
    """Wire text without control characters: a capture must not drive the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)
