"""A log line as a flat document that a dashboard reads as it is, and finding lines by session key, words or time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from ringback.events.opensearch.leg_query import ODD, Filter, any_of, interval, stored, terms
from ringback.events.opensearch.texts import USUAL, readable, storable
from ringback.events.store import LogQuery, LogRecord

_TOKEN = re.compile(r"[^\W_]+")
_KEYS = ("kind", "node", "level", "call_id", "conf_id", "account")
_MOST_FIELDS = 5000
_LONGEST_WORD = 255  # that the index tells from others with the same beginning


def document(record: LogRecord, written_us: int, tie: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@timestamp": _timestamp(record.time_us),
        "time_us": record.time_us,
        "written_us": written_us,
        "tie": tie,
        "environment": storable(record.environment),
        "message": storable(record.text),
    }
    for name in _KEYS:
        if value := getattr(record, name):
            found[name] = storable(value)
            if len(found[name]) > USUAL:
                found["odd"] = True
    if record.fields:
        fields = {storable(name): storable(value) for name, value in record.fields.items()}
        if _flat(fields):
            found["fields"] = fields
        else:
            found["odd_fields"] = orjson.dumps(fields).decode()
    return found


def log_record(source: dict[str, Any]) -> LogRecord:
    """Raises LookupError, TypeError, ValueError where the document is none of a line."""
    fields = source.get("fields") or orjson.loads(source.get("odd_fields", "{}"))
    return LogRecord(
        environment=readable(source["environment"]),
        time_us=source["time_us"],
        text=readable(source["message"]),
        fields={readable(name): readable(value) for name, value in fields.items()},
        **{name: readable(source.get(name, "")) for name in _KEYS},
    )


def filters(query: LogQuery) -> Filter:
    """Also finds odd lines, and of a word such as 10.0.0.1 lines where its parts follow each other: see `matches`."""
    found: list[Filter] = [terms("environment", stored(query.environments))]
    for field, values in (("kind", query.kinds), ("node", query.nodes), ("level", query.levels)):
        if values:
            found.append(_or_silent(field, values))
    keys = (("call_id", query.call_ids), ("conf_id", query.conf_ids), ("account", query.accounts))
    if asked := [terms(field, stored(values)) for field, values in keys if values]:
        found.append(any_of(asked))
    odd = any_of([{"bool": {"filter": found}}, ODD])
    return {"bool": {"filter": [*interval("time_us", query.start_us, query.end_us), odd, *_words(query.words)]}}


def matches(query: LogQuery, record: LogRecord) -> bool:
    """What the index cannot tell for sure."""
    among: list[tuple[tuple[str, ...], str]] = [
        (query.environments, record.environment), (query.kinds, record.kind), (query.nodes, record.node),
        (query.levels, record.level),
    ]  # fmt: skip
    if not all(not wanted or found in wanted for wanted, found in among):
        return False
    asked = query.call_ids or query.conf_ids or query.accounts
    if asked and not (
        record.call_id in query.call_ids or record.conf_id in query.conf_ids or record.account in query.accounts
    ):
        return False
    text = record.text.lower()
    return all(_says(text, word) for word in query.words.lower().split())


def _says(text: str, word: str) -> bool:
    bare = word.removesuffix("*")
    if not _TOKEN.fullmatch(bare):
        return bare in text
    if len(bare) <= _LONGEST_WORD:
        return True  # a plain word is the index's own matter
    tokens = _TOKEN.findall(text)
    return any(token.startswith(bare) for token in tokens) if word != bare else bare in tokens


def _words(words: str) -> list[Filter]:
    """Lines that hold all of them; a word that ends in ``*`` is a beginning."""
    found: list[Filter] = []
    for word in words.split():
        tokens = _TOKEN.findall(word)
        if not tokens:
            continue  # such as ---: looked for in the lines that come
        if not word.endswith("*"):
            found.append({"match_phrase": {"message": {"query": storable(word)}}})
            continue
        found.append({"prefix": {"message": {"value": tokens[-1].lower()[:_LONGEST_WORD]}}})
        if tokens[:-1]:
            found.append({"match_phrase": {"message": {"query": " ".join(tokens[:-1])}}})
    return found


def _or_silent(field: str, values: tuple[str, ...]) -> Filter:
    """A line without a kind, node or level has no such field."""
    said = [value for value in values if value]
    silent: Filter = {"bool": {"must_not": [{"exists": {"field": field}}]}}
    if len(said) == len(values):
        return terms(field, stored(said))
    return any_of([terms(field, stored(said)), silent]) if said else silent


def _flat(fields: dict[str, str]) -> bool:
    """Whether the engine can index them."""
    return len(fields) <= _MOST_FIELDS and all(
        name and "\0" not in name and len(name) + len(value) <= USUAL for name, value in fields.items()
    )


def _timestamp(time_us: int) -> str:
    return (
        datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        + f".{time_us // 1000 % 1000:03}Z"
    )
