"""The live page in a real Chromium: the list, the notes on events and rejections, and the token."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import expect

from tests.support import live_page
from tests.support.live_page import Open, event, expect_titles, fire, hears, narrowed, page_url, with_page
from tests.support.servers import Server

# pytest finds fixtures by these names.
browser, shared, open_page = live_page.browser, live_page.shared, live_page.open_page


def test_the_first_event(shared: Server, open_page: Open) -> None:
    """README's promise: open the printed URL, and see new events."""
    page = open_page(shared)
    assert page.url.endswith("/"), "the token is not in the address bar, which gets copied"
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#empty-text")).to_be_visible()
    fire(shared, "track?wk=dk_1&e=First&uid=u1&p.a.b=1&p.c=2&p.c=3", Referer="https://shop.example/")
    row = page.locator("#list li").first
    expect(row.locator(".title")).to_have_text("First")
    expect(row.locator(".who")).to_have_text("u1")
    expect(row.locator(".detail")).to_have_text("a.b=1 c=2,3")
    expect(page.locator("#empty-text")).to_be_hidden()
    fire(shared, "track?wk=dk_1&p.a=1")
    expect_titles(page, "missing_event", "First")  # of two in one millisecond none is the first
    fire(shared, "page?wk=dk_1&e=Second")
    expect_titles(page, "Second", "missing_event", "First")
    expect(page.locator("#list li.rejected")).to_have_count(1)
    expect(page.locator("#accepted")).to_have_text("2")
    expect(page.locator("#rejected")).to_have_text("1")
    expect(page.locator("#rate-plot .line")).to_have_attribute("d", re.compile(r"^M\d.*L"))
    expect(page.locator("#lag-plot")).to_have_attribute("aria-label", re.compile("no Kafka is set"))
    page.reload()
    expect(page.locator("#list li")).not_to_have_count(0)


FILTERED: list[tuple[str, dict[str, str], list[str]]] = [
    # name, the filters, the titles that are left
    ("none", {}, ["unknown_type", "missing_event", "Gamma", "Beta", "Alpha"]),
    ("text", {"search": "needle"}, ["Beta"]),
    ("text in any case", {"search": "NEEDLE"}, ["Beta"]),
    ("text of a rejection", {"search": "p.why"}, ["missing_event"]),
    ("two words", {"search": "dk_one track"}, ["missing_event", "Alpha"]),
    ("nothing", {"search": "nowhere"}, []),
    ("a pipeline", {"pipeline": "dk_one"}, ["unknown_type", "missing_event", "Alpha"]),
    ("another pipeline", {"pipeline": "dk_two"}, ["Gamma", "Beta"]),
    ("a type", {"type": "page"}, ["Gamma"]),
    ("any other type", {"type": "other"}, ["unknown_type"]),
    ("accepted", {"outcome": "accepted"}, ["Gamma", "Beta", "Alpha"]),
    ("rejected", {"outcome": "rejected"}, ["unknown_type", "missing_event"]),
    ("a reason", {"outcome": "reason:missing_event"}, ["missing_event"]),
    ("all of them", {"pipeline": "dk_one", "type": "track", "outcome": "accepted", "search": "alpha"}, ["Alpha"]),
]


def test_search_and_filters(shared: Server, open_page: Open) -> None:
    """A filter applies to the list and to new events, and the server uses the same filter."""
    page = open_page(shared)

    def come(accepted: int) -> None:
        fire(shared, "track?wk=dk_one&e=Alpha")
        fire(shared, "track?wk=dk_two&e=Beta&p.deep.down=Needle")
        fire(shared, "page?wk=dk_two&e=Gamma")
        expect(page.locator("#accepted")).to_have_text(str(accepted))  # of two in one millisecond none is the first
        fire(shared, "track?wk=dk_one&p.why=1")
        fire(shared, "nosuch?wk=dk_one")

    come(3)
    expect_titles(page, *FILTERED[0][2])
    for name, filters, expected in FILTERED:
        for control in ("pipeline", "type", "outcome"):
            page.select_option(f"#{control}", filters.get(control, ""))
        page.fill("#search", filters.get("search", ""))
        expect_titles(page, *expected)
        assert page.locator("#empty-text").is_visible() == (expected == []), name
    with narrowed(page, "beta", "dk_two"):
        page.fill("#search", "beta")
        page.select_option("#pipeline", "dk_two")
        page.select_option("#outcome", "")
        page.select_option("#type", "")
    page.click("#clear")
    come(6)
    expect_titles(page, "Beta")
    page.fill("#search", "")
    expect_titles(page, "Beta")


def test_an_entry_opens_to_its_very_json(shared: Server, open_page: Open) -> None:
    """Members in their order, and copied whole."""
    page = open_page(shared, permissions=["clipboard-read", "clipboard-write"])
    fire(shared, "track?wk=dk_1&e=Open&p.9=a&p.1=b&p.q=%22%5C%7B%5B,:%0A&p.list=1&p.list=2&p.empty=")
    row = page.locator("#list .row")
    row.click()
    expect(row).to_have_attribute("aria-expanded", "true")
    expected = json.dumps(event(shared, event="Open"), indent=2, ensure_ascii=False)
    expect(page.locator("#list pre")).to_be_visible()
    assert page.locator("#list pre").text_content() == expected
    with hears(page, "#list .copy", "^Copied$"):
        page.locator("#list .copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == expected
    row.click()
    expect(row).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#list pre")).to_have_count(0)


BAD = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'><svg onload=alert(3)>"


def test_texts_of_strangers_are_texts(shared: Server, open_page: Open) -> None:
    """In every place that a request can write to."""
    page = open_page(shared)
    bad = quote(BAD)
    fire(shared, f"track?wk=dk_1&e={bad}&uid={bad}&mid={bad}&p.{bad}.x={bad}&utm_source={bad}", **{"User-Agent": BAD})
    fire(shared, f"{bad}?wk={bad}&{bad}={bad}", Referer=BAD)
    fire(shared, "track?wk=dk_1&e=E&p.__proto__.x=1&p.constructor=2")
    expect(page.locator("#list li")).to_have_count(3)
    for row in page.locator("#list .row").all():
        row.click()
    expect(page.locator("#list pre")).to_have_count(3)
    bad_one = page.locator("#list li", has=page.locator(".title", has_text=BAD))
    assert bad_one.locator("pre").text_content() == json.dumps(event(shared, messageId=BAD), indent=2)
    page.fill("#form [name=event]", BAD)
    page.fill("#form [name=properties]", f"{BAD}={BAD}")
    expect(page.locator("#img")).to_contain_text("onerror")
    page.click("#fire")
    expect(page.locator("#result-text")).to_have_text("Accepted; it became")
    assert page.locator("main :is(img, script, svg), #list *[onload]").count() == 0


def test_nothing_moves_under_the_hands_of_a_reader(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    for name in ("One", "Two"):
        fire(shared, f"page?wk=dk_1&e={name}")
    expect_titles(page, "Two", "One")
    row = page.locator("#list .row", has_text="One")
    row.click()
    for number in range(40):
        fire(shared, f"page?wk=dk_1&e=New{number}")
    expect(page.locator("#newer")).to_have_text("↑ 40 newer")
    expect_titles(page, "Two", "One")
    row.click()
    expect(page.locator("#list li")).to_have_count(42)
    expect(page.locator("#newer")).to_be_hidden()
    page.locator("#list .row").nth(5).click()
    fire(shared, "page?wk=dk_1&e=Last")
    page.click("#newer")
    expect(page.locator("#list .title").first).to_have_text("Last")


def test_another_gateway_asks_for_its_token(open_page: Open, tmp_path: Path) -> None:
    """A page outlives its gateway, reports the break, and continues with the next one's token."""
    server, _ = with_page(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        page = open_page(server, may_complain="401|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|Failed to load")
        fire(server, "page?wk=dk_1&e=Before")
        expect_titles(page, "Before")
        server.terminate()
        expect(page.locator("#state")).to_have_text("reconnecting")
        server.start()
        expect(page.locator("#ask")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#ask")).to_be_visible()
        page.fill("#ask-token", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("no token")
        page.fill("#ask-token", page_url(server))
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("live")
        expect(page.locator("#note")).to_contain_text("The connection broke")
        fire(server, "page?wk=dk_1&e=After")
        expect_titles(page, "After", "Before")


def test_without_a_token_there_is_only_the_question(shared: Server, open_page: Open) -> None:
    bare = page_url(shared).partition("#")[0]
    page = open_page(shared, bare, live=False)
    expect(page.locator("#ask")).to_be_visible()
    page.goto(page_url(shared))
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#ask")).to_be_hidden()
