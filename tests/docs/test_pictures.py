"""The pictures of README and the site show the current state. ``make pictures`` takes them again after a change."""

from __future__ import annotations

import base64
import fcntl
import html
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat
from playwright.sync_api import Browser, Page, expect
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI
from rich.text import Text

from tests.support import live_page
from tests.support.live_page import Open, fire, with_page
from tests.support.paths import ROOT
from tests.support.servers import Server, clean_environment

# pytest finds fixtures by these names.
browser, open_page = live_page.browser, live_page.open_page

PICTURES = ROOT / "docs" / "pictures"
UPDATE = os.environ.get("UPDATE_PICTURES") == "1"
ALIKE = 3.0
"""The allowed mean difference of two pictures, out of 255. Times and plots change a picture by 0.5, an empty list by 6."""

Scheme = Literal["light", "dark"]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
CRAWLER = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
# Each request, and its User-Agent.
SCENE = [
    ("identify?wk=dk_live_abc123&uid=user_11111&t.plan=pro&t.seats=5", FIREFOX),
    ("track?wk=dk_live_abc123&e=Email+Opened&uid=user_98765&p.campaign.id=camp_001&p.tag=a&p.tag=b", PROXY),
    ("page?wk=dk_live_def456&e=Receipt&aid=anon_42&p.order.items.0.sku=A-1&p.order.items.1.sku=B-7", FIREFOX),
    ("track?wk=dk_live_abc123&e=Email+Opened&uid=user_31337&p.campaign.id=camp_001", CRAWLER),
    ("group?wk=dk_live_def456&gid=acme&uid=user_11111&t.name=ACME", FIREFOX),
    ("track?wk={{+key+}}&e=Email+Opened&uid=user_2", FIREFOX),
    ("track?wk=dk_live_abc123&e=Offer+Seen&uid=user_11111&p.offer=spring&p.price=9.90", FIREFOX),
    ("track?wk=dk_live_abc123&uid=user_7&p.campaign.id=camp_002", FIREFOX),
    ("page?wk=dk_live_def456&e=Welcome&aid=anon_43", FIREFOX),
]


def apart(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures are apart: 0 for the same, 255 for black and white."""
    small = [ImageOps.autocontrast(each.convert("L").resize((96, 60), Image.Resampling.BOX)) for each in (one, other)]
    return ImageStat.Stat(ImageChops.difference(*small)).mean[0]


def held(taken: bytes, name: str) -> Image.Image:
    """Compare a picture with the repository's, or replace the repository's."""
    path = PICTURES / f"{name}.png"
    if UPDATE:
        shown = Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
        shown.save(path, optimize=True)
    with Image.open(path) as there, Image.open(io.BytesIO(taken)) as now:
        assert abs(there.width - now.width) <= 40, f"{name}: make pictures"
        assert apart(there, now) < ALIKE, f"{name} shows something else: make pictures"
        return now.copy()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server, _ = with_page(tmp_path_factory.mktemp("pictures"))
    server.start()
    yield server
    server.kill()


def play(gateway: Server, page: Page) -> None:
    """Send the scene, and wait until the page has all of it."""
    for number, (target, agent) in enumerate(SCENE, start=1):
        fire(gateway, target.replace("{{+key+}}", "%7B%7B+key+%7D%7D"), **{"User-Agent": agent})
        expect(page.locator("#list li")).to_have_count(number)  # of two in one millisecond none is the first
    expect(page.locator("#accepted")).to_have_text("7")
    expect(page.locator("#rate-plot .line")).to_have_attribute("d", re.compile("L.*L"))


def stage(gateway: Server, page: Page) -> None:
    """The steps before the picture is taken."""
    page.fill("#form [name=key]", "dk_live_abc123")
    page.fill("#form [name=event]", "Email Opened")
    page.fill("#form [name=user_id]", "{{ user.id }}")
    page.fill("#form [name=properties]", "campaign.id=camp_001\ntag=a\ntag=b")
    page.evaluate("document.querySelector('#form [name=base]').value = 'https://px.example.com'")
    page.locator("#form [name=properties]").dispatch_event("input")
    expect(page.locator("#url")).to_have_value(re.compile("^https://px.example.com/.*tag=b$"))
    play(gateway, page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_live_page(gateway: Server, open_page: Open, scheme: Scheme) -> None:
    page = open_page(
        gateway, color_scheme=scheme, viewport={"width": 1280, "height": 760}, locale="en-GB", timezone_id="UTC"
    )
    stage(gateway, page)
    page.locator("#list .row", has_text="missing_event").click()
    expect(page.locator("#list .notes li")).to_have_count(2)
    taken = held(page.screenshot(), f"live-{scheme}")
    page.click("#clear")
    assert apart(taken, Image.open(io.BytesIO(page.screenshot()))) > ALIKE, "another state is another picture"


TYPED = [
    "curl -s 'http://localhost:PORT/v1/pixel/track?wk=dk_test_1&e=Hello&p.plan=pro' -o pixel.gif",
    "curl -s 'http://localhost:PORT/v1/pixel/track?wk=dk_test_1' -o pixel.gif",
    "pixelcore tail",
    "pixelcore tail --rejected",
]


class Terminal:
    """A terminal in whose directory a gateway runs."""

    def __init__(self, directory: Path, server: Server) -> None:
        self._directory = directory
        self._server = server

    def banner(self) -> str:
        """What the gateway's start prints, as ANSI text."""
        (banner,) = re.findall(r"^pixelcore \d[\s\S]*?^  live page.*$", self._server.log(), re.MULTILINE)
        # The path of Python, and the missing metrics, are peculiar to this test.
        banner = re.sub(r"(?<=  see the event  ).*", "pixelcore tail -f", banner)
        banner = re.sub(r"(?<=  metrics        ).*", "http://127.0.0.1:9108/metrics", banner)
        return self._general(f"$ pixelcore serve\n{banner}\n")

    def type(self, command: str) -> str:
        """A command and its output, as ANSI text."""
        return self._general(f"$ {command}\n{self._output(command)}".replace("PORT", str(self._server.port)))

    def _general(self, text: str) -> str:
        return text.replace(str(self._server.port), "8080")

    def _output(self, command: str) -> str:
        """The output on a terminal of 100 columns, with its colours."""
        here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = clean_environment({"PATH": path, "TERM": "xterm-256color", "COLUMNS": "100"})
        with subprocess.Popen(
            ["bash", "-c", command.replace("PORT", str(self._server.port))],
            cwd=self._directory,
            env=environment,
            stdin=there,
            stdout=there,
            stderr=there,
        ):
            os.close(there)
            printed = b""
            while True:
                try:
                    printed += os.read(here, 65_536)
                except OSError:  # the terminal's end
                    break
        os.close(here)
        return printed.decode().replace("\r", "")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("terminal")
    server = Server(directory, flags=("--data-dir", "pixelcore-data", "--metrics-address", ""))
    server.start()
    yield Terminal(directory, server)
    server.kill()


@pytest.fixture(scope="module")
def session(terminal: Terminal) -> str:
    """A terminal in which a gateway was started and asked, as ANSI text."""
    return terminal.banner() + "".join(map(terminal.type, TYPED))


PAPER = """<!doctype html><title>Terminal</title><style>
  body {{ margin: 0; padding: 18px 20px; width: 860px; background: {background}; color: {text}; }}
  pre {{ margin: 0; font: 13px/1.5 "DejaVu Sans Mono", ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }}
</style><pre>{printed}</pre>"""
COLOURS = {
    "light": {"background": "#ffffff", "text": "#1d1f23", "line": "#d0d3d9", "bar": "#f3f4f6"},
    "dark": {"background": "#1a1c20", "text": "#e6e6e3", "line": "#3b3f46", "bar": "#26292e"},
}


def as_html(printed: str, scheme: Scheme) -> str:
    """ANSI text with its colours."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(printed), soft_wrap=True)
    theme = DEFAULT_TERMINAL_THEME if scheme == "light" else MONOKAI
    return console.export_html(theme=theme, inline_styles=True, code_format="{code}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_terminal(browser: Browser, session: str, scheme: Scheme) -> None:
    printed = as_html(session, scheme)
    assert "missing_event" in html.unescape(printed)
    page = browser.new_page(viewport={"width": 900, "height": 400})
    page.set_content(PAPER.format(printed=printed, **COLOURS[scheme]))
    held(page.screenshot(full_page=True), f"terminal-{scheme}")
    page.close()


def in_columns(banner: str) -> str:
    """The banner on a narrow terminal: what is too long goes on below itself."""
    lines = (
        textwrap.wrap(line, 50, subsequent_indent=" " * 17, break_on_hyphens=False) for line in banner.splitlines()
    )
    return "".join(f"{line}\n" for wrapped in lines for line in wrapped)


@pytest.fixture(scope="module")
def steps(terminal: Terminal) -> dict[str, str]:
    """What a newcomer types first, and sees, as ANSI text. The live page comes last."""
    return {
        "1  Start the gateway": in_columns(terminal.banner()),
        "2  Load a pixel": terminal.type(
            "curl -sD - 'http://localhost:PORT/v1/pixel/track?wk=dk_test_1&e=Hello' -o p.gif"
        ),
        "3  See its event": terminal.type("pixelcore tail -n 1"),
    }


STRIP = """<!doctype html><title>First steps</title><style>
  body {{ margin: 0; padding: 1px; background: {background}; color: {text}; font: 600 13px/1 "DejaVu Sans", sans-serif; }}
  main {{ display: grid; grid-template-columns: repeat({across}, minmax(0, 1fr)); gap: 12px; }}
  section {{ display: flex; flex-direction: column; border: 1px solid {line}; border-radius: 8px; overflow: hidden; }}
  h2 {{ margin: 0; padding: 9px 12px; font: inherit; background: {bar}; border-bottom: 1px solid {line}; }}
  pre {{ margin: 0; padding: 10px 12px; white-space: pre-wrap; overflow-wrap: anywhere;
        font: 12px/1.45 "DejaVu Sans Mono", ui-monospace, monospace; }}
  section:last-child {{ grid-area: {live}; }}
  figure {{ margin: 0; flex: 1 0 380px; background: url({shown}) top / 100% no-repeat; }}
</style><main>{parts}<section><h2>4  Watch the live page</h2><figure></figure></section></main>"""
# On a computer the live page is beside the others, on a telephone below them: columns, the live page's cell, and the width of all.
LAYOUTS = {"wide": (2, "1 / 2 / span 3", 880), "narrow": (1, "auto", 390)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_steps(
    browser: Browser, open_page: Open, gateway: Server, steps: dict[str, str], scheme: Scheme, layout: str
) -> None:
    across, cell, width = LAYOUTS[layout]
    live = open_page(
        gateway,
        color_scheme=scheme,
        viewport={"width": 430, "height": 760},
        device_scale_factor=2,
        locale="en-GB",
        timezone_id="UTC",
    )
    play(gateway, live)
    live.mouse.click(0, 0)  # away from the button that it clicked last
    shown = f"data:image/png;base64,{base64.b64encode(live.screenshot()).decode()}"
    parts = "".join(
        f"<section><h2>{name}</h2><pre>{as_html(printed.strip(), scheme)}</pre></section>"
        for name, printed in steps.items()
    )
    page = browser.new_page(viewport={"width": width, "height": 200}, device_scale_factor=2)
    page.set_content(STRIP.format(across=across, live=cell, shown=shown, parts=parts, **COLOURS[scheme]))
    held(page.screenshot(full_page=True), f"first-{layout}-{scheme}")
    page.close()


# README has the first steps; the pages of the site also have the rest.
SHOWN = {
    "README.md": {f"first-{layout}-{scheme}.png" for layout in LAYOUTS for scheme in ("light", "dark")},
    "docs": {f"{name}-{scheme}.png" for name in ("live", "terminal") for scheme in ("light", "dark")},
}


@pytest.mark.parametrize("place", SHOWN)
def test_each_picture_is_shown(place: str) -> None:
    pages = [ROOT / place] if place.endswith(".md") else [*(ROOT / place).glob("*.md"), ROOT / "ARCHITECTURE.md"]
    shown = {name for page in pages for name in re.findall(r"pictures/([\w-]+\.\w+)", page.read_text())}
    assert all((PICTURES / name).is_file() for name in shown)
    assert SHOWN[place] <= shown
