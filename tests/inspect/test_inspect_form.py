"""The live page's form in a real Chromium: its URL, and the outcome of a fired pixel."""

from __future__ import annotations

import json

import pixelcore
from playwright.sync_api import expect

from tests.support import live_page
from tests.support.live_page import Open, event, hears, narrowed
from tests.support.servers import Server

# pytest finds fixtures by these names.
browser, shared, open_page = live_page.browser, live_page.shared, live_page.open_page


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
        sampled = r"^Showing 1 of every [\d,]+ accepted, all rejected; the counts are exact\.$"
        with hears(page, "#note", sampled):
            for _ in range(20_000):
                journal.append(line)
        expect(page.locator("#accepted")).to_have_text("60,001")
        assert 0 < page.locator("#list li").count() <= 500
