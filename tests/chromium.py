"""The browser of a test worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium-headless-shell")  # Chromium without windows: a page costs it a third


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed (Debian package chromium-headless-shell)")
    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    """With the keyboard, as a person does; ends on the Sessions page."""
    page.goto(f"{url}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sessions*")
