"""The live page in a real Chromium: its help for somebody whose pixel does not work yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pixelcore
import pytest
from pixelcore._core import REASONS
from pixelcore.reasons import WORDS
from playwright.sync_api import expect

from tests.support import live_page
from tests.support.live_page import Open, event, expect_titles, fire, hears, narrowed, page_url, with_page
from tests.support.servers import Server

# pytest finds fixtures by these names.
browser, open_page = live_page.browser, live_page.open_page

GOOGLE = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
NIL = "00000000-0000-0000-0000-000000000000"
CRAWLER = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One gateway with paths of its own for all tests here."""
    server, _ = with_page(
        tmp_path_factory.mktemp("tools"), PIXELCORE_PATHS="/img/header=track,/img/footer=track,/hi=page"
    )
    server.start()
    yield server
    server.kill()


def test_a_wrong_form_fires_and_copies_nothing(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    buttons = page.locator("#form .buttons button")
    for button in buttons.all():
        expect(button).to_be_enabled()
    page.fill("#form [name=key]", "no key")
    expect(page.locator("#form-error")).to_contain_text("key: 'no key' is not 1 to 64")
    for button in buttons.all():
        expect(button).to_be_disabled()
    expect(page.locator("#url")).to_have_value("")
    expect(page.locator("#img")).to_have_text("")
    page.press("#form [name=key]", "Enter")
    page.fill("#form [name=key]", "dk_good")
    page.press("#form [name=key]", "Enter")  # within the moment in which the URL is made
    expect(page.locator("#form-error")).to_have_text("")
    page.click("#fire")
    expect(page.locator("#result-text")).to_have_text("Accepted; it became")
    assert {made["pipelineKey"] for made in shared.events()} == {"dk_good"}

    # A URL by hand is free, and the tag is of that URL.
    page.fill("#url", "nowhere")
    expect(page.locator("#fire")).to_be_disabled()
    by_hand = f"{shared.url}/v1/pixel/track?wk=no key&e=By hand"
    page.fill("#url", by_hand)
    expect(page.locator("#fire")).to_be_enabled()
    expect(page.locator("#img")).to_have_text(pixelcore.img_tag(by_hand, merge_tags=True))
    page.click("#fire")
    expect(page.locator("#result-text")).to_have_text("Rejected: malformed_key")


def test_what_is_copied_is_what_the_form_says_now(shared: Server, open_page: Open) -> None:
    page = open_page(shared, permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#fire")).to_be_enabled()
    page.fill("#form [name=event]", "Now")
    with hears(page, "[data-copy=url]", "^Copied$"):
        page.click("[data-copy=url]")
    assert page.evaluate("navigator.clipboard.readText()") == f"{shared.url}/v1/pixel/track?wk=dk_test_1&e=Now"


def test_own_paths_are_offered_for_their_type(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    paths = page.locator("#form [name=path]")
    expect(paths.locator("option")).to_have_text(["/v1/pixel/track", "/img/header", "/img/footer"])
    paths.select_option("/img/footer")
    expect(page.locator("#url")).to_have_value(f"{shared.url}/img/footer?wk=dk_test_1&e=Hello")
    page.fill("#form [name=event]", "By its own path")
    expect(page.locator("#url")).to_have_value(f"{shared.url}/img/footer?wk=dk_test_1&e=By%20its%20own%20path")
    page.click("#fire")
    expect(page.locator("#result-text")).to_have_text("Accepted; it became")
    event(shared, event="By its own path")
    page.select_option("#form [name=type]", "page")
    expect(paths.locator("option")).to_have_text(["/v1/pixel/page", "/hi"])
    page.select_option("#form [name=type]", "group")
    expect(paths).to_be_hidden()
    expect(page.locator("#url")).to_have_value(f"{shared.url}/v1/pixel/group?wk=dk_test_1")


def test_every_reason_has_words() -> None:
    assert set(REASONS) <= WORDS.keys()
    for means, repair in WORDS.values():
        assert means.endswith(".")
        assert repair


def test_a_rejection_says_what_repairs_it(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    fire(shared, "track?wk=dk_1&uid=u1")
    page.locator("#list .row").click()
    notes = page.locator("#list .notes li")
    expect(notes.nth(0)).to_have_text("missing_event: A track needs the name of its event. Put it into the URL: e=…")
    expect(notes.nth(1)).to_contain_text("pixelcore replay --reason missing_event")
    page.fill("#url", f"{shared.url}/v1/pixel/open?wk=dk_1")
    expect(page.locator("#fire")).to_be_enabled()
    page.click("#fire")
    expect(page.locator("#result-notes li").first).to_contain_text("unknown_type: ")


def test_an_event_says_what_was_repaired(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    fire(shared, "track?wk=dk_1&e=Repaired&ts=yesterday")
    page.locator("#list .row").click()
    expect(page.locator("#list .notes")).to_have_text('ts was repaired; the sender\'s value is "yesterday".')


def test_an_event_says_which_ids_are_nobodys(shared: Server, open_page: Open) -> None:
    page = open_page(shared)
    fire(shared, "track?wk=dk_1&e=Nobody&uid=undefined&aid=CLIENT_ID(x)&gid=%7B%7Bid%7D%7D&mid=" + NIL)
    page.locator("#list .row").click()
    expect(page.locator("#list .notes li")).to_have_text(
        [
            "userId is nobody's: \"undefined\" is a program's word for nothing.",
            'anonymousId is nobody\'s: "CLIENT_ID(x)" is a variable of AMP that nobody filled.',
            'groupId is nobody\'s: "{{id}}" is a merge tag that nobody filled.',
            f'messageId is nobody\'s: "{NIL}" is the UUID of zeros.',
        ]
    )
    assert json.loads(page.locator("#list pre").inner_text()) == event(shared, event="Nobody")
    page.locator("#list .row").click()
    fire(shared, "track?wk=dk_1&e=Somebody&uid=u1")
    page.locator("#list li", has_text="Somebody").locator(".row").click()
    expect(page.locator("#list .notes")).to_be_hidden()


def test_clients_have_a_badge_and_a_filter(shared: Server, open_page: Open) -> None:
    page = open_page(shared)

    def come() -> None:
        fire(shared, "track?wk=dk_1&e=Mail", **{"User-Agent": GOOGLE})
        fire(shared, "track?wk=dk_1&e=Crawler", **{"User-Agent": CRAWLER})
        fire(
            shared,
            "track?wk=dk_1&e=Person",
            **{"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"},
        )

    come()
    expect_titles(page, "Person", "Crawler", "Mail")
    made = event(shared, event="Crawler")["context"]["client"]
    assert made["automated"] is True
    badge = page.locator("#list li", has_text="Crawler").locator(".client")
    expect(badge).to_have_text(f"{made['name']} automated")
    page.select_option("#client", "automated")
    expect_titles(page, "Crawler")
    page.select_option("#client", "people")
    expect_titles(page, "Person", "Mail")
    name = event(shared, event="Mail")["context"]["client"]["name"]
    with narrowed(page, json.dumps(name)):
        page.select_option("#client", f"name:{name}")
    expect_titles(page, "Mail")
    page.click("#clear")
    come()
    expect_titles(page, "Mail")
    page.locator("#list .row").first.click()


def test_filters_are_in_the_address_and_the_token_is_not(shared: Server, open_page: Open) -> None:
    page = open_page(shared, permissions=["clipboard-read", "clipboard-write"])
    fire(shared, "track?wk=dk_shared&e=Wanted")
    expect_titles(page, "Wanted")
    fire(shared, "track?wk=dk_shared")
    expect_titles(page, "missing_event", "Wanted")  # of two in one millisecond none is the first
    fire(shared, "track?wk=dk_other&e=Other")
    expect_titles(page, "Other", "missing_event", "Wanted")
    page.select_option("#pipeline", "dk_shared")
    page.select_option("#outcome", "reason:missing_event")
    page.fill("#search", "wk dk")
    expect_titles(page, "missing_event")
    page.keyboard.press("Escape")  # leaves the field
    with hears(page, "#link", "^Copied$"):
        page.keyboard.press("l")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.partition("#")[2] == "search=wk+dk&pipeline=dk_shared&outcome=reason%3Amissing_event"
    page.reload()
    expect(page.locator("#search")).to_have_value("wk dk")
    expect_titles(page, "missing_event")
    # Somebody else opens the link, and has a token of their own.
    other = open_page(shared, link, live=False)
    expect(other.locator("#ask")).to_be_visible()
    other.fill("#ask-token", page_url(shared))
    other.keyboard.press("Enter")
    expect_titles(other, "missing_event")
    expect(other.locator("#pipeline")).to_have_value("dk_shared")
    expect(other.locator("#outcome")).to_have_value("reason:missing_event")
    other.fill("#search", "")
    other.select_option("#pipeline", "")
    other.select_option("#outcome", "")
    expect(other).to_have_url(page_url(shared).partition("#")[0])


def test_what_is_shown_is_exported(shared: Server, open_page: Open, tmp_path: Path) -> None:
    page = open_page(shared)
    expect(page.locator("#export")).to_be_disabled()
    for name in ("A", "B"):
        fire(shared, f"track?wk=dk_1&e={name}&p.kept=yes")
    fire(shared, "track?wk=dk_1&e=C")
    page.fill("#search", "kept")
    expect_titles(page, "B", "A")
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "pixelcore.ndjson"
    download.value.save_as(tmp_path / "saved.ndjson")
    lines = (tmp_path / "saved.ndjson").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [event(shared, event="A"), event(shared, event="B")]
    page.fill("#search", "nowhere")
    expect(page.locator("#export")).to_be_disabled()
