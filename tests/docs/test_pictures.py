"""The pictures of README and the site show the current state. ``make pictures`` takes them again after a change."""

from __future__ import annotations

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
        shown = Image.open(io.BytesIO(taken)).convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
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


def stage(gateway: Server, page: Page) -> None:
    """The steps before the picture is taken."""
    page.fill("#form [name=key]", "dk_live_abc123")
    page.fill("#form [name=event]", "Email Opened")
    page.fill("#form [name=user_id]", "{{ user.id }}")
    page.fill("#form [name=properties]", "campaign.id=camp_001\ntag=a\ntag=b")
    page.evaluate("document.querySelector('#form [name=base]').value = 'https://px.example.com'")
    page.locator("#form [name=properties]").dispatch_event("input")
    expect(page.locator("#url")).to_have_value(re.compile("^https://px.example.com/.*tag=b$"))
    for number, (target, agent) in enumerate(SCENE, start=1):
        fire(gateway, target.replace("{{+key+}}", "%7B%7B+key+%7D%7D"), **{"User-Agent": agent})
        expect(page.locator("#list li")).to_have_count(number)  # of two in one millisecond none is the first
    expect(page.locator("#accepted")).to_have_text("7")
    expect(page.locator("#rate-plot .line")).to_have_attribute("d", re.compile("L.*L"))


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
    "pixelcore tail --data-dir pixelcore-data",
    "pixelcore tail --rejected --data-dir pixelcore-data",
]


def in_terminal(command: str, directory: Path) -> str:
    """The output of a command on a terminal of 100 columns, with its colours."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = clean_environment({"PATH": path, "TERM": "xterm-256color", "COLUMNS": "100"})
    with subprocess.Popen(
        ["bash", "-c", command], cwd=directory, env=environment, stdin=there, stdout=there, stderr=there
    ):
        os.close(there)
        printed = b""
        while True:
            try:
                printed += os.read(here, 65_536)
            except OSError:  # the terminal's end
                break
    os.close(here)
    return printed.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A terminal in which a gateway was started and asked, as ANSI text."""
    directory = tmp_path_factory.mktemp("terminal")
    flags = ("--data-dir", "pixelcore-data", "--metrics-address", "")
    server = Server(directory, flags=flags)
    server.start()
    try:
        (banner,) = re.findall(r"^pixelcore \d[\s\S]*?^  live page.*$", server.log(), re.MULTILINE)
        shown = [f"$ pixelcore serve\n{banner}\n"]
        for command in TYPED:
            printed = in_terminal(command.replace("PORT", str(server.port)), directory)
            shown.append(f"$ {command.replace(' --data-dir pixelcore-data', '')}\n{printed}")
    finally:
        server.kill()
    text = (
        "".join(shown)
        .replace("PORT", "8080")
        .replace(str(server.port), "8080")
        .replace(" --data-dir pixelcore-data", "")
    )
    # The path of Python, and the missing metrics, are peculiar to this test.
    text = re.sub(r"(?<=  see the event  ).*", "pixelcore tail -f", text)
    return re.sub(r"(?<=  metrics        ).*", "http://127.0.0.1:9108/metrics", text)


PAPER = """<!doctype html><title>Terminal</title><style>
  body {{ margin: 0; padding: 18px 20px; width: 860px; background: {background}; color: {text}; }}
  pre {{ margin: 0; font: 13px/1.5 "DejaVu Sans Mono", ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }}
</style><pre>{printed}</pre>"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_terminal(browser: Browser, session: str, scheme: Scheme) -> None:
    theme = DEFAULT_TERMINAL_THEME if scheme == "light" else MONOKAI
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(session), soft_wrap=True)
    printed = console.export_html(theme=theme, inline_styles=True, code_format="{code}")
    colours = ("#ffffff", "#1d1f23") if scheme == "light" else ("#1a1c20", "#e6e6e3")
    assert "missing_event" in html.unescape(printed)
    page = browser.new_page(viewport={"width": 900, "height": 400})
    page.set_content(PAPER.format(background=colours[0], text=colours[1], printed=printed))
    held(page.screenshot(full_page=True), f"terminal-{scheme}")
    page.close()


@pytest.mark.parametrize("place", ["README.md", "docs"])
def test_each_picture_is_shown(place: str) -> None:
    pages = [ROOT / place] if place.endswith(".md") else [*(ROOT / place).glob("*.md"), ROOT / "ARCHITECTURE.md"]
    shown = {name for page in pages for name in re.findall(r"pictures/([\w-]+\.\w+)", page.read_text())}
    assert all((PICTURES / name).is_file() for name in shown)
    assert {f"{name}-{scheme}.png" for name in ("live", "terminal") for scheme in ("light", "dark")} <= shown
