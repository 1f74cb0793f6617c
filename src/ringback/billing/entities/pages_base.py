"""What all pages of entities need: which type a path is of, who may read and write it, and how rows are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import FormData
from starlette.responses import Response
from starlette.routing import Match

from ringback import clock
from ringback.access.dependencies import NotAllowed, RequiredUser
from ringback.access.masking import Kind as Mask
from ringback.access.masking import mask
from ringback.access.schemas import Principal
from ringback.billing.entities import queries
from ringback.billing.entities.errors import EntityNotFound
from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_act import Act
from ringback.billing.entities.pages_list import VERBS, Column, Row
from ringback.billing.entities.pages_object import Told
from ringback.billing.entities.pages_values import NOTHING, Shown, aligned, day_text, in_sentence, shown
from ringback.billing.entities.status import Status
from ringback.problem import Problem
from ringback.records.wall import EVERYWHERE, Environments
from ringback.web.formats import zone_name
from ringback.web.templating import render, viewer_zone

PATHS = {name: each.about.path for name, each in TYPES.items()}
BY_PATH = {each.about.path: each for each in TYPES.values()}

_OK, _WARN, _OFF = ("ok", "✓"), ("warn", "!"), ("neutral", "○")
_TONES = {  # of a status's code; all others hold services back
    "active": _OK, "limited": _WARN, "suspension_delayed": _WARN, "screening": _WARN, "quarantine": _WARN,
    "not_yet_active": _OFF, "exported": _OFF, "closed": _OFF, "inactive": _OFF, "deactivated": _OFF,
}  # fmt: skip


class _EntityPath(StringConvertor):
    """The first part of the path of every entity type's pages, and nothing else."""

    regex = "|".join(sorted(map(re.escape, BY_PATH), key=len, reverse=True))


register_url_convertor("entity_path", _EntityPath())
LIST = "/{kind:entity_path}"
ONE = LIST + "/{row_id:int}"


async def entity_of(request: Request) -> EntityType:
    """Of the first part of the path."""
    return BY_PATH[request.url.path.split("/")[1]]


TypeOfPath = Annotated[EntityType, Depends(entity_of)]


async def _of_many(entity: TypeOfPath) -> EntityType:
    """Of a type that has many entities in an environment. Raises Problem for environments themselves."""
    if entity.name == "environment":
        raise Problem(404, "Environments are made and changed one by one.", title="Nothing here")
    return entity


TypeOfMany = Annotated[EntityType, Depends(_of_many)]


async def _reader(user: RequiredUser, entity: TypeOfPath) -> Principal:
    if not user.may(entity.read):
        raise NotAllowed(entity.read)
    return user


async def _writer(user: RequiredUser, entity: TypeOfPath) -> Principal:
    for permission in (entity.read, entity.write):
        if not user.may(permission):
            raise NotAllowed(permission)
    return user


async def _posted(request: Request, user: RequiredUser) -> FormData:
    """Read already for its token."""
    return await request.form()


Reader = Annotated[Principal, Depends(_reader)]
Writer = Annotated[Principal, Depends(_writer)]
Posted = Annotated[FormData, Depends(_posted)]


def page(
    request: Request, template: str, entity: EntityType, reader: Principal, status: int = 200, **more: Any
) -> Response:
    return render(
        request,
        f"billing/{template}",
        status,
        entity=entity,
        one=in_sentence(entity.about.label),
        plural_in_sentence=in_sentence(entity.about.plural),
        writes=reader.may(entity.write),
        makes=makes_new(reader, entity),
        many=entity.name != "environment",
        masks=entity.personal and not reader.sees_personal,
        **more,
    )


def act_page(request: Request, act: Act, entity: EntityType, reader: Principal, status: int = 200) -> Response:
    """What an act will do: the content of a dialog where a script asks, else a page."""
    in_dialog = "hx-request" in request.headers
    return page(request, "act_part.html" if in_dialog else "act.html", entity, reader, status, act=act)


def walls(reader: Principal, entity: EntityType) -> tuple[str, ...]:
    """The environments of a page: the one that is looked at; of the page of environments all the reader's."""
    return (reader.belongs_to or reader.environments) if entity.name == "environment" else reader.environments[:1]


def makes_new(writer: Principal, entity: EntityType) -> bool:
    """A new environment is made by who stands above all of them."""
    return writer.may(entity.write) and (entity.name != "environment" or writer.everywhere)


def writes_new(writer: Principal, entity: EntityType) -> tuple[Environments, str]:
    """Where a new one is made. Raises Problem."""
    if not makes_new(writer, entity):
        raise Problem(403, "A new environment is made by an administrator of all environments.", title="Not allowed")
    return (EVERYWHERE, "") if entity.name == "environment" else (writer.environments[:1], writer.environments[0])


def load(session: Session, entity: EntityType, row_id: int) -> Any:
    """Raises Problem: there is none, or it is of another environment."""
    try:
        return queries.find(session, entity, row_id)
    except EntityNotFound:
        one = in_sentence(entity.about.label)
        raise Problem(
            404, f"There is no {one} {row_id} here. It may have been deleted.", title=f"No such {one}"
        ) from None


def told(status: Status) -> Told:
    tone, sign = _TONES.get(status.code, ("bad", "✕"))
    return Told(status.label, tone, sign, status.reason)


def text_field(form: FormData, name: str, most: int = 255) -> str:
    """What was sent last under that name; "" where nothing was."""
    sent = [one for one in form.getlist(name) if isinstance(one, str)]
    return sent[-1][:most] if sent else ""


def zone_of(request: Request) -> tuple[ZoneInfo, str]:
    """The viewer's, and how it is called now."""
    zone = viewer_zone(request)
    return zone, zone_name(clock.now_us(), zone)


def has_route(request: Request, path: str) -> bool:
    """Whether this application answers there: a tab that another room makes is shown only then."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)


class Writing:
    """How rows are written for one reader: links by name, amounts in their currency, what is personal masked.

    What all rows need together is asked once, in `for_rows`.
    """

    def __init__(self, session: Session, reader: Principal) -> None:
        self.session = session
        self.reader = reader
        self.sees_personal = reader.sees_personal
        self._titles: dict[tuple[str, int], str] = {}

    def for_rows(self, entity: EntityType, rows: Sequence[Any]) -> None:
        wanted: dict[str, set[int]] = {}
        for each in entity.fields:
            if each.kind is Kind.LINK:
                ids = {getattr(row, each.name) for row in rows} - {None}
                wanted.setdefault(each.links_to, set()).update(ids)
        for name, ids in wanted.items():
            self._ask(name, ids)

    def for_links(self, each: Field, ids: set[int]) -> None:
        self._ask(each.links_to, ids)

    def _ask(self, name: str, ids: set[int]) -> None:
        missing = [id_ for id_ in ids if (name, id_) not in self._titles]
        if missing:
            found = queries.titles(self.session, TYPES[name], missing)
            self._titles.update({(name, id_): title for id_, title in found.items()})

    def title(self, entity: EntityType, row: Any) -> str:
        """How the reader knows it."""
        if entity.name == "rating_entry":
            service, direction = (dict(entity[name].choices)[getattr(row, name)] for name in ("service", "direction"))
            return f"{service}, {in_sentence(direction)}"
        if entity.name == "account_add_on":
            self.for_links(entity["product_id"], {row.product_id})
            product = self.link(entity["product_id"], row.product_id)
            return f"{product.text if product else row.product_id} from {day_text(row.effective_from)}"
        return self.masked_title(entity, str(row.told_as() or f"#{row.id}"), row.id)

    def masked_title(self, entity: EntityType, title: str, id_: int) -> str:
        named = next((each for each in entity.fields if each.name == entity.about.title), None)
        if named is None or not named.personal or self.sees_personal:
            return title or f"#{id_}"
        return f"{mask(title, cast('Mask', named.personal))} (#{id_})"

    def link(self, each: Field, id_: int | None) -> Shown | None:
        if id_ is None:
            return None
        other = TYPES[each.links_to]
        title = self._titles.get((other.name, id_), "")
        href = f"/{other.about.path}/{id_}" if self.reader.may(other.read) else ""
        return Shown(self.masked_title(other, title, id_), href=href)

    def link_text(self, each: Field, id_: int | None) -> str:
        """As an input of a form has it: a name, or #12 where the name is masked."""
        if id_ is None:
            return ""
        other = TYPES[each.links_to]
        title = self._titles.get((other.name, id_), "")
        return title if title and self.masked_title(other, title, id_) == title else f"#{id_}"

    def option(self, entity: EntityType, row: Any) -> str:
        """As a field that links to it takes it."""
        title = str(row.told_as() or "")
        return title if title and self.masked_title(entity, title, row.id) == title else f"#{row.id}"

    def value(self, each: Field, row: Any, *, currency: str = "", places: int | None = None) -> Shown:
        value = getattr(row, each.name)
        link = self.link(each, value) if each.kind is Kind.LINK else None
        return shown(each, value, sees_personal=self.sees_personal, currency=currency, places=places, link=link)

    def rows(self, entity: EntityType, rows: Sequence[Any], columns: Sequence[Column]) -> list[Row]:
        self.for_rows(entity, rows)
        currencies = queries.currencies(self.session, entity, rows)
        statuses = queries.told_statuses(self.session, entity, rows)
        one = next(iter(currencies.values()), "") if len(set(currencies.values())) < 2 else None
        places = {
            column.field.name: aligned([getattr(row, column.field.name) for row in rows], one)
            for column in columns
            if column.field is not None and column.field.kind is Kind.MONEY and one is not None
        }
        found = []
        for row in rows:
            cells: list[Shown] = []
            for column in columns:
                if column.field is None:
                    status = told(statuses[row.id]) if cells else None
                    cells.append(
                        Shown(status.text, tone=status.tone, sign=status.sign)
                        if status
                        else Shown(self.title(entity, row))
                    )
                    continue
                cell = self.value(
                    column.field, row, currency=currencies.get(row.id, ""), places=places.get(column.field.name)
                )
                cells.append(cell if cells or cell.text != NOTHING else Shown(self.title(entity, row)))
            found.append(Row(row.id, self.title(entity, row), f"/{entity.about.path}/{row.id}", tuple(cells)))
        return found


def record_text(each: Field, value: Any, writing: Writing) -> str:
    """A value as a record of a change has it (JSON), as one line."""
    if each.kind is Kind.SECRET:
        return "set" if value else "not set"
    if each.kind is Kind.FLAG and each.name in VERBS:
        return in_sentence(each.label) if value else f"not {in_sentence(each.label)}"
    if value is None or value in ("", [], {}):
        return NOTHING
    try:
        match each.kind:
            case Kind.DATE if isinstance(value, str):
                value = date.fromisoformat(value)
            case Kind.TIME if isinstance(value, str):
                value = datetime.fromisoformat(value)
            case Kind.MONEY | Kind.DECIMAL if isinstance(value, str | int):
                value = Decimal(value)
            case Kind.LINK if isinstance(value, int):
                writing.for_links(each, {value})
                link = writing.link(each, value)
                return link.text if link else NOTHING
    except (ValueError, ArithmeticError):
        return str(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return shown(each, value, sees_personal=writing.sees_personal).text
