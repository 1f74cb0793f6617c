"""Entities as tables for spreadsheets: CSV and XLSX out, CSV in. What is written can be read again.

The first line names the fields. A link is told by the name of the other (`customer`), secrets are not written. A text
that a spreadsheet would take for a formula begins with an apostrophe in CSV, which is taken off again when it is read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import xlsxwriter
from sqlalchemy.orm import Session

from ringback.billing.entities.errors import WHOLE, EntityErrors
from ringback.billing.entities.fields import Entity, EntityType, Field
from ringback.billing.entities.personal import masked
from ringback.billing.entities.queries import link_titles, told_statuses
from ringback.billing.entities.service import Given
from ringback.billing.entities.values import as_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_AT_ONCE = 500  # rows
_STATUS = "status_shown"
MOST_XLSX_ROWS = 1_048_575  # of a sheet, besides the first


def column_name(each: Field) -> str:
    """customer_id -> customer: links are told by name."""
    return each.name.removesuffix("_id") if each.links_to else each.api


def exported(kind: EntityType) -> list[Field]:
    return [each for each in kind.fields if not each.secret]


def header(kind: EntityType) -> list[str]:
    status = [_STATUS] if kind.name in ("customer", "account") else []
    return [kind.about.id_name, *map(column_name, exported(kind)), *status, "created_at"]


def cells(session: Session, kind: EntityType, rows: Iterable[Any], *, sees_personal: bool) -> Iterator[list[Any]]:
    """A list of values for each entity, in the order of `header`: links by name, what may not be seen masked."""
    waiting = iter(rows)
    while some := list(islice(waiting, _AT_ONCE)):
        named, statuses = link_titles(session, kind, some), told_statuses(session, kind, some)
        for row in some:
            status = [statuses[row.id].label] if row.id in statuses else []
            values = [_cell(each, row, named, sees_personal) for each in exported(kind)]
            yield [row.id, *values, *status, row.created_at]


def write_csv(kind: EntityType, rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines, in pieces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header(kind))
    for number, row in enumerate(rows, 1):
        writer.writerow([_harmless(value) for value in row])
        if number % _AT_ONCE == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def write_xlsx(kind: EntityType, rows: Iterable[Sequence[Any]], file: BinaryIO, folder: Path) -> None:
    """Row after row through a file in `folder`: memory does not grow with them. Texts are texts, whatever they are."""
    rows = iter(rows)
    first = list(islice(rows, 1))  # what the query does not like is told before the book opens files
    book = xlsxwriter.Workbook(
        file, {"constant_memory": True, "tmpdir": str(folder), "strings_to_formulas": False, "strings_to_urls": False}
    )
    sheet = book.add_worksheet(kind.about.plural[:31])
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(header(kind)):
        sheet.write_string(0, column, name, bold)
    for line, row in enumerate(islice(chain(first, rows), MOST_XLSX_ROWS), 1):
        for column, value in enumerate(row):
            if isinstance(value, datetime):
                sheet.write_datetime(line, column, value.astimezone(UTC).replace(tzinfo=None), moment)
            elif isinstance(value, date):
                sheet.write_datetime(line, column, datetime(value.year, value.month, value.day), day)  # noqa: DTZ001
            elif isinstance(value, int | Decimal) and not isinstance(value, bool):
                sheet.write_number(line, column, value)
            elif text := as_text(value):
                sheet.write_string(line, column, text)
    book.close()


def read_csv(kind: EntityType, path: Path) -> Callable[[], Iterator[Given | EntityErrors]]:
    """The rows of a file, which is opened anew each time. Raises EntityErrors where its first line will not do.

    Separated by commas, semicolons or tabs, as the first line is; UTF-8.
    """
    names = _names(kind, next(_lines(path), []))

    def rows() -> Iterator[Given | EntityErrors]:
        lines = _lines(path)
        next(lines, None)
        for cells_ in lines:
            if any(cells_):
                yield _given(names, cells_)

    return rows


def _names(kind: EntityType, first: Sequence[str]) -> list[str | None]:
    """Of each column the field it is; None: it is not read."""
    known: dict[str, str | None] = dict.fromkeys((kind.about.id_name, "version", "created_at", _STATUS))
    for each in kind.fields:
        name = None if each.kept else each.name
        known |= dict.fromkeys((each.label.casefold(), column_name(each).casefold()), name)
    for each in kind.fields:  # the names of the API outweigh labels
        known |= dict.fromkeys((each.name.casefold(), each.api.casefold()), None if each.kept else each.name)
    given = [cell.strip().casefold() for cell in first]
    unknown = [cell for cell, name in zip(first, given, strict=True) if name not in known]
    names = [known.get(name) for name in given]
    twice = {name for name in names if name is not None and names.count(name) > 1}
    if not any(names):
        listed = ", ".join(column_name(each) for each in kind.fields if not each.kept)
        raise EntityErrors({WHOLE: f"The first line of the file names its fields: {listed}."})
    if unknown:
        raise EntityErrors({WHOLE: f"The first line names what is no field: {', '.join(unknown[:10])}."})
    if twice:
        raise EntityErrors({WHOLE: f"The first line names {min(twice)} twice."})
    return names


def _given(names: Sequence[str | None], row: Sequence[str]) -> Given | EntityErrors:
    if len(row) > len(names) and any(row[len(names) :]):
        return EntityErrors({WHOLE: f"The row has {len(row)} values, the first line {len(names)} names."})
    return {
        name: value[1:] if value[:1] == "'" and value[1:2] in _FORMULA else value
        for name, value in zip(names, row, strict=False)
        if name is not None
    }


def _lines(path: Path) -> Iterator[list[str]]:
    """Raises EntityErrors."""
    with path.open(encoding="utf-8-sig", newline="") as text:
        try:
            first = text.readline()
            text.seek(0)
            separator = max(",;\t", key=first.count)
            yield from csv.reader(text, delimiter=separator, strict=True)
        except UnicodeDecodeError:
            raise EntityErrors({WHOLE: "The file is not written in UTF-8: save it as CSV UTF-8."}) from None
        except csv.Error as error:
            raise EntityErrors({WHOLE: f"The file is no CSV: {error}."}) from None


def _cell(each: Field, row: Entity, named: dict[tuple[str, int], str], sees_personal: bool) -> Any:
    value = getattr(row, each.name)
    if each.links_to and value is not None:
        other = named.get((each.links_to, value), f"#{value}")
        return other if sees_personal else _masked_title(each, other, value)
    return masked(each, value) if each.personal and not sees_personal else value


def _masked_title(each: Field, title: str, id_: int) -> str:
    """Of a customer or account: its id tells as much as is to be known."""
    from ringback.billing.entities.models import TYPES

    other = TYPES[each.links_to]
    return f"#{id_}" if other[other.about.title].personal else title


def _harmless(value: Any) -> str:
    text = as_text(value)
    return f"'{text}" if isinstance(value, str | list | dict) and text.startswith(_FORMULA) else text


__all__ = ["MOST_XLSX_ROWS", "cells", "column_name", "exported", "header", "read_csv", "write_csv", "write_xlsx"]
