"""The site in a real Chromium: every page, light and dark, wide and narrow, by keyboard alone, without errors."""

from __future__ import annotations

import functools
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from docs.drawings import DARK
from tests.support import live_page
from tests.support.accessibility import serious
from tests.support.pages import blocks
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

# The first test builds the site.
pytestmark = pytest.mark.timeout(900)

# pytest finds fixtures by these names.
browser = live_page.browser

Scheme = Literal["light", "dark"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's directory."""
    directory = tmp_path_factory.mktemp("site")
    mkdocs = str(Path(sys.executable).with_name("mkdocs"))
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(
        [mkdocs, "build", "--strict", "--quiet", "--site-dir", directory], cwd=ROOT, env=environment, check=True
    )
    return directory


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


Open = Callable[..., Page]


@pytest.fixture
def open_site(browser: Browser) -> Iterator[Open]:
    """Open a page. Its console must have no errors, and all its files must exist and come from the site."""
    complaints: list[str] = []
    contexts = []

    def start(url: str, **options: Any) -> Page:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        context.set_default_timeout(live_page.PATIENCE)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("console", lambda message: complaints.append(message.text))
        context.on(
            "response",
            lambda answer: complaints.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None,
        )
        context.on(
            "request",
            lambda asked: (
                complaints.append(asked.url)
                if not asked.url.startswith(("http://127.0.0.1", "data:", "blob:"))
                else None
            ),
        )
        page = context.new_page()
        page.goto(url)
        return page

    expect.set_options(timeout=live_page.PATIENCE)
    yield start
    for context in contexts:
        context.close()
    assert complaints == []


KINDS = (".", "api", "comparison", "inspect")


def pages_of(built: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(built)) for path in built.rglob("index.html"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_can_be_read(site: str, built: Path, open_site: Open, scheme: Scheme, width: int) -> None:
    """No serious finding of axe, nothing cut off, all pictures there."""
    page = open_site(site, viewport={"width": width, "height": 800}, color_scheme=scheme)
    found: dict[str, Any] = {}
    for name in pages_of(built):
        page.goto(f"{site}/{name}/")
        expect(page.locator("article h1")).to_be_visible()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)")
        assert (max(background[:3]) < 64) == (scheme == "dark")
        # axe takes seconds a page: all of them where most is found, and elsewhere, and of decisions, one of each kind.
        is_one_of_many = re.match(r"decisions/(?!0001)\d", name) is not None
        is_asked = ((width, scheme) == (390, "dark") and not is_one_of_many) or name in KINDS
        wrong = serious(page) if is_asked else []
        wrong += page.evaluate(
            """() => [...document.querySelectorAll("article pre code")]
                .filter((code) => code.checkVisibility() && code.scrollWidth > code.clientWidth + 1)
                .map((code) => `cut: ${code.innerText.slice(0, 60)}`)"""
        )
        wide = page.evaluate("document.documentElement.scrollWidth")
        wrong += [f"{wide} pixels wide"] if wide > width else []
        wrong += page.evaluate(
            """() => [...document.images].filter((image) => image.loading !== "lazy" && image.checkVisibility())
                .filter((image) => !image.naturalWidth || !image.hasAttribute("alt")).map((image) => image.src)"""
        )
        if wrong:
            found[name] = wrong
    assert found == {}


def test_names_of_settings_are_whole_on_a_telephone(site: str, open_site: Open) -> None:
    page = open_site(f"{site}/settings/", viewport={"width": 390, "height": 800})
    heights = page.evaluate(
        "[...document.querySelectorAll('article td:first-child code')].filter(e => e.innerText.startsWith('PIXELCORE_'))"
        ".map(e => e.getClientRects().length)"
    )
    assert len(heights) > 20
    assert set(heights) == {1}


def test_copies_can_be_pasted(site: str, open_site: Open) -> None:
    """The button of a console block copies its commands, each on a line, without the prompt."""
    page = open_site(site)
    tried = 0
    for source in ("index.md", "commands.md", "pixel-urls.md", "contract.md"):
        name = source.removesuffix(".md").replace("index", "")
        page.goto(f"{site}/{name}")
        written = [block for block in blocks(ROOT / "docs" / source) if block.kind == "console"]
        shown = page.locator("article .language-console")
        expect(shown).to_have_count(len(written))
        for number, block in enumerate(written):
            shown.nth(number).hover()
            page.evaluate("navigator.clipboard.writeText('')")
            shown.nth(number).locator("button[data-md-type=copy], .md-clipboard").first.click()
            page.wait_for_function("async () => (await navigator.clipboard.readText()) !== ''")
            copied = [line for line in page.evaluate("navigator.clipboard.readText()").splitlines() if line.strip()]
            commands = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
            continued = [line for line in copied if line not in commands]
            assert [line for line in copied if line in commands] == commands, f"{source}: {block.text}"
            assert all(f"\n{line}\n" in block.text and "\\\n" in block.text for line in continued), continued
            tried += 1
    assert tried > 10


@pytest.mark.parametrize(
    ("words", "page_name"),
    [
        ("helm", "limits"),
        ("certificate", "limits"),
        ("http2", "limits"),
        ("http/2", "limits"),
        ("webhook", "limits"),
        ("clickhouse", "sinks"),
        ("snowplow", "comparison"),
        ("easyprivacy", "pixel-urls"),
        ("PIXELCORE_PATHS", "settings"),
    ],
)
def test_search_finds(site: str, open_site: Open, words: str, page_name: str) -> None:
    page = open_site(site, viewport={"width": 1280, "height": 800})
    page.keyboard.press("/")
    expect(page.locator("input.md-search__input")).to_be_focused()
    page.keyboard.type(words)
    expect(page.locator(f".md-search-result__item a[href*='/{page_name}/']").first).to_be_visible()


def test_colours_can_be_chosen_by_keyboard(site: str, open_site: Open) -> None:
    page = open_site(site, color_scheme="light", viewport={"width": 1280, "height": 800})
    for expected in ("default", "slate"):
        button = page.locator("label[for^=__palette]:not([hidden])")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", expected)
    dark = page.locator("article img[src*='live-dark']")
    expect(dark).to_be_visible()
    expect(page.locator("article img[src*='live-light']")).to_be_hidden()

    def paper() -> object:
        drawing = page.locator("article img[src$='way.svg']").screenshot()
        return Image.open(io.BytesIO(drawing)).convert("RGB").getpixel((8, 12))

    dark_paper = tuple(bytes.fromhex(DARK["paper"][1:]))
    wait_for(lambda: paper() == dark_paper, 30, "it follows the choice, not the system")
    page.reload()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")


def test_the_first_screens_show_something(site: str, open_site: Open) -> None:
    """A picture is within the first thousand pixels, and icons are our own."""
    page = open_site(site, viewport={"width": 1280, "height": 800})
    for name in (
        "",
        "performance/",
        "durability/",
        "deploy/",
        "architecture/",
        "inspect/",
        "capacity/",
        "consumers/",
        "sinks/",
    ):
        page.goto(f"{site}/{name}")
        top = page.evaluate(
            "Math.min(...[...document.querySelectorAll('article img')].filter(e => e.checkVisibility())"
            ".map(e => e.getBoundingClientRect().top + scrollY))"
        )
        assert top < 1_000, name
    assert page.locator("link[rel=icon]").get_attribute("href") == "../pictures/icon.svg"
    expect(page.locator("header .md-logo img")).to_have_attribute("src", "../pictures/icon.svg")
