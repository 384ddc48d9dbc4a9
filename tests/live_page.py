"""The live page in a real Chromium: fixtures, and what tests do with it."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.kafka.broker import unavailable
from tests.servers import Server
from tests.test_inspect import page_url, with_page
from tests.wire import ask, assert_pixel

SWITCHES = (
    "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage"
)
PATIENCE = 30_000
"""Milliseconds; a machine may be busy with something else."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        unavailable("no chromium: install the package chromium, or run tests/system_packages.sh test")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=[f"--{name}" for name in SWITCHES.split()], timeout=60_000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One gateway for all tests that leave it running."""
    server, _ = with_page(tmp_path_factory.mktemp("browser"))
    server.start()
    yield server
    server.kill()
    print(f"--- output of {server.url}\n{server.log()[-5000:]}")


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a gateway's live page in a browser that knows nothing. It must not complain, and ask nobody else."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    hosts: set[str | None] = set()
    allowed: list[str] = []

    def start(server: Server, url: str = "", live: bool = True, may_complain: str = "", **options: Any) -> Page:
        allowed.append(may_complain)
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("console", lambda message: complaints.append(message.text))
        context.on("dialog", lambda dialog: complaints.append(dialog.message))
        page = context.new_page()
        page.goto(url or page_url(server))
        if live:
            # What earlier tests did comes with the greeting, before the first counts.
            expect(page.locator("#accepted")).to_have_text("0")
            page.click("#clear")
        return page

    expect.set_options(timeout=PATIENCE)
    yield start
    for context in contexts:
        context.close()
    patterns = [pattern for pattern in allowed if pattern]
    assert [text for text in complaints if not any(re.search(pattern, text) for pattern in patterns)] == []
    assert hosts <= {"127.0.0.1"}, "nothing leaves the machine"


def fire(server: Server, target: str, **headers: str) -> None:
    assert_pixel(ask(server, f"/v1/pixel/{target}", headers=headers))


def event(server: Server, **members: str) -> dict[str, Any]:
    """The one event that has these members."""
    (found,) = (event for event in server.events() if members.items() <= event.items())
    return found


def narrowed(page: Page, *contains: str) -> contextlib.AbstractContextManager[object]:
    """Until the server has heard of the filters, such that it sends what has these texts."""
    return page.expect_response(
        lambda answer: (
            answer.url.endswith("/want") and (answer.request.post_data_json or {})["contains"] == list(contains)
        )
    )


def titles(page: Page) -> list[str]:
    return page.locator("#list .title").all_text_contents()


def expect_titles(page: Page, *expected: str) -> None:
    expect(page.locator("#list .title")).to_have_text(list(expected))
