"""A real browser loads a page with the document's images, and their events are in Kafka."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, External
from tests.kafka.topics import read_committed
from tests.support.paths import DATA
from tests.support.servers import Serve, kafka_settings
from tests.support.website import dump_dom, website

PAGE = DATA / "seed_images.html"

pytestmark = pytest.mark.kafka


def test_a_browser_loads_the_pixels(serve: Serve, broker: Broker | External, topic: str, tmp_path: Path) -> None:
    server = serve(kafka_settings(broker.bootstrap, topic))
    html = PAGE.read_text().replace("https://data.example.com", server.url)
    with website(html) as site:
        dom = dump_dom(f"{site}/page", tmp_path / "profile")

    written = dict(re.findall(r'<p id="(\w+)">([^<]*)</p>', dom))
    assert written == {"sizes": "1x1 1x1 1x1", "canvas": "1x1 alpha 0"}, dom

    events = [message.event for message in read_committed(broker.bootstrap, topic, expect=4)]
    assert sorted(event.get("event", event["type"]) for event in events) == [
        "Canvas",
        "Email Opened",
        "Purchase",
        "page",
    ]
    for event in events:
        # All that a browser tells another site about the page is its origin.
        assert event["context"]["page"]["url"] == f"{site}/"
        assert "Chrome/" in event["context"]["userAgent"]
        assert event["context"]["ip"] == "127.0.0.1"
