"""The live page in a real Chromium: fixtures, and steps that tests share."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.kafka.broker import free_port, unavailable
from tests.support.servers import Server
from tests.support.wire import ask, assert_pixel

SWITCHES = (
    "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage"
)
PATIENCE = 30_000
"""Milliseconds. A machine may be busy."""


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
    """One gateway for all tests that do not stop it."""
    server, _ = with_page(tmp_path_factory.mktemp("browser"))
    server.start()
    yield server
    server.kill()
    print(f"--- output of {server.url}\n{server.log()[-5000:]}")


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a gateway's live page in a fresh browser. It must not log errors, and must not contact other hosts."""
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
        if not live:
            page.goto(url or page_url(server))
            return page
        with narrowed(page):
            page.goto(url or page_url(server))
        # The events of earlier tests arrive with the greeting, before the first counts.
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
    """Wait until the server knows the filters, and sends the lines with these texts."""
    return page.expect_response(
        lambda answer: (
            answer.url.endswith("/want") and (answer.request.post_data_json or {})["contains"] == list(contains)
        )
    )


# An element may say something for a moment only.
_HEARD = """([selector, pattern, patience]) => {
  const element = document.querySelector(selector);
  window.heard = new Promise((resolve, reject) => {
    const listen = () => new RegExp(pattern).test(element.textContent) && resolve();
    new MutationObserver(listen).observe(element, { childList: true, characterData: true, subtree: true });
    setTimeout(() => reject(new Error(`${selector} did not say ${pattern}`)), patience);
  });
}"""


@contextlib.contextmanager
def hears(page: Page, selector: str, pattern: str) -> Iterator[None]:
    """Wait until an element has said what matches a pattern of JavaScript, be it for a moment only."""
    page.evaluate(_HEARD, [selector, pattern, PATIENCE])
    yield
    page.evaluate("window.heard")


def titles(page: Page) -> list[str]:
    return page.locator("#list .title").all_text_contents()


def expect_titles(page: Page, *expected: str) -> None:
    expect(page.locator("#list .title")).to_have_text(list(expected))


def with_page(directory: Path, **settings: str) -> tuple[Server, int]:
    """A gateway with a live page, not started yet, and the page's port."""
    port = free_port()
    address = {"PIXELCORE_INSPECT_ADDRESS": f"127.0.0.1:{port}", **settings}
    return Server(directory, address, flags=("--inspect",)), port


def page_url(server: Server) -> str:
    """The page's URL as the server printed it last."""
    printed: list[str] = re.findall(r"^  live page +(\S+)$", server.log(), re.MULTILINE)
    return printed[-1]
