"""A list of entities as a page shows it: columns, rows, filters as chips, and the URLs that lead on.

The URL is the list: `q`, a filter by its field's API name, `sort` (a field, with - downwards) and `cursor`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.pages_values import Shown, in_sentence
from ringback.billing.entities.queries import PAGE, STATUS, STATUSES, ListQuery, filters_of
from ringback.web.formats import number

_FIRST_BY = {"rate": "prefix"}  # how lists begin that nobody sorted; others with the newest
_NUMERIC = {Kind.MONEY, Kind.DECIMAL, Kind.WHOLE}
YES_NO = (("true", "Yes"), ("false", "No"))


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    field: Field | None  # None: what is told of the entity besides its fields
    num: bool = False
    sort_url: str = ""
    sorted: str = ""  # asc desc


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    title: str
    href: str
    cells: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """A field of the search form."""

    name: str
    label: str
    value: str = ""
    shown: str = ""  # of a link: the other's name
    choices: tuple[tuple[str, str], ...] = ()
    suggest: str = ""


@dataclass(frozen=True, slots=True)
class Chip:
    label: str
    value: str
    without: str


@dataclass(frozen=True, slots=True)
class BulkAct:
    key: str
    text: str


@dataclass(slots=True)
class ListView:
    entity: EntityType
    columns: list[Column]
    rows: list[Row]
    params: dict[str, str] = field(default_factory=dict)  # of the URL, without its cursor
    base: str = ""  # path; "" the list's own
    cursor: str = ""  # of this page; "" the first
    next_cursor: str = ""
    of: str = ""  # the filter that says whose they are, of a related list
    total: int | None = None
    more_than_total: bool = False
    limit: int = PAGE
    filters: list[Filter] = field(default_factory=list)
    chips: list[Chip] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    bulk: list[BulkAct] = field(default_factory=list)
    problem: str = ""
    unknown_senders: bool = False

    @property
    def path(self) -> str:
        return self.base or f"/{self.entity.about.path}"

    @property
    def q(self) -> str:
        return self.params.get("q", "")

    @property
    def sort(self) -> str:
        return self.params.get("sort", "")

    @property
    def paged(self) -> bool:
        """Not the first page."""
        return bool(self.cursor)

    def list_query(self, limit: int = PAGE) -> ListQuery:
        filters = {name: value for name, value in self.params.items() if name not in ("q", "sort")}
        return ListQuery(self.q, filters, self.sort or _FIRST_BY.get(self.entity.name, ""), self.cursor, limit)

    @property
    def counted(self) -> str:
        """``1 204``, ``more than 10 000``."""
        return f"more than {number(self.total)}" if self.more_than_total else number(self.total)

    @property
    def query(self) -> str:
        """What is listed, as a URL's query."""
        return urlencode(self.params)

    @property
    def narrowed(self) -> bool:
        return bool(self.q or self.chips)

    @property
    def first_url(self) -> str:
        return url(self.path, self.params)

    @property
    def next_url(self) -> str:
        return url(self.path, self.params | {"cursor": self.next_cursor}) if self.next_cursor else ""

    @property
    def new_url(self) -> str:
        """A new one begins with whose the list is narrowed to."""
        given = {
            each.name: self.params[each.api]
            for each in self.entity.fields
            if each.kind is Kind.LINK and self.params.get(each.api, "").isdecimal()
        }
        return url(f"/{self.entity.about.path}/new", given)

    def export_url(self, kind: str) -> str:
        return url(f"/{self.entity.about.path}/export.{kind}", self.params)

    @property
    def searches(self) -> str:
        """The fields that the search box looks into, as its placeholder; "" it has none."""
        labels = [each.label for each in self.entity.fields if each.searched]
        return ", ".join([labels[0], *map(in_sentence, labels[1:])]) if labels else ""

    @property
    def searches_in(self) -> str:
        labels = [in_sentence(each.label) for each in self.entity.fields if each.searched]
        return " or ".join(filter(None, [", ".join(labels[:-1]), labels[-1]])) if labels else ""


def url(path: str, params: Mapping[str, str]) -> str:
    kept = {name: value for name, value in params.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


def listed(entity: EntityType) -> list[Field]:
    """The columns, that which names the entity first."""
    fields = [each for each in entity.fields if each.listed]
    return sorted(fields, key=lambda each: each.name != entity.about.title)


def columns(
    entity: EntityType, path: str, params: Mapping[str, str], *, sorts: Collection[str], told: Sequence[str] = (),
    without: str = "",
) -> list[Column]:  # fmt: skip
    """`sorts`: fields to sort by. `told`: labels of what is said besides fields (a status), behind the title.
    `without`: API name of a field that is the same in all rows."""
    found = [_column(each, path, params, sorts) for each in listed(entity) if each.api != without]
    if not found or found[0].field is None or found[0].field.name != entity.about.title:
        found.insert(0, Column(entity.about.label, None))
    found[1:1] = [Column(label, None) for label in told]
    return found


def _column(each: Field, path: str, params: Mapping[str, str], sorts: Collection[str]) -> Column:
    sort = {each.name: "asc", f"-{each.name}": "desc"}.get(params.get("sort", ""), "")
    wanted = f"-{each.name}" if sort == "asc" else each.name
    link = url(path, {**params, "sort": wanted}) if each.name in sorts else ""
    return Column(each.label, each, each.kind in _NUMERIC, link, sort)


def filters(
    entity: EntityType, params: Mapping[str, str], names: Mapping[str, str], paths: Mapping[str, str]
) -> list[Filter]:
    """`names`: filter -> name of the entity that it asks for. `paths`: entity type -> path of its pages."""
    found = []
    if entity.name in STATUSES:
        found.append(
            Filter(STATUS, "Status shown", params.get(STATUS, ""), choices=tuple(STATUSES[entity.name].items()))
        )
    for each in entity.fields:
        if not each.filtered:
            continue
        value = params.get(each.api, "")
        if each.kind is Kind.LINK:
            suggest = f"/{paths[each.links_to]}/suggest"
            found.append(Filter(each.api, each.label, value, names.get(each.api, value), suggest=suggest))
        else:
            found.append(Filter(each.api, each.label, value, choices=_values(each)))
    return found


def chips(view: ListView, names: Mapping[str, str]) -> list[Chip]:
    entity, found = view.entity, []
    statuses = STATUSES.get(entity.name, {})
    told = [(STATUS, "Status shown", statuses)] if statuses else []
    told += [(each.api, each.label, dict(_values(each))) for each in filters_of(entity)]
    for name, label, values in told:
        value = view.params.get(name, "")
        if value:
            without = {other: text for other, text in view.params.items() if other != name}
            said = names.get(name) or ", ".join(values.get(one, one) for one in value.split(","))
            found.append(Chip(label, said, url(view.path, without)))
    return found


def _values(each: Field) -> tuple[tuple[str, str], ...]:
    return YES_NO if each.kind is Kind.FLAG else each.choices


def bulk_acts(entity: EntityType) -> list[BulkAct]:
    """What can be done to many: the flags have verbs, other fields are set, all can be deleted."""
    acts = []
    for each in entity.fields:
        if each.kind is Kind.FLAG and each.name in VERBS:
            on, off = VERBS[each.name]
            acts += [BulkAct(f"{each.name}:yes", f"{on} …"), BulkAct(f"{each.name}:no", f"{off} …")]
    acts += [BulkAct(f"{each.name}:", f"Set {in_sentence(each.label)} …") for each in settable(entity)]
    return [*acts, BulkAct("delete", "Delete …")]


def settable(entity: EntityType) -> list[Field]:
    """Fields that many may have alike."""
    return [
        each
        for each in entity.fields
        if not (each.fixed or each.kept or each.unique or each.secret or each.personal or each.name in VERBS)
        and each.name != entity.about.title
        and each.kind not in (Kind.WORDS, Kind.PAIRS, Kind.LONG)
    ]


VERBS = {
    "blocked": ("Block", "Unblock"),
    "active": ("Activate", "Deactivate"),
    "forbidden": ("Forbid", "Allow"),
    "limited": ("Limit", "End the limit of"),
}
