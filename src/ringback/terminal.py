"""The answers in a terminal: `ringback explain` (capture files, no server) and `ringback trace` (asks a server).

`explain` must be there before the other tool has drawn its window: nothing here imports a web framework, a database
or a terminal library until it is needed.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringback.sessions.documents import (
    CaptureDocument,
    ExplainDocument,
    SessionDocument,
    TracedSessionDocument,
    session_document,
    to_json,
)
from ringback.sessions.report import answer, headline, plain, printable

if TYPE_CHECKING:
    import httpx2

    from ringback.sessions.story import Issue, Session

ANSI = {"red": "31", "amber": "33", "green": "32", "blue": "34", "soft": "2", "bold": "1"}
MANY_SESSIONS = 20  # above this a ladder is drawn for one session at a time, on demand


def explain(
    files: Sequence[Path], *, as_json: bool = False, session: int | None = None, issues: Path | None = None
) -> int:
    """Print what happened in the captures. Returns the exit code: 0, or 1 when a file or session could not be read.

    `issues` is a folder of the operator's own.
    """
    from ringback.sessions.diagnose import CatalogueError, diagnose, load_catalogue

    try:
        catalogue = load_catalogue(issues)
    except (CatalogueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    capture: CaptureDocument = {"packets": 0, "sip_messages": 0, "media_packets": 0, "ignored": {}}
    found: list[Session] = []
    unreadable = 0
    for path in files:
        try:
            found += _read(path, capture)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"{path}: {reason}", file=sys.stderr)
            unreadable += 1
    if unreadable == len(files):
        return 1
    found.sort(key=lambda one: one.started_us)
    if session is not None and not 1 <= session <= len(found):
        print(f"--session {session}: there are {len(found)} sessions in the capture", file=sys.stderr)
        return 1
    chosen = range(len(found)) if session is None else range(session - 1, session)
    explained = [(number + 1, found[number], diagnose(found[number], catalogue)) for number in chosen]
    if as_json:
        document: ExplainDocument = {
            "capture": capture,
            "sessions": [session_document(one, issues) for _, one, issues in explained],
        }
        _print_json(document)
    else:
        _print_explained(explained, capture, total=len(found))
    return 1 if unreadable else 0


def _read(path: Path, capture: CaptureDocument) -> list[Session]:
    from ringback.sessions.capture.pcap import read_capture
    from ringback.sessions.correlate import build_sessions
    from ringback.sessions.story import Sighting

    reader = read_capture(path)
    sightings = list(starmap(Sighting, reader))
    if reader.problem:
        print(f"{path}: {reader.problem}", file=sys.stderr)
    capture["packets"] += reader.counters.packets
    capture["sip_messages"] += reader.counters.sip_messages
    capture["media_packets"] += reader.counters.media_packets
    capture["ignored"] = dict(Counter(capture["ignored"]) + Counter(reader.counters.ignored))
    return build_sessions(sightings, logs=reader.logs, media=reader.media)


def _print_explained(
    explained: Sequence[tuple[int, Session, list[Issue]]], capture: CaptureDocument, total: int
) -> None:
    from ringback.sessions.diagram.text import ladder

    width = _width()
    print(_counted(capture, total))
    if not total:
        print("No SIP was found. Is it encrypted (TLS), or was the capture taken on another interface?")
    draw = len(explained) <= MANY_SESSIONS
    for number, session, issues in explained:
        _print_answer(number, session_document(session, issues), steps=draw)
        if draw:
            drawn = ladder(session, width=width - 3, colour=_coloured(), issues=issues)
            print("\n" + textwrap.indent(drawn, "   "))
    if not draw:
        print("\nSteps and the diagram of one session: --session N")


def _counted(capture: CaptureDocument, total: int) -> str:
    text = f"{_plural(capture['packets'], 'packet')}, {_plural(capture['sip_messages'], 'SIP message')}, "
    text += _plural(total, "session")
    others = {"RTP and RTCP": capture["media_packets"], **dict(sorted(capture["ignored"].items()))}
    told = ", ".join(f"{reason} {count}" for reason, count in others.items() if count)
    return text + (f" (besides SIP: {told})" if told else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _print_answer(number: int, document: SessionDocument, *, steps: bool) -> None:
    paint = _paint if _coloured() else plain
    print("\n" + headline(document, number, paint))
    for line in answer(document["issues"], width=_width(), steps=steps, paint=paint):
        print(line)
    for note in document["notes"]:
        print(textwrap.fill(printable(note), _width(), initial_indent="   Note: ", subsequent_indent="   "))


def _print_json(document: Any) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(to_json(document, pretty=sys.stdout.isatty()))
    sys.stdout.buffer.flush()


def _width() -> int:
    return max(60, shutil.get_terminal_size((110, 40)).columns)


def _coloured() -> bool:
    """Colour for a terminal that wants it (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _paint(text: str, colour: str) -> str:
    return f"\x1b[{ANSI[colour]}m{text}\x1b[0m"


class ServerRefused(Exception):
    """The server answered with an error; the text is its reason."""


def trace(
    *,
    server: str,
    token: str,
    number: str,
    start: str | None,
    end: str | None,
    as_json: bool = False,
    limit: int = 20,
) -> int:
    """Ask a running server for the sessions of a number. `start` and `end`: RFC 3339, or back from now ("-90m", "-2h").

    Returns 0 (also when nothing was found, which is said), or 1 when the server refused or could not answer.
    """
    import httpx2

    query = {"number": number, "from": start, "to": end, "limit": str(limit)}
    try:
        with httpx2.Client(
            base_url=f"{server.rstrip('/')}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30
        ) as client:
            page = _ask(client, "/sessions", {key: value for key, value in query.items() if value})
            documents = [_ask(client, f"/sessions/{row['id']}", {}) for row in page["sessions"]]
    except (httpx2.HTTPError, httpx2.InvalidURL, ServerRefused) as error:
        print(f"{server}: {error}", file=sys.stderr)
        return 1
    if as_json:
        _print_json({"sessions": documents, "cursor": page["cursor"]})
        return 0
    if not documents:
        print(f"No session of {number} was found in that time.")
    for position, document in enumerate(documents, 1):
        _print_answer(position, document, steps=True)
        _print_timeline(document)
    if page["cursor"]:
        print(f"\nThere are more than {limit}: narrow the time, or raise --limit.")
    return 0


def _ask(client: httpx2.Client, path: str, query: dict[str, str]) -> Any:
    response = client.get(path, params=query)
    if response.is_success:
        return response.json()
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise ServerRefused(problem.get("detail") or problem.get("title") or f"HTTP {response.status_code}")


def _print_timeline(document: TracedSessionDocument) -> None:
    labels = {one["id"]: one["label"] for one in document["participants"]}
    print()
    for entry in document["timeline"]:
        where = entry["node"]
        if entry["source"]:
            where = f"{labels.get(entry['source'], '?')} → {labels.get(entry['destination'], '?')}"
        again = f" (again #{entry['retransmission_of']})" if entry["retransmission_of"] else ""
        line = f"   #{entry['number']:<3} {entry['time'][11:23]}  {where:<40}  {entry['text']}{again}"
        print(printable(line)[: _width()])
