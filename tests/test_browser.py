"""A real browser loads a page with the document's images, and their events are in Kafka."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.kafka.broker import Broker, External, unavailable
from tests.kafka.topics import read_committed
from tests.processes import OWN_GROUP
from tests.servers import kafka_settings

PAGE = Path(__file__).parent / "data" / "seed_images.html"

pytestmark = pytest.mark.kafka


@contextlib.contextmanager
def website(html: str) -> Iterator[str]:
    """A site of one page, with the strictest policy against what other sites embed into it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page"
            body = html.encode() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            # Under this policy a browser shows an image of another site only if its answer says cross-origin.
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def dump_dom(url: str, profile: Path) -> str:
    """The page as Chromium has it after its scripts ran."""
    if shutil.which("chromium") is None:
        unavailable("no chromium: install the package chromium, or run tests/system_packages.sh test")
    switches = (
        "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
        "disable-component-update disable-sync disable-dev-shm-usage dump-dom virtual-time-budget=10000"
    )
    process: subprocess.Popen[str] = subprocess.Popen(
        ["chromium", *(f"--{name}" for name in switches.split()), f"--user-data-dir={profile}", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        **OWN_GROUP,
    )
    try:
        return process.communicate(timeout=90)[0]
    finally:
        # Chromium is a family of processes, and some of them outlive a hurried parent.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


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
