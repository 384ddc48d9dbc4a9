"""Requests as bytes, and answers with all their headers."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from typing import Any

from tests.support.servers import PATIENCE, Command, Server, is_gif

TYPES = ("track", "page", "identify", "group")
GOOD = "/v1/pixel/track?wk=dk_test_1&e=Hello"
PIXEL_HEADERS = [
    ("access-control-allow-origin", "*"),
    ("cache-control", "no-store, no-cache, must-revalidate"),
    ("content-type", "image/gif"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("expires", "0"),
    ("pragma", "no-cache"),
]
OF_HTTP = ("server", "date", "content-length", "connection")
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
COMMANDS: list[tuple[Command, int]] = [("pixelcore", 1), ("granian", 2)]


@dataclass(frozen=True)
class Reply:
    """An answer with its headers as a list, because a mapping would hide repeated ones."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def own_headers(self) -> list[tuple[str, str]]:
        """Those that are not HTTP's own."""
        return sorted(pair for pair in self.headers if pair[0] not in OF_HTTP)


def read_reply(response: http.client.HTTPResponse) -> Reply:
    headers = [(name.lower(), value) for name, value in response.getheaders()]
    return Reply(response.status, headers, response.read())


def ask(server: Server, target: str, method: str = "GET", headers: dict[str, str] | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(method, target, headers=headers or {})
        return read_reply(connection.getresponse())
    finally:
        connection.close()


def send(server: Server, request: bytes) -> Reply | None:
    """The answer to raw bytes; None if the server closed the connection without an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection, method=request.split(b" ", 1)[0].decode("latin-1"))
            response.begin()
            return read_reply(response)
        except (ConnectionError, http.client.BadStatusLine):
            return None


def raw(target: bytes, headers: bytes = b"", method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n"


def assert_pixel(reply: Reply | None) -> None:
    assert reply is not None
    assert (reply.status, reply.own_headers) == (200, PIXEL_HEADERS)
    assert reply.header("content-length") == "43"
    assert is_gif(reply.body)


def records(server: Server, token: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The events and the rejections of the request with ``token``. No wait is needed, because the GIF is a receipt."""
    of_events = [event for event in server.events() if event["messageId"] == token]
    return of_events, [record for record in server.rejections() if token in record["query"]]
