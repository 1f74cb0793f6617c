"""What happened between the phones and the provider's switch, for a reader who knows no SIP: the switch is one lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringback.sessions.billing_log import step_of
from ringback.sessions.capture.sip import parse_uri
from ringback.sessions.correlate.legs import called
from ringback.sessions.diagram.drawing import (
    MONO_PX,
    SANS_PX,
    SMALL_PX,
    Canvas,
    arrow,
    close_message,
    mark_row,
    open_message,
    tone_of,
)
from ringback.sessions.diagram.rows import Row, rows_of, writer_of
from ringback.sessions.diagram.text import short_labels
from ringback.sessions.diagram.words import cells, cut, printable
from ringback.sessions.story import Arrow, Issue, Participant, Session

_TOP, _ROW = 52, 32
_GUTTER = 78
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
) -> str:
    """`names`: what people call a number, an address or a participant id, e.g. {"12103355787": "John Doe's phone"}."""
    picture = _Basic(session, issues, names or {}, linked=not standalone)
    return picture.drawn().svg(standalone=standalone)


class _Basic:
    def __init__(self, session: Session, issues: Sequence[Issue], names: Mapping[str, str], *, linked: bool) -> None:
        self.session = session
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
        pitch = {1: 420, 2: 440, 3: 320}.get(len(self.lanes), 230)
        self.width = _GUTTER + pitch * len(self.lanes)
        self.x = {lane.key: _GUTTER + round(pitch * (at + 0.42)) for at, lane in enumerate(self.lanes)}
        self.pitch = pitch

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
        bottom = _TOP + _ROW * len(self.rows) + 12 + (20 if self.left_out else 0)
        canvas = Canvas(
            self.width, bottom, "basic", f"{self.session.caller} to {self.session.called}: who sent what to whom"
        )
        for position, row in enumerate(self.rows):
            mark_row(canvas, row, _TOP + _ROW * position + 1, _ROW)
        for lane in self.lanes:
            x, faint = self.x[lane.key], "" if lane.reached else " unreached"
            canvas.text(x, 18, lane.name, f"lane{faint}", anchor="middle", room=self.pitch - 16, per=SANS_PX)
            canvas.text(x, 34, lane.sub, f"sub{faint}", anchor="middle", room=self.pitch - 16, per=SMALL_PX)
            canvas.line(x, 44, x, bottom - 8, f"life{faint}")
        for position, row in enumerate(self.rows):
            y = _TOP + _ROW * position + 22
            if row.arrow:
                self._message(canvas, row, row.arrow, y)
            elif row.ends:
                self._asked(canvas, row, *row.ends, y)
            else:
                self._note(canvas, row, y)
        if self.left_out:
            words = f"{self.left_out} further messages are in the timeline."
            canvas.text(self.width / 2, bottom - 10, words, "hint", anchor="middle")
        return canvas

    def _message(self, canvas: Canvas, row: Row, message: Arrow, y: int) -> None:
        x1, x2 = self.x[self.lane_of[message.source]], self.x[self.lane_of[message.destination]]
        words = _plain_words(message)
        lost = row.unheard and (row.failing or row.evidence)
        title = f"#{row.number} {row.time} {row.words} {row.repeats}".rstrip()
        open_message(canvas, row, title, f"msg {tone_of(row)}", linked=self.linked)
        canvas.rect(0, y - 20, self.width, _ROW - 2, "row")
        canvas.text(_GUTTER - 12, y - 4, row.time, "time", anchor="end")
        arrow(canvas, x1, x2, y, lost=lost)
        if row.failing:
            words = f"✕ {words}"
        room = int((abs(x2 - x1) - 30) / MONO_PX)
        if row.repeats:
            words = f"{cut(printable(words), max(8, room - cells(row.repeats) - 1))} {row.repeats}"
        over = " over" if abs(x2 - x1) > self.pitch + 1 else ""
        canvas.text((x1 + x2) / 2, y - 6, words, f"words{over}", anchor="middle", room=room * MONO_PX)
        close_message(canvas, linked=self.linked)

    def _asked(self, canvas: Canvas, row: Row, source: str, destination: str, y: int) -> None:
        """What the switch and the billing engine say to each other."""
        x1, x2 = self.x[self.lane_of[source]], self.x[self.lane_of[destination]]
        open_message(canvas, row, f"#{row.number} {row.time} {row.words}", f"msg {tone_of(row)}", linked=self.linked)
        canvas.rect(0, y - 20, self.width, _ROW - 2, "row")
        canvas.text(_GUTTER - 12, y - 4, row.time, "time", anchor="end")
        arrow(canvas, x1, x2, y)
        mark = "✕ " if row.refused else ""
        words = mark + row.label(int((abs(x2 - x1) - 30) / MONO_PX) - len(mark))
        over = " over" if abs(x2 - x1) > self.pitch + 1 else ""
        canvas.text((x1 + x2) / 2, y - 6, words, f"words{over}", anchor="middle")
        close_message(canvas, linked=self.linked)

    def _note(self, canvas: Canvas, row: Row, y: int) -> None:
        """A line of a log, beside the lane of who wrote it."""
        owner = writer_of(self.session, row.entry)
        key = self.lane_of[owner.id] if owner else "switch"
        x = self.x.get(key, self.x[self.lanes[0].key])
        kind = row.entry.kind if row.entry.kind in ("billing", "media") else "log"
        open_message(canvas, row, f"#{row.number} {row.time} {row.entry.node}: {row.words}",
                     f"entry {kind}{' evidence' if row.evidence else ''}", linked=self.linked)  # fmt: skip
        canvas.rect(0, y - 20, self.width, _ROW - 2, "row")
        canvas.text(_GUTTER - 12, y - 4, row.time, "time", anchor="end")
        room = self.width - x - 30
        if room >= 200:
            canvas.add(f'<path class="pin" d="M{x} {y - 8}h14"/>')
            canvas.text(x + 20, y - 4, row.words, "words over", room=room)
        else:
            canvas.add(f'<path class="pin" d="M{x} {y - 8}h-14"/>')
            canvas.text(x - 20, y - 4, row.words, "words over", anchor="end", room=x - _GUTTER - 20)
        close_message(canvas, linked=self.linked)


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
