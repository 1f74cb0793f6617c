"""What `ringback audit` does on a terminal. Exit codes of verify: 0 every chain is whole; 1 one is broken; 3 it could not be
told (records or key cannot be read)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.audit import asked as asked_for
from ringback.audit import service
from ringback.audit.anchors import add_anchors
from ringback.audit.keys import AuditKeyUnavailable, known_keys, public_pem, signing_keys
from ringback.audit.pages import CSV_COLUMNS, MOST_EXPORTED, csv_row, harmless
from ringback.audit.verification import Progress, Verified, environments, verify
from ringback.changes.schemas import Actor
from ringback.events import open_store
from ringback.settings import Settings
from ringback.web.formats import UTC

WHOLE, BROKEN, UNKNOWN = 0, 1, 3
Say = Callable[[str], None]


def verify_chains(
    engine: Engine,
    settings: Settings,
    wanted: Sequence[str],
    *,
    from_anchor: bool,
    public_keys: Sequence[Path],
    as_json: bool,
    say: Say,
    warn: Say,
    progress: Progress,
) -> int:
    """The exit code."""
    try:
        keys = known_keys([settings.audit_key_file, *public_keys])
        known = environments(engine)
        unknown = [each for each in wanted if each not in known]
        if unknown:
            warn(f"there is no audit log of {', '.join(unknown)}")
            return UNKNOWN
        results = [verify(engine, each, keys, from_anchor=from_anchor, progress=progress) for each in wanted or known]
    except (AuditKeyUnavailable, SQLAlchemyError) as error:
        warn(str(getattr(error, "orig", None) or error))
        return UNKNOWN
    if as_json:
        say(orjson.dumps([asdict(each) for each in results], option=orjson.OPT_INDENT_2).decode())
    else:
        for each in results:
            say(_line(each))
    return WHOLE if all(each.is_whole for each in results) else BROKEN


def _line(result: Verified) -> str:
    if result.finding is not None:
        record = f" (record id {result.finding.id})" if result.finding.id is not None else ""
        where = f"{result.environment:20} BROKEN at {result.finding.seq:,}{record}"
        return f"{where}: {result.finding.wrong}. {result.finding.text}"
    told = f"{result.environment:20} whole: {result.checked:,} records ({result.first:,} to {result.last:,}), "
    told += f"{result.anchors:,} anchor{'' if result.anchors == 1 else 's'} signed"
    return told + (f", {result.unknown_anchors:,} by keys not known here" if result.unknown_anchors else "")


def anchor_chains(engine: Engine, settings: Settings, say: Say) -> None:
    """Raises AuditKeyUnavailable."""
    added = add_anchors(engine, signing_keys(settings.audit_key_file))
    for each in added:
        say(f"{each.environment:20} anchored at {each.seq:,}: {each.hash.hex()}")
    if not added:
        say("No chain grew since its last anchor.")


def public_key(settings: Settings) -> str:
    """PEM of every key that the file holds, the one that signs first. Raises AuditKeyUnavailable."""
    return "".join(public_pem(key) for key in signing_keys(settings.audit_key_file).public.values())


def export(
    engine: Engine, settings: Settings, environment: str, filters: Sequence[tuple[str, str]], actor: Actor, say: Say
) -> int:
    """All that the search finds, as CSV, or ValueError: what is wrong with a filter. Raises EventStoreError."""
    asked = asked_for.read(filters, UTC, clock.now_us(), (environment,))
    if asked.query is None:
        name, reason = next(iter(asked.errors.items()))
        raise ValueError(f"{name}: {reason}")
    operator = Principal("user", actor.name, (environment,), frozenset(Permission))
    events = open_store(settings.store_url)
    count = 0
    try:
        say(_csv(CSV_COLUMNS))
        for page in service.every(engine, events, operator, asked.query, MOST_EXPORTED):
            count += len(page)
            if page:
                say("\n".join(_csv([harmless(cell) for cell in csv_row(record)]) for record in page))
    finally:
        events.close()
    service.note_search(engine, operator, actor, service.EXPORTED, dict(asked.told()), count)
    return count


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
