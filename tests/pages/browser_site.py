"""The real application on a port of its own, its store filled by the real ingest, and a browser that forgives nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect
from recorded_calls import Recorded

from actors import by_tester
from chromium import sign_in
from ringback.access import passwords
from ringback.access.service import add_user
from ringback.app import create_app
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.settings import Settings, load_settings

USER, PASSWORD = "agnes", "correct horse battery"
SLOW_MS = 30_000  # the machine may be busy with other tests
expect.set_options(timeout=SLOW_MS)


@dataclass(frozen=True, slots=True)
class Site:
    url: str
    calls: dict[str, Recorded]
    settings: Settings

    def session(self, name: str) -> str:
        return f"{self.url}/sessions/{self.calls[name].id}"


def serve(settings: Settings) -> Iterator[str]:
    """Its address, while it runs."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", access_log=False))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started, "the application did not start"
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        listening.close()
    assert not thread.is_alive(), "the application did not stop"


def prepared(folder: Path) -> Settings:
    """Records with one user; passwords are hashed quickly, which is no subject of these tests."""
    settings = load_settings({}, data=folder)
    engine = open_engine(settings.records_url)
    migrate(engine)
    kept = passwords._hasher
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    try:
        with by_tester(engine) as work:
            add_user(work, USER, PASSWORD)
    finally:
        passwords._hasher = kept
        engine.dispose()
    return settings


class Visit:
    """Opens pages, and remembers everything a browser complains about on them (refused content, failed scripts)."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._login: dict[str, StorageState] = {}
        self.complaints: list[str] = []

    def __call__(
        self,
        url: str = "",
        *,
        site: Site | None = None,
        width: int = 1440,
        dark: bool = False,
        zone: str = "America/Chicago",
    ) -> Page:
        """`site`: signed in there."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            timezone_id=zone,
            locale="en-GB",
            storage_state=self._signed_in(site) if site else None,
        )
        self._contexts.append(context)
        context.set_default_timeout(SLOW_MS)
        page = context.new_page()
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if url:
            page.goto(url)
        return page

    def _signed_in(self, site: Site) -> StorageState:
        if site.url not in self._login:
            context = self._browser.new_context(timezone_id="America/Chicago")
            page = context.new_page()
            sign_in(page, site.url, USER, PASSWORD)
            self._login[site.url] = context.storage_state()
            context.close()
        return self._login[site.url]

    def forget(self, site: Site) -> None:
        """The next visit there signs in anew."""
        self._login.pop(site.url, None)

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
