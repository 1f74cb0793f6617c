"""`ringback events`: what the stored segments hold, and saving what can be read of damaged ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ringback.events import EventStoreError, SegmentStatus, StoreStatus, open_store
from ringback.events.sqlite import RepairReport, repair


def show_status(store_url: str, say: Callable[[str], None]) -> bool:
    """Whether every segment can be read. Raises EventStoreError."""
    status = _status(store_url)
    for segment in status.segments:
        say(_line(segment))
    if not status.segments:
        say("Nothing is stored yet.")
    if status.problem:
        say(status.problem)
    return not status.problem and not any(segment.problem for segment in status.segments)


def repair_segments(store_url: str, names: Sequence[str], say: Callable[[str], None]) -> None:
    """Those of `names`, or else every damaged one. Raises EventStoreError, ValueError."""
    scheme, _, folder = store_url.partition(":")
    if scheme != "sqlite":
        raise EventStoreError("only the SQLite event store has segments to repair")
    chosen = names or [segment.name for segment in _status(store_url).segments if segment.problem]
    if not chosen:
        say("No segment is damaged.")
    for name in chosen:
        for line in _told(repair(Path(folder), name)):
            say(line)


def _status(store_url: str) -> StoreStatus:
    store = open_store(store_url)
    try:
        return store.status()
    finally:
        store.close()


def _line(segment: SegmentStatus) -> str:
    held = f"{segment.messages:>12,} messages  {segment.legs:>10,} legs  {segment.logs:>10,} log lines"
    if segment.kind == "audit":
        held = f"{segment.audits:>12,} audit rows"
    return f"{segment.name:20} {segment.bytes:>15,} bytes  {held}  {segment.problem}".rstrip()


def _told(report: RepairReport) -> list[str]:
    saved = (
        f"{report.messages:,} messages, {report.legs:,} legs, {report.logs:,} log lines, {report.audits:,} audit rows"
    )
    if not report.damaged:
        return [f"{report.segment}: everything can be read ({saved}); nothing was changed"]
    losses = {
        "messages": report.lost_messages,
        "legs": report.lost_legs,
        "log lines": report.lost_logs,
        "audit rows": report.lost_audits,
        "writes that were acknowledged": report.lost_batches,
    }
    lost = [f"{what}: {'unknown' if count is None else f'{count:,}'}" for what, count in losses.items() if count != 0]
    return [
        f"{report.segment}: saved {saved}",
        f"  lost {', '.join(lost) or 'nothing'}",
        *(f"  {note}" for note in report.notes),
        *([f"  the damaged file is kept as {report.kept}"] if report.kept else []),
    ]
