"""The call flow among all nodes: each hop once, who saw it, how long nodes held it, which leg it is of.

Lanes are participants in path order; the provider's switch stands on a tinted band. The head is a picture of its own, so that a
page can keep it in view; the flow comes in parts, of which the healthy ones may be folded away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

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
    colour_of,
    mark_row,
    open_message,
    safe,
    tone_of,
    turn,
)
from ringback.sessions.diagram.rows import Row, rows_of, writer_name, writer_of
from ringback.sessions.diagram.words import cells, cut, printable, wrapped
from ringback.sessions.story import Arrow, Issue, Participant, Session

HEAD_PX, ROW_PX = 54, 28
_GUTTER = 132  # number, time and leg
_FOLD_ABOVE = 40  # rows: a shorter flow is shown whole
_FOLD_RUN = 8  # fewer healthy rows in a row are not worth a fold
_LONG_HOLD_US = 500_000
_TELL_HOLD_US = 200_000


@dataclass(frozen=True, slots=True)
class Part:
    """Rows drawn together."""

    svg: str
    messages: int
    seconds: float  # from its first row to its last
    folded: bool  # nothing unusual in it


@dataclass(frozen=True, slots=True)
class Flow:
    """The head and the parts, all of one width, to be put one under the other."""

    width: int
    head: str
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class _Hold:
    """A node got a message in the one row and passed it on, or answered it, in the other."""

    participant: str
    from_row: int
    to_row: int
    microseconds: int
    what: str


def advanced_flow(session: Session, issues: Sequence[Issue] = (), *, fold: bool = True) -> Flow:
    """For a page. `fold`: long stretches where nothing is unusual come as parts of their own, to be shown on request."""
    picture = _Advanced(session, issues, linked=True)
    parts = []
    for start, end, folded in picture.stretches() if fold else [(0, len(picture.rows), False)]:
        rows = picture.rows[start:end]
        messages = sum(row.sent for row in rows if row.arrow)
        seconds = (rows[-1].entry.time_us - rows[0].entry.time_us) / 1e6 if rows else 0.0
        parts.append(Part(picture.body(start, end).svg(), messages, seconds, folded))
    return Flow(picture.width, picture.head().svg(), parts)


def advanced_svg(
    session: Session, issues: Sequence[Issue] = (), *, standalone: bool = False, fold: bool = True
) -> str:
    """`standalone`: one SVG document, nothing folded. Else markup for a page: the head, then the parts, folded ones in
    <details>."""
    if standalone:
        picture = _Advanced(session, issues, linked=False)
        whole = picture.body(0, len(picture.rows), top=HEAD_PX)
        picture.draw_head(whole)
        return whole.svg(standalone=True)
    flow = advanced_flow(session, issues, fold=fold)
    markup = [flow.head]
    for part in flow.parts:
        if part.folded:
            words = f"{part.messages} messages in {part.seconds:.1f} s, nothing unusual"
            markup.append(f'<details class="flow-fold"><summary>{words}</summary>{part.svg}</details>')
        else:
            markup.append(part.svg)
    return "".join(markup)


class _Advanced:
    def __init__(self, session: Session, issues: Sequence[Issue], *, linked: bool) -> None:
        self.session = session
        self.linked = linked
        self.rows = rows_of(session, issues)
        count = max(1, len(session.participants))
        # Five lanes fit beside the facts of a page that is 1440 px wide.
        few = {1: 380, 2: 380, 3: 290, 4: 220, 5: 180}
        self.pitch = few.get(count, 170 if count <= 8 else 160)
        self.width = _GUTTER + self.pitch * count + 12
        self.x = {one.id: round(_GUTTER + self.pitch * (at + 0.5)) for at, one in enumerate(session.participants)}
        self.lane_of_agent = {agent: one.id for one in session.participants for agent in one.agents}
        self.words = [self._words(row) for row in self.rows]
        heights = (ROW_PX + LINE_PX * (len(one.lines) - 1) for one in self.words)
        self.tops = list(accumulate(heights, initial=0))  # of each row, and the end of the last
        self.row_of = {row.number: at for at, row in enumerate(self.rows)}
        self.legs = {leg.call_id: at for at, leg in enumerate(session.legs)}
        self.holds = list(self._holds())

    def stretches(self) -> Iterator[tuple[int, int, bool]]:
        """(start, end, folded): all rows, healthy runs apart; what stands beside something unusual stays in sight."""
        rows = self.rows
        if len(rows) <= _FOLD_ABOVE:
            yield 0, len(rows), False
            return
        telling = {at for at, row in enumerate(rows) if row.unusual}
        telling |= {hold.to_row for hold in self.holds if hold.microseconds >= _LONG_HOLD_US}
        kept = {at + step for at in telling for step in (-1, 0, 1)} | {0, 1, 2, len(rows) - 2, len(rows) - 1}
        start = at = 0
        while at < len(rows):
            run = at
            while run < len(rows) and run not in kept:
                run += 1
            if run - at >= _FOLD_RUN:
                if start < at:
                    yield start, at, False
                yield at, run, True
                start = run
            at = max(run, at + 1)
        if start < len(rows):
            yield start, len(rows), False

    def head(self) -> Canvas:
        canvas = Canvas(self.width, HEAD_PX, "flow-head", "Lanes of the diagram")
        self._band(canvas, 0, HEAD_PX)
        self.draw_head(canvas)
        return canvas

    def draw_head(self, canvas: Canvas) -> None:
        inside = [one for one in self.session.participants if one.cluster]
        if inside:
            canvas.text(self.x[inside[0].id] - self.pitch / 2 + 8, 12, "your switch", "band-name")
        for one in self.session.participants:
            x, room = self.x[one.id], self.pitch - 14
            canvas.add(f'<g class="participant"><title>{safe(_about(one))}</title>')
            name = cut(printable(one.label), int(room / SANS_PX))
            colour = colour_of(one.colour)
            if colour:
                canvas.add(f'<circle cx="{x - cells(name) * SANS_PX / 2 - 8:g}" cy="23.5" r="4" fill="{colour}"/>')
            canvas.text(x, 28, name, "lane", anchor="middle")
            if one.skew_us:
                canvas.text(
                    x, 43, f"clock {one.skew_us / 1e6:+.3f} s", "skew", anchor="middle", room=room, per=SMALL_PX
                )
            else:
                canvas.text(x, 43, _role(one), "sub", anchor="middle", room=room, per=SMALL_PX)
            canvas.add("</g>")

    def body(self, start: int, end: int, top: int = 0) -> Canvas:
        offset = top - self.tops[start]  # of the canvas to the whole flow
        height = offset + self.tops[end] + 6
        canvas = Canvas(self.width, height, "flow-body", f"Call flow, messages {start + 1} to {end}")
        self._band(canvas, 0, height)
        for at in range(start, end):
            mark_row(canvas, self.rows[at], offset + self.tops[at], self.tops[at + 1] - self.tops[at])
        for one in self.session.participants:
            canvas.line(self.x[one.id], top and top - 4, self.x[one.id], height, "life")
        for hold in self.holds:
            self._hold(canvas, hold, start, end, offset)
        for at in range(start, end):
            self._row(canvas, at, offset)
        return canvas

    def _band(self, canvas: Canvas, y: int, height: int) -> None:
        inside = [self.x[one.id] for one in self.session.participants if one.cluster]
        if inside:
            left = min(inside) - self.pitch / 2 + 4
            canvas.rect(left, y, max(inside) + self.pitch / 2 - 4 - left, height, "band")

    def _row(self, canvas: Canvas, at: int, offset: int) -> None:
        """`offset`: of the canvas to the whole flow."""
        row, y = self.rows[at], offset + self.tops[at]
        line = offset + self.tops[at + 1] - 8  # where an arrow runs
        if row.arrow:
            self._open_message(canvas, row, row.arrow)
        elif row.ends:
            title = f"#{row.number} {row.time} {row.words}"
            open_message(canvas, row, title, f"msg {tone_of(row)}", linked=self.linked)
        else:
            self._open_note(canvas, row)
        canvas.rect(0, y + 0.5, self.width, self.tops[at + 1] - self.tops[at] - 1, "row")
        canvas.text(34, y + 19, str(row.number), "number", anchor="end")
        canvas.text(102, y + 19, row.time, "time", anchor="end")
        if row.arrow:
            self._message(canvas, row.arrow, y, line, lost=row.unheard and (row.failing or row.evidence))
        elif row.ends:
            arrow(canvas, self.x[row.ends[0]], self.x[row.ends[1]], line)
        self.words[at].draw(canvas, line)
        close_message(canvas, linked=self.linked)

    def _open_message(self, canvas: Canvas, row: Row, message: Arrow) -> None:
        agents = dict.fromkeys(sighting.hop.agent for sighting in message.sightings if sighting.hop.agent)
        seen = f"seen by {', '.join(agents)}" if agents else "seen once"
        title = f"#{row.number} {row.time} {row.words} {row.repeats}, {message.hop.transport}, {seen}"
        leg = self.legs.get(message.leg, 0)
        open_message(canvas, row, title, f"msg {tone_of(row)} leg-{leg % 4}", linked=self.linked)

    def _open_note(self, canvas: Canvas, row: Row) -> None:
        kind = row.entry.kind if row.entry.kind in ("billing", "media") else "log" if row.unusual else "quiet"
        marks = " evidence" if row.evidence else ""
        title = f"#{row.number} {row.time} {writer_name(self.session, row.entry)}: {row.words}"
        open_message(canvas, row, title, f"entry {kind}{marks}", linked=self.linked)

    def _message(self, canvas: Canvas, message: Arrow, y: int, line: int, *, lost: bool) -> None:
        if len(self.legs) > 1:
            canvas.add(f'<circle class="leg-mark" cx="117" cy="{y + 15}" r="8"/>')
            canvas.text(117, y + 18.5, leg_letter(self.legs.get(message.leg, 0)), "leg-name", anchor="middle")
        x1, x2 = self.x[message.source], self.x[message.destination]
        if x1 == x2:
            turn(canvas, x1, line)
            return
        arrow(canvas, x1, x2, line, lost=lost)
        for place in self._ticks(message, x1, x2):
            canvas.line(place, line, place, line + 6, "tick")

    def _words(self, row: Row) -> Words:
        """What is unusual has as many lines as it takes, everything else two; all of it stands between two lanes, or
        between those that an arrow joins."""
        most = MOST_LINES if row.unusual else 2
        if row.ends is None:
            return self._noted(row, most)
        x1, x2 = (self.x[end] for end in row.ends)
        mark = "✕ " if row.failing or row.refused else ""
        if x1 == x2:
            lines = row.lines(int((self.pitch - 40) / MONO_PX), most, mark)
            return Words(lines, x1 + 32, "start", rise=3)
        lines = row.lines(int((abs(x2 - x1) - 22) / MONO_PX), most, mark)
        return Words(lines, (x1 + x2) / 2, over=abs(x2 - x1) > self.pitch + 1)

    def _noted(self, row: Row, most: int) -> Words:
        entry, participants = row.entry, self.session.participants
        owner = writer_of(self.session, entry)
        if owner is None:
            words = printable(f"{entry.node}: {row.words}" if entry.node else row.words)
            lines = wrapped(words, int((self.width - _GUTTER - 30) / MONO_PX), most)
            return Words(lines, _GUTTER + 6, "start", rise=1, over=True)
        last = len(participants) > 1 and owner is participants[-1]
        room = self.pitch - 34 if len(participants) > 1 else self.pitch / 2
        shown = int(room / MONO_PX)
        if len(row.labels) > 1 and not row.unusual:
            return beside(self.x[owner.id], [row.label(shown)], left=last, rise=1)
        lines = wrapped(printable(row.words), shown, most)
        return beside(self.x[owner.id], lines, left=last, rise=1)

    def _ticks(self, message: Arrow, x1: float, x2: float) -> Iterator[float]:
        """Near the end that the probe stands at; in the middle for one that stands nowhere we know."""
        forward = 1 if x2 > x1 else -1
        placed = {message.source: 0, message.destination: 0, "": 0}
        for agent in dict.fromkeys(sighting.hop.agent for sighting in message.sightings if sighting.hop.agent):
            place = self.lane_of_agent.get(agent, "")
            place = place if place in placed else ""
            step = placed[place]
            placed[place] += 1
            if place == message.source:
                yield x1 + forward * (9 + 4 * step)
            elif place == message.destination:
                yield x2 - forward * (18 + 4 * step)
            else:
                yield (x1 + x2) / 2 + 4 * step

    def _holds(self) -> Iterator[_Hold]:
        """Requests from their arrival to their forwarding or their first answer, responses from arrival to passing on."""
        transactions = self.session.transactions
        cluster = {one.id for one in self.session.participants if one.cluster}
        has_child = {one.parent for one in transactions}
        for one in transactions:
            if one.parent is not None:
                before = transactions[one.parent]
                yield from self._between(before.request, one.request, one.source)
                for response in (*one.provisional[:1], *one.finals[:1]):
                    sent_on = (
                        up for up in (*before.provisional, *before.finals) if up.sip.status == response.sip.status
                    )
                    if response.sip.status > 100:
                        yield from self._between(response, next(sent_on, None), one.source)
            elif one.index not in has_child and one.destination in cluster:
                yield from self._between(one.request, one.final, one.destination)

    def _between(self, came: Arrow | None, went: Arrow | None, participant: str) -> Iterator[_Hold]:
        if came is None or went is None or came.destination != participant or went.source != participant:
            return
        start, end = self.row_of.get(came.number), self.row_of.get(went.number)
        if start is not None and end is not None and start < end:
            what = came.sip.method if came.sip.is_request else str(came.sip.status)
            yield _Hold(participant, start, end, went.time_us - came.time_us, what)

    def _hold(self, canvas: Canvas, hold: _Hold, start: int, end: int, offset: int) -> None:
        if hold.to_row < start or hold.from_row >= end:
            return
        x = self.x[hold.participant]
        y1 = offset + (self.tops[hold.from_row + 1] - 8 if hold.from_row >= start else self.tops[start])
        y2 = offset + (self.tops[hold.to_row + 1] - 8 if hold.to_row < end else self.tops[end])
        milliseconds = hold.microseconds / 1e3
        long = hold.microseconds >= _LONG_HOLD_US
        held = (
            f"held {hold.what} {milliseconds / 1e3:.2f} s"
            if milliseconds >= 1000
            else f"held {hold.what} {milliseconds:.1f} ms"
        )
        canvas.rect(x - 2.5, y1, 5, y2 - y1, "hold long" if long else "hold", held)
        if hold.microseconds >= _TELL_HOLD_US:
            free = next(
                (at for at in range(max(hold.from_row + 1, start), min(hold.to_row, end)) if self._free(at, x)), None
            )
            if free is not None:
                y = offset + self.tops[free] + 19
                canvas.text(x + 8, y, held, "held", room=self.pitch - 20, per=SMALL_PX)

    def _free(self, at: int, x: int) -> bool:
        """Nothing is drawn to the right of the lane in that row."""
        message = self.rows[at].arrow
        return message is not None and max(self.x[message.source], self.x[message.destination]) <= x


def _role(participant: Participant) -> str:
    return "" if participant.kind in ("", "unknown", participant.label) else participant.kind


def _about(participant: Participant) -> str:
    """The whole truth of a lane for the hover."""
    parts = [participant.label, participant.kind, *participant.addresses]
    if participant.user_agent:
        parts.append(participant.user_agent)
    if participant.agents:
        parts.append(f"capture agent {', '.join(participant.agents)}")
    if participant.skew_us:
        parts.append(f"its stamps are corrected by {participant.skew_us / 1e6:+.6f} s")
    return "\n".join(dict.fromkeys(part for part in parts if part)).replace("\n", " · ")


def leg_letter(position: int) -> str:
    """a, b, ... z, a1, ..."""
    return chr(ord("a") + position % 26) + (str(position // 26) if position >= 26 else "")
