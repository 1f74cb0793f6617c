"""The page shell: escaping, flashes, theme and zone from cookies, static files under their fingerprint."""

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ringback.web import flash, static_files
from ringback.web.static_files import MOUNT, VERSION, VersionedFiles, static_path
from ringback.web.templating import render

WEB = Path(static_files.__file__).parent


def _page(request: Request) -> Response:
    return render(
        request, "error.html", heading="<b>no</b>", explanation="x", reference="", next_path="/", next_text="go"
    )


def _flashed(request: Request) -> Response:
    response = RedirectResponse("/page", status_code=303)
    flash.flash(response, "Saved <b>it</b>.")
    return response


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=[Route("/page", _page), Route("/go", _flashed), Mount(MOUNT, VersionedFiles())])
    return TestClient(app)


def test_what_goes_into_a_page_is_escaped(client: TestClient) -> None:
    assert "<b>no</b>" not in client.get("/page").text
    assert "&lt;b&gt;no&lt;/b&gt;" in client.get("/page").text


def test_a_flashed_message_is_shown_once_and_escaped(client: TestClient) -> None:
    assert "Saved &lt;b&gt;it&lt;/b&gt;." in client.get("/go").text
    assert "Saved" not in client.get("/page").text


@pytest.mark.parametrize("cookie", ["x", "eyJhIjoxfQ==", "WyJvayJd", "W251bGwsMV0=", "é"])
def test_a_flash_that_is_none_of_ours_is_left_out(client: TestClient, cookie: str) -> None:
    response = client.get("/page", headers={b"cookie": f"{flash.COOKIE}={cookie}".encode()})
    assert response.status_code == 200
    assert 'class="note' not in response.text


def test_the_chosen_theme_is_in_the_markup_and_nothing_else_can_be(client: TestClient) -> None:
    client.cookies.set("theme", "dark")
    assert '<html lang="en" data-theme="dark">' in client.get("/page").text
    client.cookies.set("theme", "evil")
    assert '<html lang="en">' in client.get("/page").text


def test_static_files_of_this_version_are_kept_by_browsers_for_good(client: TestClient) -> None:
    response = client.get(static_path("css/app.css"))
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_a_page_of_an_older_version_gets_todays_file_and_does_not_keep_it(client: TestClient) -> None:
    response = client.get(f"{MOUNT}/000000000000/css/app.css")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["../templating.py", "..%2f..%2fapp.py", "css", "", "css/none.css"])
def test_nothing_outside_the_static_folder_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"{MOUNT}/{VERSION}/{path}").status_code == 404


TEMPLATES = sorted(WEB.parent.rglob("templates/**/*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_needs_more_than_the_content_security_policy_allows(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"""(?:src|href)=["']https?:""", text)


def test_every_file_of_others_is_told_with_its_licence() -> None:
    told = (WEB / "static/vendor/README.md").read_text()
    for path in (WEB / "static/vendor").iterdir():
        assert path.name in told or path.name == "README.md"
