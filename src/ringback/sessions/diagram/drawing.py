"""SVG as text: a canvas that escapes and cuts all words, and the shapes that both diagrams are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from ringback.sessions.diagram.rows import CHALLENGES, Row
from ringback.sessions.diagram.style import STYLE, TOKENS
from ringback.sessions.diagram.words import cut, printable

MONO_PX = 7.3  # an advance of the widest usual monospaced font at 12 px
SANS_PX = 7.6  # a cautious mean of the bold lane names at 12.5 px
SMALL_PX = 6.7  # mono at 11 px
LINE_PX = 14  # from one line of a text to the next
MOST_LINES = 6  # of the words of one row
_COLOUR = re.compile(r"#[0-9A-Fa-f]{3}(?:[0-9A-Fa-f]{3})?")


def safe(text: str) -> str:
    """Words for a text node or an attribute: controls shown, markup escaped."""
    return escape(printable(text), quote=True)


def colour_of(text: str) -> str:
    """A colour as the node register may hold it, "" for anything else."""
    return text if _COLOUR.fullmatch(text) else ""


class Canvas:
    def __init__(self, width: int, height: int, kind: str, label: str) -> None:
        self.width, self.height, self.kind, self.label = width, height, kind, label
        self.parts: list[str] = []

    def add(self, markup: str) -> None:
        """Markup that is safe already."""
        self.parts.append(markup)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        kind: str = "",
        *,
        anchor: str = "start",
        room: float = 0,
        per: float = MONO_PX,
    ) -> None:
        """`room` pixels at `per` pixels a cell; what is cut off stands in a <title>. 0: as long as it is."""
        words = printable(words)
        shown = cut(words, int(room / per)) if room else words
        title = f"<title>{escape(words)}</title>" if shown != words else ""
        anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
        named = f' class="{kind}"' if kind else ""
        self.add(f'<text x="{x:g}" y="{y:g}"{named}{anchored}>{title}{escape(shown)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.add(f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>')

    def rect(self, x: float, y: float, width: float, height: float, kind: str, title: str = "") -> None:
        inside = f"><title>{safe(title)}</title></rect>" if title else "/>"
        self.add(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{inside}')

    def svg(self, *, standalone: bool = False) -> str:
        """`standalone`: a file of its own, with its style and its ground."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="flow {self.kind}" {size} role="group"'
        opening += f' aria-label="{safe(self.label)}">'
        ground = ""
        if standalone:
            ground = (
                f'<style>{TOKENS}{STYLE}</style><rect class="ground" width="{self.width}" height="{self.height}"/>'
            )
        return f"{opening}{ground}{''.join(self.parts)}</svg>"


@dataclass(frozen=True, slots=True)
class Words:
    """Of a row, one line under the other, and where they stand."""

    lines: list[str]  # at least one
    x: float
    anchor: str = "middle"
    rise: int = 6  # pixels that the last of them is above the row's arrow
    over: bool = False  # across a lane
    pin: bool = False  # joined to the lane beside which they stand

    def draw(self, canvas: Canvas, line: float) -> None:
        """`line`: where the row's arrow runs."""
        first = line - self.rise - LINE_PX * (len(self.lines) - 1)
        if self.pin:
            forward = -1 if self.anchor == "end" else 1
            canvas.add(f'<path class="pin" d="M{self.x - 18 * forward:g} {first - 4:g}h{12 * forward}"/>')
        kind = "words over" if self.over else "words"
        for at, words in enumerate(self.lines):
            canvas.text(self.x, first + LINE_PX * at, words, kind, anchor=self.anchor)


def beside(x: float, lines: list[str], *, left: bool, rise: int) -> Words:
    """A note at a lane."""
    return Words(lines, x - 18 if left else x + 18, "end" if left else "start", rise, over=True, pin=True)


def tone_of(row: Row) -> str:
    """The classes of a message: what it is, and what it means to the story."""
    status = row.arrow.sip.status if row.arrow else 0
    if row.arrow is None:
        tone = "asked refused" if row.refused else "asked"
    elif status == 0:
        tone = "request"
    elif status < 200:
        tone = "progress"
    elif status < 300:
        tone = "success"
    else:
        tone = "challenge" if status in CHALLENGES else "refusal"
    return tone + (" failing" if row.failing else "") + (" evidence" if row.evidence else "")


def mark_row(canvas: Canvas, row: Row, y: float, height: float) -> None:
    """A tinted ground under a row that matters; drawn before the lanes, so that they go through it."""
    if row.failing or row.evidence:
        canvas.rect(0, y + 0.5, canvas.width, height - 1, "mark-bad" if row.failing else "mark-warn")


def open_message(canvas: Canvas, row: Row, title: str, kinds: str, *, linked: bool) -> None:
    """The start of one message's group: focusable, named, and on pages a link to its raw text."""
    name = f'data-number="{row.number}" aria-label="{safe(title)}"'
    opening = (
        f'<a class="{kinds}" href="#m{row.number}" {name}>' if linked else f'<g class="{kinds}" tabindex="0" {name}>'
    )
    canvas.add(f"{opening}<title>{safe(title)}</title>")


def close_message(canvas: Canvas, *, linked: bool) -> None:
    canvas.add("</a>" if linked else "</g>")


def arrow(canvas: Canvas, x1: float, x2: float, y: float, *, lost: bool = False) -> None:
    """A line with its head from lane to lane; `lost` ends in a cross before it arrives."""
    forward = 1 if x2 > x1 else -1
    if lost:
        end = x2 - 26 * forward
        canvas.line(x1, y, end, y, "line")
        canvas.add(f'<path class="cross" d="M{end - 5:g} {y - 5:g}l10 10m0 -10l-10 10"/>')
        return
    end = x2 - 2 * forward
    canvas.line(x1, y, end - 6 * forward, y, "line")
    canvas.add(f'<path class="head" d="M{end:g} {y:g}l{-9 * forward} -4v8z"/>')


def turn(canvas: Canvas, x: float, y: float) -> None:
    """A message from a lane to itself."""
    canvas.add(f'<path class="line" d="M{x:g} {y - 8:g}h26v10h-18" fill="none"/>')
    canvas.add(f'<path class="head" d="M{x + 2:g} {y + 2:g}l9 -4v8z"/>')
