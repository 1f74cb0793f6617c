"""The billing log of a session as plain text, one line a step: for people who are used to reading it."""

from __future__ import annotations

from datetime import UTC, tzinfo

from ringback import clock
from ringback.sessions.billing_log import KIND, by_name, step_words, who
from ringback.sessions.report import printable
from ringback.sessions.story import LogLine, Session


def billing_lines(session: Session, tz: tzinfo = UTC) -> str:
    """`14:03:22.118  Decision  Refused: ...`; before the first line of a day, and where another engine or node has the word,
    `2026-11-22  Billing engine, asked by edge1`. "" where there are none."""
    known, told = by_name(session.participants), _told(session)
    step_width = max((len(printable(step_words(log))) for _, log in told), default=0)
    lines, head = [], ""
    for time_us, log in told:
        moment = clock.from_us(time_us).astimezone(tz)
        if head != (head := f"{moment:%Y-%m-%d}  {printable(who(log, known))}"):
            lines.append(head)
        words = " ".join(printable(part) for part in log.text.splitlines())
        at = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
        lines.append(f"{at}  {printable(step_words(log)):<{step_width}}  {words}".rstrip())
    return "\n".join(lines)


def _told(session: Session) -> list[tuple[int, LogLine]]:
    """The lines of the billing log with their times as the story has them."""
    return [(entry.time_us, entry.log) for entry in session.entries if entry.kind == KIND and entry.log]


def classic_text(session: Session) -> str:
    """A file: whose call it was, then the lines. Times in UTC."""
    parties = printable(" -> ".join(name for name in (session.caller, session.called) if name))
    head = [f"Billing log of the session {parties} of {clock.isoformat(session.started_us)}"]
    head += [f"Call-ID {printable(call_id)}" for call_id in session.call_ids]
    conf_ids = dict.fromkeys(log.fields["conf_id"] for _, log in _told(session) if log.fields.get("conf_id"))
    head += [f"Billing session {printable(conf_id)}" for conf_id in conf_ids]
    lines = billing_lines(session) or "No line of a billing log came with this session."
    return "\n".join([*head, "Times in UTC", "", lines, ""])
