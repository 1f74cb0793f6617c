"""What happened between the phones and the provider's switch, for a reader who knows no SIP: the switch is one lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ringback.sessions.billing_log import step_of
from ringback.sessions.capture.sip import parse_uri
from ringback.sessions.correlate.legs import called
from ringback.sessions.diagram.drawing import (
    LINE_PX,
    MONO_PX,
    MOST_LINES,
    SANS_PX,
    SMALL_PX,
    Canvas,
    Words,
    arrow,
    beside,
    close_message,
    mark_row,
    open_message,
    tone_of,
)
from ringback.sessions.diagram.rows import Row, rows_of, writer_name, writer_of
from ringback.sessions.diagram.text import short_labels
from ringback.sessions.diagram.words import cells, printable, wrapped
from ringback.sessions.story import Arrow, Issue, Participant, Session

_TOP, _ROW = 52, 32
_GUTTER = 78
_NARROW = 360  # pixels: what a phone shows without scrolling
_FEW_ROWS = 14  # up to here even 100 Trying is shown
_MOST_ROWS = 60


@dataclass(slots=True)
class _Lane:
    key: str
    name: str
    sub: str
    reached: bool = True


def basic_svg(
    session: Session,
    issues: Sequence[Issue] = (),
    names: Mapping[str, str] | None = None,
    *,
    standalone: bool = False,
    narrow: bool = False,
) -> str:
    """`names`: what people call a number, an address or a participant id, e.g. {"12103355787": "John Doe's phone"}.
    `narrow`: for a screen no wider than a phone's; without times."""
    picture = _Basic(session, issues, names or {}, linked=not standalone, narrow=narrow)
    return picture.drawn().svg(standalone=standalone)


class _Basic:
    def __init__(
        self, session: Session, issues: Sequence[Issue], names: Mapping[str, str], *, linked: bool, narrow: bool
    ) -> None:
        self.session = session
        self.narrow = narrow
        self.names = names
        self.linked = linked
        parties = any(one.addresses and not one.cluster for one in session.participants)
        self.lane_of = {
            one.id: "switch" if one.cluster and parties and one.kind != "billing" else one.id
            for one in session.participants
        }
        self.lanes = self._lanes()
        self.left_out = 0
        self.rows = self._shortened([row for row in rows_of(session, issues) if self._shown(row)])
        count = len(self.lanes)
        self.pitch = max(_NARROW // count, 72) if narrow else _pitch(count)
        gutter, beside = (0, 0.5) if narrow else (_GUTTER, 0.42)
        self.width = gutter + self.pitch * count
        self._room = self.pitch - (2 if narrow else 10)  # of the words above a lane
        self.x = {lane.key: gutter + round(self.pitch * (at + beside)) for at, lane in enumerate(self.lanes)}

    def _lanes(self) -> list[_Lane]:
        asked = {
            end for entry in self.session.entries if entry.destination for end in (entry.source, entry.destination)
        }
        participants = [
            one
            for one in self.session.participants
            if one.addresses or one.id in asked or self.lane_of[one.id] == "switch"
        ]
        first = self.session.arrows[0]
        asker = first.source if first.sip.is_request else first.destination
        lanes: dict[str, _Lane] = {}
        for one in participants:
            key = self.lane_of[one.id]
            if key != "switch":
                lanes[key] = _Lane(key, self._party(one, is_caller=one.id == asker), self._about(one))
            elif key not in lanes:
                labels = zip(participants, short_labels(participants), strict=True)
                inside = [label for other, label in labels if self.lane_of[other.id] == "switch"]
                lanes[key] = _Lane(key, "Your switch", " · ".join(inside))
        number = self.session.called
        outside = [one for one in participants if not one.cluster and one.id != asker]
        if "switch" in lanes and not outside and number and self.session.kind in ("call", "message"):
            lanes["unreached"] = _Lane("unreached", self.names.get(number, number), "never reached", reached=False)
        return list(lanes.values())

    def _party(self, one: Participant, *, is_caller: bool) -> str:
        for key in (one.id, *one.addresses, *(address.rpartition(":")[0] for address in one.addresses)):
            if key in self.names:
                return self.names[key]
        if one.label not in one.addresses:
            return one.label
        number = self.session.caller if is_caller else self._called_at(one.id)
        if one.kind in ("phone", "far-end") and number and (is_caller or self.session.kind in ("call", "message")):
            return self.names.get(number, number)
        return one.label

    def _called_at(self, lane: str) -> str:
        """The number that this party was called by: forks and forwarding change it on the way."""
        for message in self.session.arrows:
            if message.destination == lane and message.sip.method in ("INVITE", "MESSAGE") and message.sip.is_request:
                return called(message.sip)
        return self.session.called

    def _about(self, one: Participant) -> str:
        address = one.addresses[0].rpartition(":")[0] if one.addresses else ""
        return " · ".join(part for part in (one.user_agent.partition("/")[0][:24], address) if part)

    def _shown(self, row: Row) -> bool:
        """Steps of the billing engine only where they tell why it refused, and none of a call's course."""
        if row.ends and not (row.entry.log and step_of(row.entry.log) == "interim"):
            source, destination = (self.lane_of[end] for end in row.ends)
            return source != destination
        return row.unusual

    def _shortened(self, rows: list[Row]) -> list[Row]:
        if len(rows) > _FEW_ROWS:
            rows = [
                row for row in rows if row.evidence or row.failing or not row.arrow or row.arrow.sip.status != 100
            ]
        if len(rows) <= _MOST_ROWS:
            return rows
        third = _MOST_ROWS // 3
        middle = rows[third:-third]
        telling = [row for row in middle if row.evidence or row.failing][:third]
        self.left_out = len(middle) - len(telling)
        return [*rows[:third], *telling, *rows[-third:]]

    def drawn(self) -> Canvas:
        heads = [self._head(lane) for lane in self.lanes]
        top = _TOP + LINE_PX * (max(map(len, heads)) - 2)
        words = [self._words(row) for row in self.rows]
        heights = [_ROW + LINE_PX * (len(one.lines) - 1) for one in words]
        bottom = top + sum(heights) + 12 + (20 if self.left_out else 0)
        canvas = Canvas(
            self.width,
            bottom,
            "basic narrow" if self.narrow else "basic",
            f"{self.session.caller} to {self.session.called}: who sent what to whom",
        )
        tops = list(accumulate(heights, initial=top))
        for row, y, height in zip(self.rows, tops, heights, strict=False):
            mark_row(canvas, row, y + 1, height)
        for lane, head in zip(self.lanes, heads, strict=True):
            x, faint = self.x[lane.key], "" if lane.reached else " unreached"
            for at, (line, kind, per) in enumerate(head):
                canvas.text(x, 18 + 15 * at, line, f"{kind}{faint}", anchor="middle", room=self._room, per=per)
            canvas.line(x, top - 8, x, bottom - 8, f"life{faint}")
        for row, one, y, height in zip(self.rows, words, tops, heights, strict=False):
            self._row(canvas, row, one, y, height)
        if self.left_out:
            further = f"{self.left_out} further messages are in the timeline."
            canvas.text(self.width / 2, bottom - 10, further, "hint", anchor="middle")
        return canvas

    def _head(self, lane: _Lane) -> list[tuple[str, str, float]]:
        """(line, class, pixels a cell) of a lane's name and of what stands under it."""
        room = self._room
        names = wrapped(printable(lane.name), int(room / SANS_PX), 2) if self.narrow else [lane.name]
        subs = [lane.sub] if cells(lane.sub) * SMALL_PX <= room else lane.sub.split(" · ", 1)  # software, address
        subs = [] if self.narrow and lane.reached else subs
        return [*((name, "lane", SANS_PX) for name in names), *((sub, "sub", SMALL_PX) for sub in subs)]

    def _words(self, row: Row) -> Words:
        if row.ends is None:
            return self._noted(row)
        ends = [self.x[self.lane_of[end]] for end in row.ends]
        apart, middle = abs(ends[1] - ends[0]), sum(ends) / 2
        if row.arrow:
            told = ("✕ " if row.failing else "") + printable(_plain_words(row.arrow))
        else:
            told = ("✕ " if row.refused else "") + printable(row.labels[-1])
        if self.narrow:
            return self._within(row, told, middle)
        lines = row.wrapped(told, int((apart - 30) / MONO_PX), MOST_LINES)
        return Words(lines, middle, over=apart > self.pitch + 1)

    def _noted(self, row: Row) -> Words:
        """Of a line of a log, beside the lane of who wrote it: between that and the next."""
        x = self._owner(row)
        if self.narrow:
            return self._within(row, printable(row.words), x)
        last = len(self.lanes) > 1 and x == self.x[self.lanes[-1].key]
        room = self.pitch - 36 if len(self.lanes) > 1 else self.width - x - 30
        lines = wrapped(printable(row.words), int(room / MONO_PX), MOST_LINES)
        return beside(x, lines, left=last, rise=4)

    def _owner(self, row: Row) -> float:
        owner = writer_of(self.session, row.entry)
        key = self.lane_of[owner.id] if owner else "switch"
        return self.x.get(key, self.x[self.lanes[0].key])

    def _within(self, row: Row, told: str, middle: float) -> Words:
        """As near to `middle` as the edges of the picture let them be."""
        lines = row.wrapped(told, int((self.width - 8) / MONO_PX), MOST_LINES)
        half = max(map(cells, lines)) * MONO_PX / 2
        return Words(lines, min(max(middle, half + 4), self.width - half - 4), over=True)

    def _row(self, canvas: Canvas, row: Row, words: Words, top: int, height: int) -> None:
        if row.ends:
            kind = f"msg {tone_of(row)}"
        else:
            kind = f"entry {row.entry.kind if row.entry.kind in ('billing', 'media') else 'log'}"
            kind += " evidence" if row.evidence else ""
        by = "" if row.ends else f"{writer_name(self.session, row.entry)}: "
        title = f"#{row.number} {row.time} {by}{row.words} {row.repeats}".rstrip()
        open_message(canvas, row, title, kind, linked=self.linked)
        canvas.rect(0, top + 2, self.width, height - 2, "row")
        y = top + height - 10
        if not self.narrow:
            canvas.text(_GUTTER - 12, top + 18, row.time, "time", anchor="end")
        if row.ends:
            lost = row.arrow is not None and row.unheard and (row.failing or row.evidence)
            x1, x2 = (self.x[self.lane_of[end]] for end in row.ends)
            arrow(canvas, x1, x2, y, lost=lost)
        words.draw(canvas, y)
        close_message(canvas, linked=self.linked)


def _pitch(count: int) -> int:
    """Pixels from lane to lane: many share what a page has."""
    return {1: 420, 2: 440, 3: 320}.get(count, max(140, 1020 // count))


def _plain_words(message: Arrow) -> str:
    """`INVITE 18660333777`, `180 Ringing`, `200 OK (BYE)`."""
    sip = message.sip
    if not sip.is_request:
        what = f"{sip.status} {sip.phrase}".rstrip()
        return what if sip.method == "INVITE" else f"{what} ({sip.method})"
    if sip.to_tag or sip.method in ("ACK", "CANCEL"):
        return f"{sip.method} again, in the call" if sip.method == "INVITE" else sip.method
    try:
        uri = parse_uri(sip.request_uri)
    except ValueError:
        return f"{sip.method} {sip.request_uri}"
    return f"{sip.method} {uri.user or uri.host}"
