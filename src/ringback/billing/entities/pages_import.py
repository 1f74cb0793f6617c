"""Import of a CSV file: first what it would do, row by row, then doing it.

Between the two steps the file stands, compressed, in the form that applies it: no host keeps anything meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, Request
from sqlalchemy import Engine
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from ringback.access.dependencies import CurrentActor, Records
from ringback.access.schemas import Principal
from ringback.billing.entities.errors import WHOLE, EntityErrors
from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.many import CHANGED, CREATED, REFUSED, UNCHANGED, Import, Outcome, Report
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_act import counted
from ringback.billing.entities.pages_base import (
    LIST,
    Posted,
    TypeOfMany,
    Writer,
    Writing,
    page,
    record_text,
    text_field,
    walls,
)
from ringback.billing.entities.pages_values import in_sentence
from ringback.billing.entities.tables import column_name, read_csv
from ringback.changes.schemas import Actor
from ringback.problem import Problem
from ringback.records.engine import reading
from ringback.web.formats import size

LARGEST = 24 * 1024 * 1024  # bytes of a file
LARGEST_FORM = 16 * 1024 * 1024  # of the form that applies it
SHOWN = 300  # rows told one by one
_PIECE = 900_000  # characters of one hidden field
_WORDS = {
    CREATED: ("ok", "+", "new"), CHANGED: ("note", "●", "changed"), UNCHANGED: ("neutral", "○", "as before"),
    REFUSED: ("bad", "✕", "refused"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowOutcome:
    line: int
    title: str
    href: str
    tone: str
    sign: str
    text: str
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    number: int
    tone: str
    sign: str
    text: str


@dataclass(slots=True)
class ImportView:
    file: str
    packed: list[str] = field(default_factory=list)
    applied: bool = False
    counts: list[Count] = field(default_factory=list)
    rows: list[RowOutcome] = field(default_factory=list)
    more: int = 0
    note: str = ""
    note_tone: str = ""
    button: str = ""
    has_refused: bool = False


@dataclass(frozen=True, slots=True)
class ColumnHelp:
    name: str
    label: str
    value: str
    required: bool


def paths(prefix: str) -> dict[str, int]:
    """Paths that take larger bodies, and how large."""
    return {f"{prefix}/import": LARGEST + 1024 * 1024, f"{prefix}/import/apply": LARGEST_FORM}


def register(router: APIRouter) -> None:
    router.add_api_route(f"{LIST}/import", import_page, methods=["GET"])
    router.add_api_route(f"{LIST}/import", try_file, methods=["POST"])
    router.add_api_route(f"{LIST}/import/apply", apply, methods=["POST"])
    router.add_api_route(f"{LIST}/import/template.csv", template, methods=["GET"])


def import_page(request: Request, writer: Writer, entity: TypeOfMany) -> Response:
    return _page(request, writer, entity)


def template(writer: Writer, entity: TypeOfMany) -> Response:
    """A file with the names of all columns and no row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(column_name(each) for each in _columns(entity))
    name = f'attachment; filename="{entity.about.path}.csv"'
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})


def try_file(
    request: Request, writer: Writer, entity: TypeOfMany, records: Records, actor: CurrentActor, posted: Posted
) -> Response:
    upload = posted.get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        return _page(request, writer, entity, problem="Choose a CSV file first.", status=422)
    content = upload.file.read(LARGEST + 1)
    if len(content) > LARGEST:
        return _page(
            request, writer, entity, problem=f"The file is larger than {size(LARGEST)}: split it.", status=413
        )
    packed = _pack(content)
    if len(packed) > LARGEST_FORM - 1_000_000:
        problem = "The file is too large for a page: split it, or import it by the API."
        return _page(request, writer, entity, problem=problem, status=413)
    return _run(request, writer, entity, records, actor, content, upload.filename, packed, dry_run=True)


def apply(
    request: Request, writer: Writer, entity: TypeOfMany, records: Records, actor: CurrentActor, posted: Posted
) -> Response:
    content = _unpack(posted)
    only_good = bool(text_field(posted, "only_good"))
    name = text_field(posted, "file_name")
    return _run(request, writer, entity, records, actor, content, name, "", dry_run=False, only_good=only_good)


def _run(
    request: Request, writer: Principal, entity: EntityType, records: Engine, actor: Actor, content: bytes, name: str,
    packed: str, *, dry_run: bool, only_good: bool = False,
) -> Response:  # fmt: skip
    report = Report(dry_run=dry_run)

    try:
        with tempfile.NamedTemporaryFile(prefix="ringback-import-") as file:
            file.write(content)
            file.flush()
            rows = read_csv(entity, Path(file.name))
            done = Import(records, actor, writer.environments[0], entity, "", writer.sees_personal, rows, name[:255])
            first = _first(done.outcomes(report, all_or_nothing=not only_good))
    except EntityErrors as error:
        return _page(request, writer, entity, problem=error.errors.get(WHOLE, str(error)), status=422)
    view = ImportView(name, applied=report.applied)
    total = sum(report.counts.values())
    if not total:
        return _page(request, writer, entity, problem="The file has no rows below its first line.", status=422)
    view.packed = [packed[at : at + _PIECE] for at in range(0, len(packed), _PIECE)]
    if not dry_run and not report.applied:  # somebody changed something since it was tried
        view.packed = [one for one in (_pack(content),) if one]
    view.counts = [Count(report.counts[key], *words) for key, words in _WORDS.items() if report.counts[key]]
    with reading(records, walls(writer, entity)) as session:
        writing = Writing(session, writer)
        view.rows = [_row(writing, entity, each) for each in first]
    view.more = total - len(view.rows)
    _say(view, entity, report.counts, dry_run=dry_run)
    return _page(request, writer, entity, view=view)


def _first(outcomes: Iterator[Outcome]) -> list[Outcome]:
    """Those that are told one by one: refused ones before the others."""
    refused: list[Outcome] = []
    others: list[Outcome] = []
    for each in outcomes:
        kept = refused if each.status == REFUSED else others
        if len(kept) < SHOWN:
            kept.append(each)
    return sorted((refused + others)[:SHOWN], key=lambda each: (each.status != REFUSED, each.row))


def _say(view: ImportView, entity: EntityType, counts: Counter[str], *, dry_run: bool) -> None:
    good = counts[CREATED] + counts[CHANGED]
    refused = counts[REFUSED]
    view.has_refused = bool(refused)
    if view.applied:
        view.note, view.note_tone = f"{counted(entity, counts[CREATED])} made, {counts[CHANGED]} changed.", "ok"
        if refused:
            view.note += f" {refused} refused and left out: mend these rows and import them again."
            view.note_tone = "warn"
        return
    if not dry_run:
        view.note, view.note_tone = (
            "Nothing was imported: rows are refused that were good when the file was tried.",
            "bad",
        )
    elif not good:
        view.note = (
            "Nothing would change." if not refused else "No row can be imported. Mend the file and choose it again."
        )
        view.note_tone = "warn"
    elif refused:
        rows = "row is" if refused == 1 else "rows are"
        view.note = f"{refused} {rows} refused. Mend the file and choose it again, or import the others without them."
        view.note_tone = "warn"
    if good:
        view.button = f"Import {counted(entity, good)}" + (" without the refused rows" if refused else "")


def _row(writing: Writing, entity: EntityType, each: Outcome) -> RowOutcome:
    tone, sign, text = _WORDS[each.status]
    named = {one.name: one for one in entity.fields}
    if each.status == REFUSED:
        told = tuple(f"{named[name].label}: {said}" if name in named else said for name, said in each.errors.items())
    else:
        told = tuple(
            f"{named[name].label}: {record_text(named[name], old, writing)} → {record_text(named[name], new, writing)}"
            for name, (old, new) in each.changes.items()
        )
    title = each.title or (f"#{each.id}" if each.id else "–")
    if each.id is not None:
        title = writing.masked_title(entity, title, each.id)
    href = f"/{entity.about.path}/{each.id}" if each.id is not None else ""
    return RowOutcome(each.row + 1, title, href, tone, sign, text, told)


def _pack(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 6)).decode()


def _unpack(posted: FormData) -> bytes:
    """Raises Problem: the form is not the one that was sent."""
    pieces = "".join(one for one in posted.getlist("packed") if isinstance(one, str))
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(pieces, validate=True), LARGEST)
        if unpacking.eof:
            return content
    except (binascii.Error, zlib.error, ValueError):
        pass
    raise Problem(422, "The file did not come through whole. Choose it again.", title="Nothing was imported")


def _columns(entity: EntityType) -> list[Field]:
    return [each for each in entity.fields if not each.kept]


def _page(
    request: Request, writer: Principal, entity: EntityType, *, view: ImportView | None = None, problem: str = "",
    status: int = 200,
) -> Response:  # fmt: skip
    keys = entity.about.key or (entity.about.title,)
    return page(
        request,
        "import.html",
        entity,
        writer,
        status,
        outcome=view,
        problem=problem,
        key_labels=_listed([in_sentence(entity[name].label) for name in keys]),
        columns=[
            ColumnHelp(column_name(each), each.label, _value_help(each), each.needed) for each in _columns(entity)
        ],
    )


def _value_help(each: Field) -> str:
    match each.kind:
        case Kind.CHOICE if len(each.choices) <= 12:
            said = ", ".join(value for value, _ in each.choices)
        case Kind.CHOICE:
            said = f"{each.choices[0][0]} … {each.choices[-1][0]}"
        case Kind.FLAG:
            said = "yes or no"
        case Kind.LINK:
            other = TYPES[each.links_to]
            said = f"{in_sentence(other[other.about.title].label)} of the {in_sentence(other.about.label)}, or #id"
        case Kind.DATE:
            said = "a date, 2026-11-30"
        case Kind.TIME:
            said = "a time with its zone, 2026-11-30T12:00:00Z"
        case Kind.WORDS:
            said = "several, with a space between"
        case Kind.PAIRS:
            said = "name = value, one a line"
        case Kind.MONEY | Kind.DECIMAL:
            said = "an amount, 12.50"
        case Kind.WHOLE:
            said = "a whole number"
        case _:
            said = f"text, {each.length} characters at most" if each.length else "text"
    if each.default not in (None, "", [], {}):
        default = ("yes" if each.default else "no") if each.kind is Kind.FLAG else each.default
        said += f"; {default} where a new one has none"
    return said


def _listed(texts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
