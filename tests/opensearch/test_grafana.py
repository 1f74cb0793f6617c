"""Grafana reads the log lines of the store: the requests of its Elasticsearch and OpenSearch data sources, on the real engine.

Such a source first asks for the engine's version, its health and the fields of an index pattern. All else are searches in
one `_msearch`: a variable's values are a terms aggregation named "1"; the logs panel wants 500 whole documents, newest
first, with the words marked and a histogram over the panel's time; the lines around one follow its `sort` values; a graph
is counts by time within terms. Every search has a range of milliseconds on the time field and a Lucene query.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from opensearch_server import own_prefix
from ringback.events import LogRecord, open_store

SOURCE = Path(__file__).parents[2] / "deploy" / "grafana" / "ringback.yaml"
SECOND_US = 1_000_000
MIDNIGHT_US = 1_795_305_600 * SECOND_US  # 2026-11-22T00:00:00Z
FIRST_US = MIDNIGHT_US - 300 * SECOND_US + 123_456
LINES = 600
FROM_MS, TO_MS = MIDNIGHT_US // 1000 - 900_000, MIDNIGHT_US // 1000 + 900_000
MARKED, UNMARKED = "@HIGHLIGHT@", "@/HIGHLIGHT@"


def line(number: int) -> LogRecord:
    """A line a second, from five minutes before midnight (UTC) to five minutes after it; every tenth warns of a trunk."""
    time_us = FIRST_US + number * SECOND_US
    call_id = f"call-{number}@acme.example"
    if number == 7:
        return LogRecord("default", time_us, "billing", "", "", "no node and no level", fields={})
    if number % 10 == 0:
        text = f"Trunk gw-east refused INVITE {number}"
        fields = {"trunk": "gw-east", "code": "503"}
        return LogRecord("default", time_us, "node", "core-1", "warning", text, call_id, fields=fields)
    return LogRecord(
        "default", time_us, "node", "edge-1", "info", f"relayed {number}", call_id, account="12103355787"
    )


WARNINGS = [number for number in range(LINES) if number % 10 == 0]


@dataclass
class Grafana:
    """A data source of it, set up by the file that we ship."""

    url: str
    index: str
    settings: dict[str, Any]

    @property
    def time(self) -> str:
        return str(self.settings["timeField"])

    def get(self, path: str) -> Any:
        return httpx2.get(f"{self.url}/{path}", timeout=60).raise_for_status().json()

    def search(self, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
        """An answer to each; every one of them whole."""
        header = {"index": self.index, "search_type": "query_then_fetch", "ignore_unavailable": True}
        content = "".join(f"{json.dumps(header)}\n{json.dumps(body)}\n" for body in bodies)
        answer = httpx2.post(
            f"{self.url}/_msearch",
            params={"max_concurrent_shard_requests": str(self.settings["maxConcurrentShardRequests"])},
            headers={"Content-Type": "application/x-ndjson"},
            content=content,
            timeout=60,
        )
        responses: list[dict[str, Any]] = answer.raise_for_status().json()["responses"]
        assert len(responses) == len(bodies)
        for each in responses:
            assert each.get("error") is None
            assert each["status"] == 200
            assert (each["timed_out"], each["_shards"]["failed"]) == (False, 0)
        return responses

    def filtered(self, words: str) -> dict[str, Any]:
        span = {"format": "epoch_millis", "gte": FROM_MS, "lte": TO_MS}
        said = {"query_string": {"analyze_wildcard": True, "query": words or "*"}}
        return {"bool": {"filter": [{"range": {self.time: span}}, said]}}

    def by_time(self, interval: str) -> dict[str, Any]:
        bounds = {"min": FROM_MS, "max": TO_MS}
        histogram = {
            "field": self.time, "fixed_interval": interval, "min_doc_count": 0, "extended_bounds": bounds,
            "format": "epoch_millis",
        }  # fmt: skip
        return {"date_histogram": histogram}

    def logs(
        self, words: str, order: str = "desc", after: list[Any] | None = None, size: int = 500
    ) -> dict[str, Any]:
        """The panel's answer; with `after` that of the lines around one."""
        body: dict[str, Any] = {
            "size": size,
            "query": self.filtered(words),
            "sort": {self.time: {"order": order, "unmapped_type": "boolean"}, "_doc": {"order": order}},
            "script_fields": {},
            "docvalue_fields": [self.time],
            "fields": [{"field": self.time, "format": "strict_date_optional_time_nanos"}],
            "highlight": {
                "fields": {"*": {}}, "pre_tags": [MARKED], "post_tags": [UNMARKED], "fragment_size": 2147483647,
            },
            "aggs": {"1": self.by_time("60000ms")},
        }  # fmt: skip
        if after is not None:
            body["search_after"] = after
        (answer,) = self.search(body)
        return answer

    def message(self, hit: dict[str, Any]) -> str:
        return str(hit["_source"][self.settings["logMessageField"]])

    def level(self, hit: dict[str, Any]) -> str | None:
        level: str | None = hit["_source"].get(self.settings["logLevelField"])
        return level


@pytest.fixture(scope="module")
def grafana(shared_node: str) -> Iterator[Grafana]:
    (source,) = yaml.safe_load(SOURCE.read_text())["datasources"]
    settings = source["jsonData"]
    url = shared_node
    with own_prefix(url) as prefix:
        store = open_store(f"{url}/?prefix={prefix}&refresh=true")
        try:
            store.write_logs([line(number) for number in range(LINES)])
        finally:
            store.close()
        assert settings["database"].startswith("ringback-"), "the prefix of a store that is told no other"
        yield Grafana(url, prefix + settings["database"].removeprefix("ringback"), settings)
        httpx2.delete(f"{url}/_index_template/{prefix}-*", timeout=60).raise_for_status()


def test_the_source_is_tested_and_knows_the_fields(grafana: Grafana) -> None:
    assert grafana.get("")["version"]["number"]
    health = grafana.get(f"_cluster/health/{grafana.index}?wait_for_status=yellow&timeout=30s")
    assert health["status"] in ("yellow", "green")
    (times,) = grafana.get(f"{grafana.index}/_field_caps?fields={grafana.time}")["fields"].values()
    assert times["date"]["searchable"] is True
    assert times["date"]["aggregatable"] is True
    answer = grafana.get(f"{grafana.index}/_field_caps?fields=*")
    assert len(answer["indices"]) == 2, "the day before midnight and the day after it"
    kinds = {name: set(kinds) for name, kinds in answer["fields"].items()}
    assert kinds[grafana.settings["logMessageField"]] == {"text"}
    for name in (grafana.settings["logLevelField"], "environment", "kind", "node", "call_id", "conf_id", "account"):
        assert kinds[name] == {"keyword"}
        assert answer["fields"][name]["keyword"]["aggregatable"] is True
    assert not any("nested" in each for each in kinds.values())


@pytest.mark.parametrize(
    ("field", "order", "values"),
    [
        ("level", {"_key": "asc"}, {"info": LINES - 61, "warning": 60}),
        ("node", {"_count": "desc"}, {"edge-1": LINES - 61, "core-1": 60}),
        ("kind", {"_count": "asc"}, {"billing": 1, "node": LINES - 1}),
    ],
)
def test_a_variable_offers_the_values_of_a_field(
    grafana: Grafana, field: str, order: dict[str, str], values: dict[str, int]
) -> None:
    terms = {"terms": {"field": field, "size": 500, "order": order}}
    (answer,) = grafana.search({"size": 0, "query": grafana.filtered(""), "aggs": {"1": terms}})
    found = [(bucket["key"], bucket["doc_count"]) for bucket in answer["aggregations"]["1"]["buckets"]]
    assert found == list(values.items())


def test_the_logs_panel_shows_the_newest_lines_with_time_message_and_level(grafana: Grafana) -> None:
    answer = grafana.logs("")
    hits = answer["hits"]["hits"]
    assert [grafana.message(hit) for hit in hits] == [line(n).text for n in reversed(range(LINES - 500, LINES))]
    for hit, number in zip(hits, reversed(range(LINES)), strict=False):
        moment = datetime.fromtimestamp(line(number).time_us // 1000 / 1000, UTC)
        assert hit["_source"]["@timestamp"] == moment.strftime("%Y-%m-%dT%H:%M:%S.123Z")
        shown = {datetime.fromisoformat(value) for value in hit["fields"][grafana.time]}
        assert shown == {moment}
        assert hit["sort"][0] == line(number).time_us // 1000
        assert grafana.level(hit) == line(number).level
        assert hit["_source"]["call_id"] == line(number).call_id
        assert not any(isinstance(value, list) for value in hit["_source"].values())
    buckets = {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["1"]["buckets"]}
    assert len(buckets) == 31, "every minute of the panel, also those without a line"
    expected = Counter(line(number).time_us // 60_000_000 * 60_000 for number in range(LINES))
    assert {key: count for key, count in buckets.items() if count} == expected


def test_words_are_found_and_marked(grafana: Grafana) -> None:
    answer = grafana.logs("refused AND invite")
    hits = answer["hits"]["hits"]
    assert [grafana.message(hit) for hit in hits] == [line(number).text for number in reversed(WARNINGS)]
    assert {grafana.level(hit) for hit in hits} == {"warning"}
    for hit, number in zip(hits, reversed(WARNINGS), strict=True):
        marked = f"Trunk gw-east {MARKED}refused{UNMARKED} {MARKED}INVITE{UNMARKED} {number}"
        assert hit["highlight"][grafana.settings["logMessageField"]] == [marked]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("level:warning", WARNINGS),
        ("level:warning AND NOT message:330", [number for number in WARNINGS if number != 330]),
        ('call_id:"call-42@acme.example"', [42]),
        ("node:core*", WARNINGS),
        ("message:relay* AND message:4*", [n for n in range(LINES) if str(n).startswith("4") and n % 10]),
        ('"gw-east refused"', WARNINGS),
        ("fields.trunk:gw-east AND fields.code:503", WARNINGS),
        ("NOT _exists_:level", [7]),
        ("12103355787 AND 42", [42]),  # in any field
        ("nothing-like-it", []),
    ],
)
def test_a_lucene_query_finds_what_it_asks_for(grafana: Grafana, words: str, expected: list[int]) -> None:
    found = grafana.logs(words)["hits"]["hits"]
    assert [grafana.message(hit) for hit in found] == [line(n).text for n in reversed(expected)][:500]


def test_a_line_is_shown_among_those_before_and_after_it(grafana: Grafana) -> None:
    midnight = 300  # the last line of one day's index and the first of the next
    (hit,) = grafana.logs('message:"refused INVITE 300"')["hits"]["hits"]
    assert hit["_index"].endswith("2026.11.22")
    before = grafana.logs("", "desc", hit["sort"], 50)["hits"]["hits"]
    after = grafana.logs("", "asc", hit["sort"], 50)["hits"]["hits"]
    assert [grafana.message(each) for each in before] == [line(midnight - n).text for n in range(1, 51)]
    assert [grafana.message(each) for each in after] == [line(midnight + n).text for n in range(1, 51)]


def test_a_graph_counts_lines_by_level_and_time(grafana: Grafana) -> None:
    terms = {"field": "level", "size": 10, "order": {"_key": "desc"}, "min_doc_count": 0}
    by_level = {"3": {"terms": terms, "aggs": {"2": grafana.by_time("60s")}}}
    calls = {"2": grafana.by_time("60s") | {"aggs": {"1": {"cardinality": {"field": "call_id"}}}}}
    named = {"filters": {"Trunk": {"query_string": {"query": "fields.trunk:gw-east", "analyze_wildcard": True}}}}
    answers = grafana.search(
        {"size": 0, "query": grafana.filtered(""), "aggs": by_level},
        {"size": 0, "query": grafana.filtered(""), "aggs": calls},
        {"size": 0, "query": grafana.filtered(""), "aggs": {"2": {"filters": named}}},
    )
    levels = {bucket["key"]: bucket["2"]["buckets"] for bucket in answers[0]["aggregations"]["3"]["buckets"]}
    assert list(levels) == ["warning", "info"]
    for level, buckets in levels.items():
        minutes = (line(n).time_us // 60_000_000 * 60_000 for n in range(LINES) if line(n).level == level)
        assert {each["key"]: each["doc_count"] for each in buckets if each["doc_count"]} == Counter(minutes)
        assert {int(each["key_as_string"]) for each in buckets} == {each["key"] for each in buckets}
    counted = sum(each["1"]["value"] for each in answers[1]["aggregations"]["2"]["buckets"])
    assert counted == LINES - 1
    assert answers[2]["aggregations"]["2"]["buckets"]["Trunk"]["doc_count"] == len(WARNINGS)
