"""What the indices are made from: composable templates with every field named, and a version.

A field is indexed where a question needs it, and kept in columns (`doc_values`) where answers are sorted or summed by
it; the rest stands in the document alone. `strict`: a field that is not named here is an error, not a guess.
"""

from __future__ import annotations

from typing import Any

from ringback.events.opensearch.address import Address
from ringback.events.opensearch.client import Client, Deadline, Refused
from ringback.events.opensearch.days import AUDIT, BLOCKS, COUNTS, LEGS, LOGS, Names
from ringback.events.opensearch.texts import LONGEST, LONGEST_NUMBER
from ringback.events.store import EventStoreError

VERSION = 1
_PRIORITY = 300
_REFRESH = "500ms"  # a batch is a second; a call is to be found within two of its end
_REFRESH_LOGS = "1s"

_KEPT: dict[str, Any] = {"type": "keyword", "index": False, "doc_values": False}
_FOUND: dict[str, Any] = {"type": "keyword", "doc_values": False, "norms": False, "ignore_above": LONGEST}
_NUMBER: dict[str, Any] = {**_FOUND, "ignore_above": LONGEST_NUMBER}
_COUNTED: dict[str, Any] = {"type": "keyword", "ignore_above": LONGEST}
_OWNER: dict[str, Any] = {"type": "keyword", "doc_values": False}
_BYTES: dict[str, Any] = {"type": "binary", "doc_values": False}
_TIME: dict[str, Any] = {"type": "long"}
_RANGE: dict[str, Any] = {"type": "long", "doc_values": False}
_COLUMN: dict[str, Any] = {"type": "long", "index": False}
_FIGURE: dict[str, Any] = {"type": "long", "index": False, "doc_values": False}
_FLAG: dict[str, Any] = {"type": "boolean", "doc_values": False}

_FIELDS: dict[str, dict[str, Any]] = {
    LEGS: {
        "environment": _FOUND, "call_id": _FOUND, "call": _RANGE, "tie": _COLUMN,
        "kind": _FOUND, "method": _FOUND, "outcome": _COUNTED, "code": _FOUND, "troubled": _FLAG, "odd": _FLAG,
        "started_us": _TIME, "ended_us": _TIME, "duration_ms": _RANGE,
        "numbers": _NUMBER, "reversed": _NUMBER, "keys": _FOUND, "addresses": _FOUND, "agents": _FOUND,
        "answered_us": _FIGURE, "messages": _FIGURE, "trouble": _FIGURE,
        "caller": _KEPT, "called": _KEPT, "phrase": _KEPT, "reason": _KEPT, "source": _KEPT, "destination": _KEPT,
    },
    BLOCKS: {
        "legs": {"type": "keyword", "doc_values": False, "norms": False}, "parts": _KEPT,
        "started_us": _COLUMN, "ended_us": _FIGURE, "written_us": _COLUMN, "tie": _COLUMN, "messages": _COLUMN,
        "owner": _OWNER, "batch_us": _RANGE, "data": _BYTES,
    },
    COUNTS: {
        "what": {"type": "keyword", "doc_values": False},  # count, mark or written
        "environment": _FOUND, "minute_us": _TIME, "outcome": _COUNTED, "sessions": _COLUMN,
        "name": {"type": "keyword", "doc_values": False}, "value": _KEPT, "written_us": _COLUMN,
        "owner": _OWNER, "batch_us": _RANGE,
    },
    LOGS: {
        "@timestamp": {"type": "date"}, "time_us": _TIME, "written_us": _COLUMN, "tie": _COLUMN,
        "environment": _COUNTED, "kind": _COUNTED, "node": _COUNTED, "level": _COUNTED,
        "message": {"type": "text", "analyzer": "words", "norms": False},
        "call_id": _COUNTED, "conf_id": _COUNTED, "account": _COUNTED,
        "odd": _FLAG, "odd_fields": _KEPT,
    },
    AUDIT: {
        "environment": _FOUND, "id": _TIME, "time_us": _TIME, "seq": _FIGURE,
        "entity_type": _FOUND, "entity_id": _FOUND, "action": _FOUND, "kind": _FOUND, "properties": _FOUND,
        "realm": _FOUND, "actor": _FOUND, "address": _FOUND, "request_id": _FOUND, "customer_id": _FOUND,
        "account_id": _FOUND, "amount": _RANGE, "personal": _FLAG, "words": _FOUND, "odd": _FLAG,
        "entity_name": _KEPT, "customer_name": _KEPT, "account_name": _KEPT, "actor_kind": _KEPT, "currency": _KEPT,
        "message_key": _KEPT, "body": _KEPT,
    },
}  # fmt: skip
_FLAT = {"opensearch": {"type": "flat_object"}, "elasticsearch": {"type": "flattened", "ignore_above": LONGEST}}

# The words of a line are what stands between anything else than letters and digits, as in the embedded store.
_ANALYSIS: dict[str, Any] = {
    "tokenizer": {"words": {"type": "pattern", "pattern": r"[^\p{L}\p{N}]+"}},
    "filter": {"short": {"type": "truncate", "length": 255}},
    "analyzer": {"words": {"type": "custom", "tokenizer": "words", "filter": ["lowercase", "short"]}},
}


def flavour(client: Client, deadline: Deadline) -> str:
    """opensearch or elasticsearch: they differ in where a point in time is asked for, and in the name of a type."""
    answer = client.read("GET", "/", deadline)
    version = answer.get("version") if isinstance(answer, dict) else None
    if not isinstance(version, dict) or "number" not in version:
        raise EventStoreError(f"{client.address.shown} is neither OpenSearch nor Elasticsearch")
    return "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"


def install(client: Client, names: Names, flavour: str, deadline: Deadline) -> None:
    """Those that are missing or older than ours. Raises EventStoreError where a newer release made them."""
    found = _versions(client, names, deadline)
    for kind in _FIELDS:
        name = f"{names.prefix}-{kind}"
        version = found.get(name, 0)
        if version > VERSION:
            raise EventStoreError(
                f"index template {name} is of a newer release (version {version}, this one knows {VERSION}):"
                " upgrade this host"
            )
        if version < VERSION:
            client.read("PUT", f"/_index_template/{name}", deadline, template(kind, names, client.address, flavour))


def template(kind: str, names: Names, address: Address, flavour: str) -> dict[str, Any]:
    fields = dict(_FIELDS[kind])
    index: dict[str, Any] = {
        "number_of_shards": address.shards,
        "codec": "best_compression",
        "refresh_interval": _REFRESH_LOGS if kind == LOGS else _REFRESH,
    }
    if address.replicas is None:
        index["auto_expand_replicas"] = "0-1"
    else:
        index["number_of_replicas"] = address.replicas
    if kind == AUDIT:
        # A page takes fifty rows out of as many blocks of a month, so blocks are small; and the newest of a month that is
        # stored newest first are found without a look at the others.
        index |= {"codec": "default", "sort.field": ["time_us", "id"], "sort.order": ["desc", "desc"]}
    settings: dict[str, Any] = {"index": index}
    if kind == LOGS:
        fields["fields"] = _FLAT[flavour]
        settings["analysis"] = _ANALYSIS
    return {
        "index_patterns": [names.every(kind)],
        "priority": _PRIORITY,
        "version": VERSION,
        "_meta": {"made by": "ringback"},
        "template": {"settings": settings, "mappings": {"dynamic": "strict", "properties": fields}},
    }


def _versions(client: Client, names: Names, deadline: Deadline) -> dict[str, int]:
    try:
        answer = client.read("GET", f"/_index_template/{names.prefix}-*", deadline)
    except Refused as error:
        if error.status != 404:
            raise
        return {}
    return {each["name"]: each["index_template"].get("version", 0) for each in answer.get("index_templates", [])}
