"""A LegQuery as the engine's query. Everything is a filter: nothing is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ringback.events.opensearch.legs import letters_of
from ringback.events.opensearch.texts import SEPARATOR, USUAL_NUMBER, literal, storable, wild
from ringback.events.store import LegQuery, NumberPattern

Filter = dict[str, Any]

MOST_TERMS = 50_000  # of one `terms` query; the engine takes 65,536
ODD: Filter = {"term": {"odd": True}}


def filters(query: LegQuery) -> Filter:
    """Also finds the odd legs of the interval: those are for `legs.matches`."""
    texts = _texts(query)
    meant: Filter = {"bool": {"filter": texts}}
    either: Filter = {"bool": {"should": [meant, ODD], "minimum_should_match": 1}}
    return {"bool": {"filter": [*interval("started_us", query.start_us, query.end_us), either]}}


def interval(field: str, start_us: int, end_us: int) -> list[Filter]:
    low, high = (min(max(edge, -(1 << 62)), 1 << 62) for edge in (start_us, end_us))
    return [{"range": {field: {"gte": low, "lt": high}}}]


def terms(field: str, values: Sequence[Any]) -> Filter:
    groups = [list(values[at : at + MOST_TERMS]) for at in range(0, len(values), MOST_TERMS)]
    if len(groups) == 1:
        return {"terms": {field: groups[0]}}
    return any_of([{"terms": {field: group}} for group in groups])


def any_of(found: Sequence[Filter]) -> Filter:
    return {"bool": {"should": list(found), "minimum_should_match": 1}}


def stored(values: Sequence[str]) -> list[str]:
    return [storable(value) for value in values]


def _texts(query: LegQuery) -> list[Filter]:
    found = [terms("environment", stored(query.environments))]
    for field, values in (
        ("call_id", query.call_ids), ("keys", query.keys), ("outcome", query.outcomes), ("kind", query.kinds),
        ("method", query.methods), ("agents", query.agents),
    ):  # fmt: skip
        if values:
            found.append(terms(field, stored(values)))
    if query.call_hashes:
        found.append(terms("call", query.call_hashes))
    if query.codes:
        found.append(terms("code", query.codes))
    if query.call_id_prefix:
        found.append(_prefix("call_id", storable(query.call_id_prefix)))
    if query.addresses:
        whole = [address for address in query.addresses if not address.endswith("*")]
        begun = [_prefix("addresses", storable(each[:-1])) for each in query.addresses if each.endswith("*")]
        found.append(any_of([*begun, terms("addresses", stored(whole))] if whole else begun))
    if query.troubled is not None:
        found.append({"term": {"troubled": query.troubled}})
    duration = {"gte": query.min_duration_ms, "lte": query.max_duration_ms}
    if duration := {edge: value for edge, value in duration.items() if value is not None}:
        found.append({"range": {"duration_ms": duration}})
    if query.number:
        found.append(_number(query.number, query.roles))
    if query.numbers:
        found.append(any_of([_number(NumberPattern(text, "exact"), 0) for text in query.numbers]))
    return found


def _prefix(field: str, text: str) -> Filter:
    return {"prefix": {field: {"value": text}}}


def _number(number: NumberPattern, roles: int) -> Filter:
    """`contains` asks every number of the day in turn: as the rarest way to ask it has no index of its own."""
    if len(number.text) > USUAL_NUMBER:
        return {"match_none": {}}  # only an odd leg has it
    field, text = "numbers", storable(number.text)
    if number.match == "suffix":
        field, text = "reversed", storable(number.text[::-1])
    if not roles:
        if number.match == "contains":
            return {"wildcard": {field: {"value": f"*{wild(text)}*{SEPARATOR}*"}}}
        return _prefix(field, text if number.match in ("prefix", "suffix") else text + SEPARATOR)
    before = ".*" if number.match == "contains" else ""
    after = "" if number.match == "exact" else ".*"
    pattern = f"{before}{literal(text)}{after}{SEPARATOR}.*[{letters_of(roles)}].*"
    return {"regexp": {field: {"value": pattern, "flags": "NONE"}}}
