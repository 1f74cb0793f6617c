"""What the API takes and gives, made from the descriptions: Pydantic models that OpenAPI shows with every field's type,
bounds and meaning. Checking is the service's, so that a program is told the same sentences as a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, WithJsonSchema, create_model
from pydantic import Field as Described

from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.personal import masked
from ringback.billing.entities.queries import LARGEST_PAGE, PAGE, STATUS, STATUSES, filters_of
from ringback.billing.entities.status import Status
from ringback.billing.entities.values import plain
from ringback.changes.schemas import Json

_JSON: dict[Kind, dict[str, Any]] = {
    Kind.WHOLE: {"type": "integer"}, Kind.FLAG: {"type": "boolean"}, Kind.DATE: {"type": "string", "format": "date"},
    Kind.TIME: {"type": "string", "format": "date-time"}, Kind.WORDS: {"type": "array", "items": {"type": "string"}},
    Kind.PAIRS: {"type": "object", "additionalProperties": {"type": "string"}},
    Kind.EMAIL: {"type": "string", "format": "email"},
    Kind.URL: {"type": "string", "format": "uri"}, Kind.MONEY: {"type": "string", "format": "decimal", "examples": ["12.50"]},
    Kind.DECIMAL: {"type": "string", "format": "decimal"},
}  # fmt: skip


def document(kind: EntityType, row: Any, status: Status | None, *, sees_personal: bool) -> dict[str, Json]:
    """An entity as the API gives it. Secrets are never in it."""
    found: dict[str, Json] = {kind.about.id_name: row.id}
    for each in kind.fields:
        if not each.secret:
            value = getattr(row, each.name)
            found[each.api] = plain(masked(each, value) if each.personal and not sees_personal else value)
    if status is not None:
        found[STATUS] = {"code": status.code, "label": status.label, "reason": status.reason}
    return found | {"version": row.version, "created_at": plain(row.created_at)}


def document_model(kind: EntityType) -> type[BaseModel]:
    """What is given."""
    fields: dict[str, Any] = {kind.about.id_name: (int, Described(description=f"Id of the {kind.about.label}"))}
    for each in kind.fields:
        if not each.secret:
            fields[each.api] = (_typed(each, given=False), ...)
    if kind.name in STATUSES:
        fields[STATUS] = (StatusDocument, Described(description="The first that applies"))
    fields["version"] = (int, Described(description="Counted up by each change"))
    fields["created_at"] = (str, ...)
    return _model(f"{_camel(kind)}Document", kind.about.help, fields)


def new_model(kind: EntityType) -> type[BaseModel]:
    """What makes one."""
    return _written(kind, f"{_camel(kind)}New", [each for each in kind.fields if not each.kept], is_new=True)


def change_model(kind: EntityType) -> type[BaseModel]:
    """What changes one: the fields that are given, and the version that they were read in."""
    fields = [each for each in kind.fields if not each.kept and not each.fixed]
    return _written(kind, f"{_camel(kind)}Change", fields, version=True)


def values_model(kind: EntityType) -> type[BaseModel]:
    """What a bulk change can set."""
    fields = [each for each in kind.fields if not each.kept and not each.fixed and not each.unique]
    return _written(kind, f"{_camel(kind)}Values", fields)


def page_model(kind: EntityType, one: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        list_name(kind): (list[one], ...),  # type: ignore[valid-type]
        "cursor": (str | None, Described(description="Of the next page; null: this is the last")),
        "total": (int, ...),
        "more_than_total": (bool, Described(description="There are more, which were not counted")),
    }
    return _model(f"{_camel(kind)}Page", kind.about.plural, fields)


def query_model(kind: EntityType, use: Literal["List", "Export", "Filter"]) -> type[BaseModel]:
    """The parameters of a list, of its export, and what a bulk change is about."""
    fields: dict[str, Any] = {
        "q": (str, Described("", max_length=200, description="Words or digits in the searched fields")),
        "sort": (str, Described("", max_length=64, description="A field, with - downwards; empty: the newest first")),
    }
    if use == "Export":
        fields["how"] = (Literal["csv", "xlsx"], Described("csv"))
    if use == "List":
        fields["cursor"] = (str, Described("", max_length=2000))
        fields["limit"] = (int, Described(PAGE, ge=1, le=LARGEST_PAGE))
    for each in filters_of(kind):
        meaning = f"{each.label}: " + (
            "an id, several separated by commas, or none" if each.links_to
            else "yes or no" if each.kind is Kind.FLAG
            else ", ".join(value for value, _ in each.choices[:20]) if each.choices
            else "the whole value"
        )  # fmt: skip
        fields[each.api] = (str | None, Described(None, max_length=1000, description=meaning))
    if kind.name in STATUSES:
        known = ", ".join(STATUSES[kind.name])
        fields[STATUS] = (str | None, Described(None, max_length=1000, description=f"One or several of {known}"))
    return _model(f"{_camel(kind)}{use}Query", "", fields)


def list_name(kind: EntityType) -> str:
    """Of the list in a page: customers, add_ons."""
    return kind.about.path.replace("-", "_")


class StatusDocument(BaseModel):
    code: str
    label: str
    reason: Annotated[str, Described(description="Why, as a sentence")]


def _written(
    kind: EntityType, name: str, fields: list[Field], *, is_new: bool = False, version: bool = False
) -> type[BaseModel]:
    made: dict[str, Any] = {each.api: (_typed(each, given=True, is_new=is_new), None) for each in fields}
    needed = [each.api for each in fields if each.needed] if is_new else []
    if version:
        made["version"] = (int, Described(description="The version that the changes were made to"))
    # said in the schema, told by the service
    extra = {"required": needed + (["version"] if version else [])} if needed or version else {}
    return _model(name, "", made, extra)


def _model(name: str, about: str, fields: dict[str, Any], extra: dict[str, Any] | None = None) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", json_schema_extra=cast("Any", extra or None), protected_namespaces=())
    made: type[BaseModel] = create_model(name, __config__=config, __doc__=about or None, **fields)
    return made


def _typed(each: Field, *, given: bool, is_new: bool = False) -> Any:
    schema: dict[str, Any] = dict(_JSON.get(each.kind, {"type": "string"}))
    if each.kind is Kind.LINK:
        schema = {"type": ["integer", "string"] if given else "integer"}
    if each.choices:
        schema["enum"] = [value for value, _ in each.choices]
    if each.length and each.kind is not Kind.DIGITS:
        schema["maxLength"] = each.length
    if each.kind is Kind.WHOLE:
        schema |= {
            name: bound for name, bound in (("minimum", each.least), ("maximum", each.most)) if bound is not None
        }
    if given and each.secret:
        schema["writeOnly"] = True
    if given and is_new and each.default is not None:
        schema["default"] = plain(each.default)
    nullable = not each.required and each.empty is None
    if nullable:
        schema["type"] = [*([schema["type"]] if isinstance(schema["type"], str) else schema["type"]), "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    schema["title"] = each.label
    if about := _about(each, given=given):
        schema["description"] = about
    return Annotated[Any, WithJsonSchema(schema)]


def _about(each: Field, *, given: bool) -> str:
    parts = [each.help, f"In {each.unit}." if each.unit else ""]
    if each.links_to and given:
        parts.append("The id, or the name.")
    if each.unique:
        parts.append("One of its environment's only.")
    if each.secret:
        parts.append("Can be set, never read; null takes it away.")
    if each.personal and not given:
        parts.append("Masked without the permission personal.read.")
    return " ".join(filter(None, parts))


def _camel(kind: EntityType) -> str:
    return "".join(word.capitalize() for word in kind.name.split("_"))
