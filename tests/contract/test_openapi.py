"""Every endpoint of the API, sent what its own description allows and what it forbids: never an error of ours (5xx)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from actors import by_tester
from ringback.access.permissions import Permission
from ringback.access.tokens import create_token
from ringback.app import create_app
from ringback.billing.entities.api import PREFIX
from ringback.billing.entities.models import TYPES
from ringback.settings import load_settings

EXAMPLES, ALIKE = 10, 3  # of each kind, for each endpoint; for one that each entity type has


def _app(folder: Path) -> FastAPI:
    return create_app(load_settings({}, data=folder))


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    rows = value if isinstance(value, list) else [value]
    return b"\n".join(row if isinstance(row, bytes) else json.dumps(row, default=str).encode() for row in rows)


def _operations() -> dict[str, Any]:
    """Label -> operation. An operation that is described wrongly fails here."""
    described = schemathesis.openapi.from_dict(_app(Path("not-opened")).openapi())
    operations = {}
    found: Any
    for found in described.get_all_operations():
        operation = found.ok()
        operations[operation.label] = operation
    return operations


OPERATIONS = _operations()
OF_ENTITIES = {f"{PREFIX}/{kind.about.path}" for kind in TYPES.values()}


def _examples(label: str) -> int:
    method, path = label.split()
    alike = method != "PUT" and any(path == one or path.startswith(f"{one}/") for one in OF_ENTITIES)
    return ALIKE if alike else EXAMPLES


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = _app(tmp_path_factory.mktemp("contract") / "data")
    with TestClient(app, base_url="http://ringback.test", raise_server_exceptions=False) as made:
        with by_tester(app.state.records) as work:
            token = create_token(work, "contract", scopes=tuple(Permission))
        made.headers["Authorization"] = f"Bearer {token}"
        yield made


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_no_endpoint_fails_by_what_it_is_sent(label: str, mode: GenerationMode, client: TestClient) -> None:
    @given(case=OPERATIONS[label].as_strategy(mode))
    @settings(
        max_examples=_examples(label), deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),  # what fails is told as it was sent: to shrink it takes minutes
    )  # fmt: skip
    def send(case: Any) -> None:
        asked: Any = requests.Request(**case.as_transport_kwargs(base_url="http://ringback.test")).prepare()
        assume(len(asked.url) < 60_000)  # more the client does not send
        headers = {**asked.headers, **client.headers}
        answer = client.request(str(asked.method), asked.url, content=asked.body, headers=headers)
        assert answer.status_code < 500, f"{asked.method} {asked.url} {asked.body!r}: {answer.text}"

    try:
        send()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # what takes nothing, or any text, cannot be sent anything wrong
