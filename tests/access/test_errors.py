"""How errors are answered, and the headers that every answer carries."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from databases import SQLITE

pytestmark = pytest.mark.parametrize("database", [SQLITE])  # what both have to say alike is said by the other tests


def test_an_unknown_path_is_a_page_for_people_and_a_problem_for_programs(client: TestClient) -> None:
    page = client.get("/nosuch")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "There is nothing at /nosuch." in page.text
    problem = client.get("/api/v1/nosuch")
    assert problem.status_code == 404
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["detail"] == "There is nothing at /api/v1/nosuch."


def test_a_wrong_method_is_told(client: TestClient) -> None:
    assert client.delete("/api/v1/whoami").json()["status"] == 405


@pytest.mark.parametrize("path", ["/broken", "/api/v1/broken"])
def test_our_own_fault_tells_a_reference_and_no_more(client: TestClient, path: str) -> None:
    with capture_logs() as logged:
        answer = client.get(path)
    assert answer.status_code == 500
    assert logged[0]["reference"] in answer.text
    assert str(logged[0]["exc_info"]) == "the secret is 42"
    assert logged[0]["route"] == path
    assert "the secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/login", "/nosuch", "/api/v1/whoami", "/api/v1/broken"])
def test_every_answer_carries_the_safe_headers(client: TestClient, path: str) -> None:
    with capture_logs():
        headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_pages_have_nothing_inline(client: TestClient) -> None:
    text = client.get("/login").text
    assert "<script>" not in text
    assert "style=" not in text
    assert "onclick" not in text
