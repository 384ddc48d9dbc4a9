"""The drawn pictures: those of the repository are what docs/drawings.py draws, and can be read in both schemes and on a telephone."""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Browser

from docs import drawings
from tests.support import live_page
from tests.support.paths import ROOT

# pytest finds fixtures by these names.
browser = live_page.browser

TELEPHONE = 358
"""Pixels that a picture has on a page of a telephone of 390."""
READABLE = 9.0

BOXES = """() => {
  const box = (element) => { const {x, y, width, height} = element.getBBox(); return [x, y, x + width, y + height]; };
  return {
    texts: [...document.querySelectorAll("text")].map((text) => [text.textContent, box(text)]),
    rects: [...document.querySelectorAll("rect:not(.paper):not(.frame)")].map(box),
    lines: [...document.querySelectorAll("path.way, path.life")].map((path) => {
      const points = [];
      for (let at = 0; at <= path.getTotalLength(); at += 2) {
        const {x, y} = path.getPointAtLength(at);
        points.push([x, y]);
      }
      return points;
    }),
  };
}"""


@pytest.mark.parametrize("name", drawings.DRAWN)
def test_a_picture_is_what_is_drawn(name: str) -> None:
    drawn = drawings.DRAWN[name]().svg()
    assert (drawings.PICTURES / f"{name}.svg").read_text() == drawn, "python -m docs.drawings draws them again"
    root = ElementTree.fromstring(drawn)
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert not re.findall(r'\b(?:href|src)="|@import|url\((?!#)', drawn), "it loads something"


def test_nothing_else_is_drawn() -> None:
    assert {path.stem for path in drawings.PICTURES.glob("*.svg")} == set(drawings.DRAWN)


def test_each_is_shown_on_a_page() -> None:
    pages = [ROOT / "ARCHITECTURE.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"pictures/([\w-]+)\.svg", page.read_text())}
    assert shown == set(drawings.DRAWN)


def overlaps(one: list[float], other: list[float], slack: float = 1.0) -> bool:
    """Whether two boxes have more than ``slack`` in common."""
    return all(min(one[end + 2], other[end + 2]) - max(one[end], other[end]) > slack for end in (0, 1))


def inside(one: list[float], other: list[float]) -> bool:
    return other[0] <= one[0] and other[1] <= one[1] and one[2] <= other[2] and one[3] <= other[3]


@pytest.mark.parametrize("name", drawings.DRAWN)
def test_a_picture_can_be_read(browser: Browser, name: str) -> None:
    """No text leaves the picture or its box, or is on top of another text or an arrow."""
    page = browser.new_page(viewport={"width": 600, "height": 900})
    page.set_content(drawings.DRAWN[name]().svg())
    found: dict[str, Any] = page.evaluate(BOXES)
    size = "(({width, height}) => [width, height])(document.querySelector('svg').viewBox.baseVal)"
    width, height = page.evaluate(size)
    page.close()
    wrong = []
    for number, (text, box) in enumerate(found["texts"]):
        if not inside(box, [4, 0, width - 4, height]):
            wrong.append(f"{text!r} leaves the picture")
        wrong += [f"{text!r} is on {other!r}" for other, at in found["texts"][number + 1 :] if overlaps(box, at, 2.0)]
        wrong += [
            f"{text!r} leaves its box" for rect in found["rects"] if overlaps(box, rect) and not inside(box, rect)
        ]
        core = [box[0] + 2, box[1] + 4, box[2] - 2, box[3] - 4]
        wrong += [
            f"{text!r} is on an arrow"
            for points in found["lines"]
            if any(core[0] < x < core[2] and core[1] < y < core[3] for x, y in points)
        ]
    assert wrong == []


def test_texts_are_large_enough_for_a_telephone() -> None:
    assert min(drawings.FONT, drawings.SMALL) * TELEPHONE / drawings.WIDTH >= READABLE


@pytest.mark.parametrize(("scheme", "colours"), [("light", drawings.LIGHT), ("dark", drawings.DARK)])
def test_a_picture_follows_the_scheme(browser: Browser, scheme: Any, colours: dict[str, str]) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 500, "height": 400})
    page.goto((drawings.PICTURES / "way.svg").as_uri())
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.close()
    assert taken.getpixel((5, 5)) == tuple(bytes.fromhex(colours["paper"][1:]))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = (part / 255 for part in bytes.fromhex(colour[1:]))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colours", [drawings.LIGHT, drawings.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "box", "store", "kept", "lost", "again"])
def test_texts_have_contrast(colours: dict[str, str], ground: str) -> None:
    for name in ("ink", "soft"):
        bright, dim = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, name
