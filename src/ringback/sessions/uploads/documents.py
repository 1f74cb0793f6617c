"""What became of an import as JSON: `ringback import --json`, the answer to an upload, and the upload page."""

from __future__ import annotations

from typing_extensions import TypedDict

from ringback import clock
from ringback.sessions.ingest.files import FileImport, ImportSummary


class FileDocument(TypedDict):
    name: str
    status: str  # imported, resumed, already (it was in before), failed
    problem: str  # why it failed, or where a capture is damaged; empty: nothing
    packets: int
    messages: int
    legs: int
    media: int  # RTP streams and reports
    logs: int
    ignored: dict[str, int]  # reason -> packets
    first: str | None
    last: str | None


class ImportDocument(TypedDict):
    files: list[FileDocument]
    messages: int  # stored by this import
    seconds: float


def import_document(summary: ImportSummary) -> ImportDocument:
    return {
        "files": [_file(each) for each in summary.files],
        "messages": summary.messages,
        "seconds": round(summary.seconds, 3),
    }


def _file(result: FileImport) -> FileDocument:
    return {
        "name": str(result.path),
        "status": result.status,
        "problem": result.problem,
        "packets": result.packets,
        "messages": result.messages,
        "legs": result.legs,
        "media": result.media,
        "logs": result.logs,
        "ignored": dict(sorted(result.ignored.items())),
        "first": None if result.first_us is None else clock.isoformat(result.first_us),
        "last": None if result.last_us is None else clock.isoformat(result.last_us),
    }
