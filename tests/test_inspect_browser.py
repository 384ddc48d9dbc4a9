"""The live page in a real Chromium: what somebody sees, types and clicks."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import pixelcore
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


def test_the_first_event(shared: Server, open_page: Open) -> None:
    """What README promises: open the URL that was printed, and see what comes."""
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
    """By what is in the list, and by what comes after: the server leaves out by the same filter."""
    page = open_page(shared)

    def come() -> None:
        fire(shared, "track?wk=dk_one&e=Alpha")
        fire(shared, "track?wk=dk_two&e=Beta&p.deep.down=Needle")
        fire(shared, "page?wk=dk_two&e=Gamma")
        fire(shared, "track?wk=dk_one&p.why=1")
        fire(shared, "nosuch?wk=dk_one")

    come()
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
    come()
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
    page.locator("#list .copy").click()
    expect(page.locator("#list .copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == expected
    row.click()
    expect(row).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#list pre")).to_have_count(0)


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
    expect(page.locator("#note")).to_contain_text("Paused; 1 came since.")
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


def test_the_form_fires_and_shows_what_it_became(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    page.select_option("#form [name=type]", "identify")
    expect(page.locator("#form [name=event]")).to_be_hidden()
    page.fill("#form [name=user_id]", "{{ user|id }}")
    page.fill("#form [name=traits]", "plan=pro\nseats=5")
    path = "/v1/pixel/identify?wk=dk_test_1&uid={{ user|id }}&t.plan=pro&t.seats=5"
    expect(page.locator("#url")).to_have_value(shared.url + path)
    tag = pixelcore.img_tag(shared.url + path, merge_tags=True)
    expect(page.locator("#img")).to_have_text(tag)
    page.click("#fire")
    expect(page.locator("#result-text")).to_have_text("Accepted; it became")
    made = event(shared, type="identify", userId="{{ user|id }}")
    assert made["traits"] == {"plan": "pro", "seats": "5"}
    assert "Chrome/" in made["context"]["userAgent"], "a real browser's image"
    assert json.loads(page.locator("#result-json").text_content() or "") == made

    page.fill("#form [name=traits]", "plan")
    expect(page.locator("#form-error")).to_have_text("traits: is not PATH=VALUE")
    page.fill("#form [name=traits]", "")
    expect(page.locator("#form-error")).to_have_text("")

    # The URL is as free as those of the world. What is rejected has a reason, and an own messageId may come twice.
    for round_ in range(2):
        page.fill("#url", f"{shared.url}/v1/pixel/track?wk=dk_test_1&p.no=event&mid=it%27s {round_}")
        page.click("#fire")
        expect(page.locator("#result-text")).to_have_text("Rejected: missing_event")
        expect(page.locator("#result-json")).to_contain_text(f"mid=it%27s%20{round_}")
        page.click("#fire")
        expect(page.locator("#rejected")).to_have_text(str(round_ * 2 + 2))

    # Elsewhere is for others: it is asked for here.
    page.fill("#url", "https://px.example.com/v1/pixel/page?wk=dk_test_1&e=Elsewhere")
    page.click("#fire")
    expect(page.locator("#result-text")).to_have_text("Accepted; it became")
    event(shared, name="Elsewhere")


def test_what_was_fired_is_found_under_load_and_behind_a_filter(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    with narrowed(page, "nowhere"):
        page.fill("#search", "nowhere")
    with pixelcore.Journal(shared.data_dir / "events") as journal:
        line = pixelcore.event("page", "wk=dk_1&e=Flood")
        for _ in range(20_000):
            journal.append(line)
        page.click("#fire")
        for _ in range(20_000):
            journal.append(line)
        expect(page.locator("#result-text")).to_have_text("Accepted; it became")
        expect(page.locator("#accepted")).to_have_text("40,001")
        with narrowed(page):
            page.fill("#search", "")
        for _ in range(20_000):
            journal.append(line)
        expect(page.locator("#note")).to_have_text(
            re.compile(r"Showing 1 of every [\d,]+ accepted, all rejected; the counts are exact\.")
        )
        expect(page.locator("#accepted")).to_have_text("60,001")
        assert 0 < page.locator("#list li").count() <= 500


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
    """A page outlives its gateway, says so, and goes on with the next one's token."""
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
