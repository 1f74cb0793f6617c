"""The billing log of a session as plain text, one line a step: for people who are used to reading it."""

from __future__ import annotations

from datetime import UTC, tzinfo

from ringback import clock
from ringback.sessions.billing_log import KIND, step_words
from ringback.sessions.report import printable
from ringback.sessions.story import Entry, Session

_WIDEST = 24  # of a node's name; a longer one moves its own line only


def billing_entries(session: Session) -> list[Entry]:
    return [entry for entry in session.entries if entry.kind == KIND and entry.log]


def billing_lines(session: Session, tz: tzinfo = UTC) -> str:
    """`14:03:22.118  edge1  Decision  Refused: ...`, a line for each day before its first; "" where there are none."""
    entries = billing_entries(session)
    node_width = min(_WIDEST, max((len(printable(entry.node)) for entry in entries), default=0))
    step_width = max((len(printable(step_words(entry.log))) for entry in entries if entry.log), default=0)
    lines, day = [], ""
    for entry in entries:
        moment = clock.from_us(entry.time_us).astimezone(tz)
        if day != (day := f"{moment:%Y-%m-%d}"):
            lines.append(day)
        step = printable(step_words(entry.log)) if entry.log else ""
        told = " ".join(printable(part) for part in entry.text.splitlines())
        at = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
        line = f"{at}  {printable(entry.node):<{node_width}}  {step:<{step_width}}  {told}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def classic_text(session: Session) -> str:
    """A file: whose call it was, then the lines. Times in UTC."""
    who = printable(" -> ".join(name for name in (session.caller, session.called) if name))
    head = [f"Billing log of the session {who} of {clock.isoformat(session.started_us)}"]
    head += [f"Call-ID {printable(call_id)}" for call_id in session.call_ids]
    conf_ids = dict.fromkeys(
        entry.log.fields["conf_id"]
        for entry in billing_entries(session)
        if entry.log and entry.log.fields.get("conf_id")
    )
    head += [f"Billing session {printable(conf_id)}" for conf_id in conf_ids]
    lines = billing_lines(session) or "No line of a billing log came with this session."
    return "\n".join([*head, "Times in UTC", "", lines, ""])
