"""The ladder for a terminal: participants as columns, time downwards.

Where the lanes stand far enough apart a message's words stand on its arrow; else they stand in a column to the right. Many
lanes are lettered, and the letters explained above. Wire text never reaches the terminal unescaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ringback.sessions.diagram.rows import CHALLENGES, Row, rows_of, writer_name
from ringback.sessions.diagram.words import ascii_only, cells, centred, cut, printable
from ringback.sessions.story import Issue, Participant, Session

_NARROWEST = 40
_WORDS_ON_ARROW = 26  # lanes at least this far apart
_WIDEST_PITCH = 44
_LETTERED = 12  # lanes nearer than this have letters
_RESET = "\x1b[0m"


class Signs(NamedTuple):
    line: str
    lane: str
    right: str
    left: str
    turn: str  # a message from a lane to itself
    mark: str
    more: str


_UNICODE = Signs("─", "│", "▶", "◀", "↺", "►", "…")
_PLAIN = Signs("-", "|", ">", "<", "@", "*", "...")


def ladder(session: Session, width: int, colour: bool, issues: Sequence[Issue] = (), *, unicode: bool = True) -> str:
    """Lines without a final newline, none wider than `width` (40 at the least). `colour` adds ANSI colours."""
    drawing = _Drawing(
        session, max(width, _NARROWEST), colour, rows_of(session, issues), _UNICODE if unicode else _PLAIN
    )
    return "\n".join(drawing.lines())


class _Drawing:
    def __init__(self, session: Session, width: int, colour: bool, rows: list[Row], signs: Signs) -> None:
        self.session = session
        self.width = width
        self.colour = colour
        self.rows = rows
        self.signs = signs
        self.lane_of = {participant.id: position for position, participant in enumerate(session.participants)}
        self.digits = len(str(len(session.entries)))
        self.time_width = max((len(row.time) for row in rows), default=6)
        self.gutter = 2 + self.digits + 2 + self.time_width + 2
        room, count = width - self.gutter, max(1, len(session.participants))
        self.on_arrow = room // count >= _WORDS_ON_ARROW
        if self.on_arrow:
            self.pitch = min(_WIDEST_PITCH, room // count)
        else:
            self.pitch = max(3, min(20, max(room - 26, room // 2) // count))
        self.words_at = self.gutter + self.pitch * count + 1

    def lines(self) -> list[str]:
        return [line.rstrip() for line in (*self._head(), *map(self._row, self.rows))]

    def _centre(self, lane: int) -> int:
        return lane * self.pitch + self.pitch // 2

    def _head(self) -> list[str]:
        participants = self.session.participants
        lettered = not self.on_arrow and self.pitch < _LETTERED
        if not lettered:
            names = [self._fit(name, self.pitch - 1) for name in short_labels(participants)]
            roles = [self._fit(role_words(participant), self.pitch - 1) for participant in participants]
            head = [names, roles] if any(roles) else [names]
            return [" " * self.gutter + "".join(centred(name, self.pitch) for name in line) for line in head]
        letters = [letter(position) for position in range(len(participants))]
        legend = []
        for name, participant in zip(letters, participants, strict=True):
            role = role_words(participant)
            words = f"{name:>2}  {participant.label}" + (f" ({role})" if role else "")
            legend.append(self._fit(words, self.width))
        return [*legend, " " * self.gutter + "".join(centred(name, self.pitch) for name in letters)]

    def _row(self, row: Row) -> str:
        mark = self.signs.mark if row.evidence or row.failing else " "
        start = f"{mark} {row.number:>{self.digits}}  {row.time:>{self.time_width}}  "
        if row.ends is None:
            writer = writer_name(self.session, row.entry)
            words = self._fit(f"{writer}: {row.words}" if writer else row.words, self.width - self.gutter)
            return self._painted(start, row) + self._painted(words, row)
        source, destination = (self.lane_of.get(end, 0) for end in row.ends)
        track = self._track(source, destination, row)
        if self.on_arrow:
            return self._painted(start, row) + track
        return (
            self._painted(start, row) + track + " " + self._painted(self._words(row, self.width - self.words_at), row)
        )

    def _words(self, row: Row, room: int) -> str:
        words = row.label(room, self.signs.more)
        return words if self.signs is _UNICODE else cut(ascii_only(words), room, self.signs.more)

    def _track(self, source: int, destination: int, row: Row) -> str:
        """The lanes, and the arrow across them with its words on it where they fit."""
        signs, width = self.signs, self.pitch * len(self.session.participants)
        first, last = sorted((self._centre(source), self._centre(destination)))
        track = [" "] * width
        for lane in range(len(self.session.participants)):
            track[self._centre(lane)] = signs.lane
        if first == last and self.on_arrow:
            words = self._words(row, self.width - self.gutter - first - 2)
            return self._between(track, first, width, f"{signs.turn} {words}", row)
        if first == last:
            return self._between(track, first, first + 1, signs.turn, row)
        shown = self._words(row, last - first - 5) if self.on_arrow else ""
        span = last - first - 1
        line = f" {shown} " if shown else ""
        before = (span - 1 - cells(line)) // 2
        inside = signs.line * before + line + signs.line * (span - 1 - before - cells(line))
        inside = inside + signs.right if source < destination else signs.left + inside
        return self._between(track, first + 1, last, inside, row)

    def _between(self, track: list[str], start: int, end: int, inside: str, row: Row) -> str:
        return "".join(track[:start]) + self._painted(inside, row) + "".join(track[end:])

    def _safe(self, text: str) -> str:
        text = printable(text)
        return text if self.signs is _UNICODE else ascii_only(text)

    def _fit(self, text: str, room: int) -> str:
        return self._fit_safe(self._safe(text), room)

    def _fit_safe(self, text: str, room: int) -> str:
        return cut(text, room, self.signs.more)

    def _painted(self, text: str, row: Row) -> str:
        code = _colour_of(row) if self.colour else ""
        return f"\x1b[{code}m{text}{_RESET}" if code and text.strip() else text


def _colour_of(row: Row) -> str:
    """SGR parameters: what failed in red, challenges and evidence in yellow, success in green, progress faint."""
    if row.failing:
        return "1;31"
    if row.refused:
        return "31"
    if row.arrow is None:
        return "35" if row.ends else "33" if row.unusual else "2"
    status = row.arrow.sip.status
    if status >= 300:
        return "33" if status in CHALLENGES else "31"
    if row.evidence:
        return "1;33"
    if status >= 200:
        return "32"
    return "2" if status else ""


def role_words(participant: Participant) -> str:
    """`edge, clock +1.500 s`: what the head of a lane says under its name."""
    words = [] if participant.kind in ("", "unknown", participant.label) else [participant.kind]
    if participant.skew_us:
        words.append(f"clock {participant.skew_us / 1e6:+.3f} s")
    return ", ".join(words)


def short_labels(participants: Sequence[Participant]) -> list[str]:
    """The labels, of an address the port left out where no other lane is on the same host."""
    hosts = [participant.label.rpartition(":")[0] for participant in participants]
    return [
        host if participant.label in participant.addresses and hosts.count(host) == 1 else participant.label
        for participant, host in zip(participants, hosts, strict=True)
    ]


def letter(position: int) -> str:
    """A, B, ... Z, A1, B1, ..."""
    return chr(ord("A") + position % 26) + (str(position // 26) if position >= 26 else "")
