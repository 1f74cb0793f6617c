"""An audit row as a document, and an AuditQuery as the engine's query. What is read only with the row is not indexed."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ringback.events.audit import terms as terms_of_names
from ringback.events.audit import words_of
from ringback.events.opensearch.leg_query import ODD, Filter, any_of, interval, stored, terms
from ringback.events.opensearch.texts import USUAL, readable, storable
from ringback.events.store import AuditQuery, AuditRow

_TEXTS = tuple(each.name for each in fields(AuditRow) if each.type == "str")
_FOUND_TEXTS = ("entity_type", "entity_id", "action", "realm", "actor", "address", "request_id")
_FIGURES = ("id", "seq", "time_us", "customer_id", "account_id", "amount")


def document(row: AuditRow) -> dict[str, Any]:
    """Without what is empty."""
    found: dict[str, Any] = {name: value for name in _FIGURES if (value := getattr(row, name)) is not None}
    found |= {name: storable(value) for name in _TEXTS if (value := getattr(row, name))}
    found["kind"] = row.kind
    if row.personal:
        found["personal"] = True
    if row.properties:
        found["properties"] = stored(row.properties)
    if words := words_of(row):
        found["words"] = sorted(words)
    indexed = (*(found.get(name, "") for name in _FOUND_TEXTS), *found.get("properties", ()))
    if any(len(each) > USUAL for each in indexed):
        found["odd"] = True
    return found


def audit_row(source: dict[str, Any]) -> AuditRow:
    """Raises LookupError, TypeError, ValueError where the document is none of an audit row."""
    values: dict[str, Any] = {name: readable(source.get(name, "")) for name in _TEXTS}
    values |= {name: source.get(name) for name in ("customer_id", "account_id", "amount")}
    return AuditRow(
        **values,
        id=int(source["id"]),
        seq=int(source["seq"]),
        time_us=int(source["time_us"]),
        properties=tuple(map(readable, source.get("properties", ()))),
        personal=bool(source.get("personal")),
    )


def filters(query: AuditQuery) -> Filter:
    """Also finds the odd rows of the interval, and of names what `ringback.events.audit.terms` does."""
    either = any_of([{"bool": {"filter": _conditions(query)}}, ODD])
    return {"bool": {"filter": [*interval("time_us", query.start_us, query.end_us), either]}}


def _conditions(query: AuditQuery) -> list[Filter]:
    found = [terms("environment", stored(query.environments))]
    for field, values in (
        ("entity_type", query.entity_types), ("action", query.actions), ("properties", query.properties),
        ("realm", query.realms),
    ):  # fmt: skip
        if values:
            found.append(terms(field, stored(values)))
    for field, value in (
        ("entity_id", query.entity_id), ("kind", query.kind), ("actor", query.actor), ("request_id", query.request_id),
    ):  # fmt: skip
        if value:
            found.append({"term": {field: storable(value)}})
    for field, number in (("customer_id", query.customer_id), ("account_id", query.account_id)):
        if number is not None:
            found.append({"term": {field: number}})
    if query.address.endswith("*"):
        found.append({"prefix": {"address": {"value": storable(query.address[:-1])}}})
    elif query.address:
        found.append({"term": {"address": storable(query.address)}})
    amount = {"gte": query.min_amount, "lte": query.max_amount}
    if amount := {edge: value for edge, value in amount.items() if value is not None}:
        found.append({"range": {"amount": amount}})
    if query.ids:
        found.append(terms("id", query.ids))
    if query.personal is not None:
        personal: Filter = {"term": {"personal": True}}
        found.append(personal if query.personal else {"bool": {"must_not": [personal]}})
    for term in terms_of_names(query.names):
        word = storable(term.word)
        found.append({"prefix": {"words": {"value": word}}} if term.begins else {"term": {"words": word}})
    return found
