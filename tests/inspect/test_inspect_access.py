"""The live page in a real Chromium: by keyboard, with sufficient contrast, and on a phone."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.support import live_page
from tests.support.accessibility import serious
from tests.support.live_page import Open, expect_titles, fire, narrowed, titles
from tests.support.servers import Server

# pytest finds fixtures by these names.
browser, shared, open_page = live_page.browser, live_page.shared, live_page.open_page


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.id || document.activeElement.innerText")
    return " ".join(found.split())


def test_the_keyboard_is_enough(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    press = page.keyboard.press
    for name in ("One", "Two", "Three"):
        fire(shared, f"page?wk=dk_1&e={name}")
    expect_titles(page, "Three", "Two", "One")

    press("/")
    assert focused(page) == "search"
    page.keyboard.type("j/p?")
    expect(page.locator("#search")).to_have_value("j/p?")
    with narrowed(page):
        page.fill("#search", "")
    press("Escape")
    expect_titles(page, "Three", "Two", "One")

    press("j")
    assert "Three" in focused(page)
    press("j")
    press("ArrowDown")
    press("j")
    assert "One" in focused(page), "the last one stays"
    press("k")
    press("ArrowUp")
    press("ArrowDown")
    assert "Two" in focused(page)
    fire(shared, "page?wk=dk_1&e=Four")
    expect(page.locator("#newer")).to_have_text("↑ 1 newer")
    press("Enter")
    expect(page.locator("#list [aria-expanded=true] .title")).to_have_text("Two")
    press("Tab")
    assert focused(page) == "Copy", "one stop in the list, and what it opened"
    press("Shift+Tab")
    press("Enter")
    expect(page.locator("#list [aria-expanded=true]")).to_have_count(0)
    press("Escape")
    expect_titles(page, "Four", "Three", "Two", "One")

    press("p")
    fire(shared, "page?wk=dk_1&e=Five")
    expect(page.locator("#note")).to_contain_text("Paused; 1 arrived since.")
    assert "Five" not in titles(page)
    press("p")
    expect_titles(page, "Five", "Four", "Three", "Two", "One")

    press("?")
    expect(page.locator("#keys")).to_be_visible()
    press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")
    press("Escape")
    expect(page.locator("#keys")).to_be_hidden()

    press("n")
    press("Tab")
    press("Tab")
    press("Control+A")
    page.keyboard.type("Typed")
    with page.expect_response("**/url"):
        press("Tab")
        page.keyboard.type("me")
    expect(page.locator("#url")).to_have_value(re.compile("e=Typed&uid=me$"))
    press("Enter")
    expect(page.locator("#result-text")).to_contain_text("Accepted")
    expect(page.locator("#list .title").first).to_have_text("Typed")
    outline = page.evaluate("getComputedStyle(document.querySelector('#form [name=user_id]')).outlineStyle")
    assert outline == "solid", "the focus is seen"


# Of the colour of a text and of what is behind it: WCAG 2.2, 1.4.3.
CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [[0.2126, r], [0.7152, g], [0.0722, b]].reduce((sum, [share, channel]) => {
    const c = channel / 255;
    return sum + share * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  }, 0);
  const contrast = (element) => {
    let below = element;
    while ((channels(getComputedStyle(below).backgroundColor)[3] ?? 1) === 0) below = below.parentElement;
    const a = light(channels(getComputedStyle(element).color));
    const b = light(channels(getComputedStyle(below).backgroundColor));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const texts = [...document.querySelectorAll("header *, main *")].filter((e) => e.checkVisibility() && e.innerText);
  return Object.fromEntries(texts.map((e) => [`${e.tagName}.${e.className}#${e.id} ${e.innerText}`, contrast(e)]));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_can_be_read(shared: Server, open_page: Open, scheme: Literal["light", "dark"]) -> None:
    page = open_page(shared, color_scheme=scheme)
    fire(shared, "track?wk=dk_1&e=E&uid=u&p.a=1")
    fire(shared, "track?wk=dk_1&uid=u&p.a=1")
    expect(page.locator("#list li")).to_have_count(2)
    page.locator("#list .row").first.click()
    page.click("#fire")
    expect(page.locator("#result-text")).to_contain_text("Accepted")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)")
    assert (max(background) < 64) == (scheme == "dark")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert {text: ratio for text, ratio in found.items() if ratio < 4.5} == {}


def test_a_telephone_will_do(shared: Server, open_page: Open) -> None:
    page = open_page(shared, viewport={"width": 360, "height": 740})
    fire(shared, f"track?wk=dk_1&e={'Long' * 50}&uid={'u' * 100}&p.{'path' * 40}={'v' * 200}")
    expect(page.locator("#list li")).to_have_count(1)
    page.locator("#list .row").click()
    page.click("#builder summary")
    page.click(".more summary")
    page.click("#fire")
    expect(page.locator("#result-text")).to_contain_text("Accepted")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    wide = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 361).length"
    )
    assert wide == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(
    shared: Server, open_page: Open, scheme: Literal["light", "dark"], width: int
) -> None:
    """In the list with an event and a rejection open, in the form with all of it, right and wrong, and in the dialogs."""
    page = open_page(shared, color_scheme=scheme, viewport={"width": width, "height": 800})
    expect(page.locator("#empty-text")).to_be_visible()
    assert serious(page) == []
    crawler = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
    fire(shared, "track?wk=dk_1&e=E&uid=u&p.a=1&ts=yesterday", **{"User-Agent": crawler})
    fire(shared, "track?wk=dk_1&uid=u&p.a=1")
    expect(page.locator("#list li")).to_have_count(2)
    for row in page.locator("#list .row").all():
        row.click()
    if width == 390:
        page.click("#builder summary")
    page.click(".more summary")
    page.fill("#form [name=key]", "no key")
    expect(page.locator("#fire")).to_be_disabled()
    assert serious(page) == []
    page.fill("#form [name=key]", "dk_1")
    page.click("#fire")
    expect(page.locator("#result-text")).to_contain_text("Accepted")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.click("#help")
    assert serious(page) == []
