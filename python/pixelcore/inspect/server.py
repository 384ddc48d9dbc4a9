"""The live page's server: a token, a few files, and a stream of journaled lines.

Python's own HTTP server is enough, because pages are few. Each page has a thread that reads lines only when it can write them. So
a slow page gets a thinner sample and not a longer queue, and without a page there is no thread.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .. import __version__
from .._core import REASONS, doubt
from ..address import HostPort
from ..errors import JournalError
from ..journals import EVENTS, REJECTIONS
from ..observing.backlog import BacklogScanner
from ..observing.stalls import notices
from ..reasons import WORDS
from ..settings import Settings
from .feed import Feed, Wanted
from .pixel import build

log = logging.getLogger("pixelcore")

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SHOWN_AS = {EVENTS: "accepted", REJECTIONS: "rejected"}
IDS = ("userId", "anonymousId", "groupId", "messageId")

TICK_SECONDS = 0.1
COUNT_SECONDS = 1.0
PAGES = 8
"""The most open pages. Each has its own reader."""
IO_SECONDS = 20.0
"""A page that accepts nothing for so long is closed. A connection without a whole request is also closed."""
MAX_BODY = 64 << 10


class Server(ThreadingHTTPServer):
    """Serves the page of one gateway. Raises ``OSError`` if the address cannot be used."""

    daemon_threads = True

    def __init__(self, settings: Settings, gateway: str) -> None:
        address = HostPort.parse(settings.inspect_address)
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)
        self.settings = settings
        self.gateway = gateway
        self.token = secrets.token_urlsafe(24)
        # The token is in the fragment, which browsers never send.
        self.url = f"http://{settings.inspect_address}/#token={self.token}"
        self.hosts = {"127.0.0.1", "localhost", "::1", address.host}
        self.feeds: dict[str, Feed] = {}
        self._scanners = {
            EVENTS: BacklogScanner(settings.data_dir / EVENTS, settings.ships),
            REJECTIONS: BacklogScanner(settings.data_dir / REJECTIONS, ships=False),
        }
        self._lock = threading.Lock()

    @property
    def policy(self) -> dict[str, str]:
        """Headers of every answer. The page shows strangers' texts, which cannot run or load anything even as markup."""
        images = f"img-src 'self' http://127.0.0.1:* http://localhost:* {self.gateway}"
        return {
            "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; {images};"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def lag(self) -> dict[str, Any]:
        """The bytes of the journals, and the lag of the events: in events, bytes and seconds."""
        with self._lock:
            found = self._scanners[EVENTS].scan()
            rejections = self._scanners[REJECTIONS].scan()
        age = 0.0 if found.oldest is None else max(0.0, time.time() - found.oldest)
        lag = {"events": found.lag_events, "bytes": found.lag_bytes, "seconds": age} if self.settings.ships else None
        stall = "; ".join(notice.text for notice in notices(self.settings.data_dir))
        return {"lag": lag, "journalBytes": {EVENTS: found.bytes, REJECTIONS: rejections.bytes}, "stall": stall}

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log an error, unless a page has only closed its connection."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            log.exception("the live page failed to answer")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IO_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Answer with the page's files, which are public, or with the journaled lines if the token is right."""
        path, _, query = self.path.partition("?")
        name = path.removeprefix("/") or "index.html"
        if not self._is_at_home():
            self._answer(HTTPStatus.FORBIDDEN)
        elif any(file.name == name for file in STATIC.iterdir()):
            file = STATIC / name
            self._answer(HTTPStatus.OK, file.read_bytes(), f"{MEDIA_TYPES[file.suffix]}; charset=utf-8")
        elif path == "/feed":
            # An EventSource cannot send headers.
            asked = parse_qs(query)
            if self._knows(asked.get("token", [""])[0]):
                self._stream(is_new="past" not in asked)
        elif path == "/lag":
            if self._has_token():
                self._answer_json(self.server.lag())
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Answer a page's request to build a URL, or to show other lines."""
        length = self.headers.get("Content-Length", "")
        if not self._is_at_home():
            self._answer(HTTPStatus.FORBIDDEN)
        elif not length.isdecimal() or int(length) > MAX_BODY:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self._has_token():
            try:
                body = json.loads(self.rfile.read(int(length)))
                if self.path == "/url":
                    self._answer_json(build(body, self.server.settings.compat))
                elif self.path == "/want" and (feed := self.server.feeds.get(body["stream"])):
                    watched = tuple(text.encode() for text in body["watched"] if text)
                    feed.wanted = Wanted(tuple(text.lower() for text in body["contains"]), watched)
                    self._answer(HTTPStatus.NO_CONTENT)
                else:
                    self._answer(HTTPStatus.NOT_FOUND)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self._answer(HTTPStatus.BAD_REQUEST)

    def _is_at_home(self) -> bool:
        """Whether the browser was sent to this server itself.

        False if another site uses our address under its own name (DNS rebinding), or sends requests from its pages. The port may
        differ, because of an SSH tunnel.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        try:
            return urlsplit(f"//{host}").hostname in self.server.hosts and origin in (None, f"http://{host}")
        except ValueError:
            return False

    def _has_token(self) -> bool:
        return self._knows(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _knows(self, token: str) -> bool:
        """Whether this is the token. If not, the request is answered with 401."""
        knows = hmac.compare_digest(token.encode(), self.server.token.encode())
        if not knows:
            self._answer(HTTPStatus.UNAUTHORIZED)
        return knows

    def _stream(self, is_new: bool) -> None:
        """Answer with journaled lines until the page is closed. A new page also gets some past lines."""
        feeds = self.server.feeds
        if len(feeds) >= PAGES:
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE)
        name, settings = secrets.token_urlsafe(8), self.server.settings
        try:
            feed = feeds[name] = Feed(settings.data_dir)
            self._begin(HTTPStatus.OK, "text/event-stream")
            hello = {
                "stream": name,
                "version": __version__,
                "gateway": self.server.gateway,
                "destination": settings.topic if settings.ships else None,
                "keys": settings.keys_file is not None,
                "paths": settings.paths,
                "reasons": {reason: WORDS.get(reason) for reason in REASONS},
            }
            parts = [_message("hello", json.dumps(hello).encode())]
            if is_new:
                parts += (_shown(SHOWN_AS[kind], line) for kind, lines in feed.recent.items() for line in lines)
            self._follow(feed, parts)
        except JournalError as error:
            log.error("the live page: %s", error)
        finally:
            self.close_connection = True
            feeds.pop(name, None)

    def _follow(self, feed: Feed, parts: list[bytes]) -> None:
        """Send new lines until the page is closed, and once a second the counts, which are exact."""
        begun = counted = time.monotonic()
        counts = dict.fromkeys(SHOWN_AS.values(), 0)
        while True:
            taken = {SHOWN_AS[kind]: found for kind, found in feed.take().items()}
            for kind, found in taken.items():
                counts[kind] += found.count
                parts += (_shown(kind, line) for line in (*found.watched, *found.sample.lines))
            now = time.monotonic()
            if parts or now - counted >= COUNT_SECONDS:
                counted = now
                every = {kind: found.sample.every for kind, found in taken.items()}
                parts.append(
                    _message("counts", json.dumps({"seconds": now - begun, **counts, "every": every}).encode())
                )
                self.wfile.write(b"".join(parts))
                parts = []
            time.sleep(TICK_SECONDS)

    def _answer_json(self, value: object) -> None:
        self._answer(HTTPStatus.OK, json.dumps(value).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes | None = None, media_type: str = "text/plain") -> None:
        if status >= HTTPStatus.BAD_REQUEST:
            body = f"{status.phrase}\n".encode()
            self.close_connection = True  # a body may be left unread
        self._begin(status, media_type, b"" if body is None else body)
        if body:
            self.wfile.write(body)

    def _begin(self, status: HTTPStatus, media_type: str, body: bytes | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        if body is None or self.close_connection:
            self.send_header("Connection", "close")
        for name, value in self.server.policy.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        """The value of the Server header."""
        return "pixelcore"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests of the live page are private."""


def _shown(kind: str, line: bytes) -> bytes:
    """The message of a journaled line. An event with ids that are nobody's has a second line, which says why for each."""
    try:
        record = json.loads(line)
        doubts = {name: why for name in IDS if (why := doubt(record.get(name, "")))}
    except (ValueError, AttributeError):  # not an event, which the page leaves out
        doubts = {}
    return _message(kind, line, *([json.dumps(doubts).encode()] if doubts else []))


def _message(event: str, *lines: bytes) -> bytes:
    """A message of an event stream (HTML standard, section 9.2). JSON on one line has no line feed and no carriage return."""
    return b"event: %b\n%b\n" % (event.encode(), b"".join(b"data: %b\n" % line for line in lines))
