"""Sections 1 and 5 of the contract over real sockets: each row of the table, and each rejection."""

from __future__ import annotations

import socket

import pytest

from tests.support.servers import PATIENCE, Serve, Server, is_gif
from tests.support.wire import GOOD, OF_HTTP, PIXEL_HEADERS, TYPES, ask, assert_pixel, raw, records


@pytest.mark.parametrize("suffix", ["", ".gif", "/"])
@pytest.mark.parametrize("kind", TYPES)
def test_get_is_the_gif_and_one_event(server: Server, kind: str, suffix: str, token: str) -> None:
    assert_pixel(ask(server, f"/v1/pixel/{kind}{suffix}?wk=dk_1&e=E&mid={token}"))
    events, rejections = records(server, token)
    assert [event["type"] for event in events] == [kind]
    assert rejections == []


def test_the_gif(server: Server) -> None:
    """43 bytes, 1x1, transparent: logical screen, two colours, graphic control with transparency, image, trailer."""
    gif = ask(server, GOOD).body
    assert len(gif) == 43
    assert gif[:6] == b"GIF89a"
    assert gif[6:10] == bytes([1, 0, 1, 0])
    assert gif[19:22] == b"\x21\xf9\x04"
    assert gif[22] & 1, "the transparency flag"
    assert gif[-1:] == b"\x3b"


UNKNOWN_TYPES: list[tuple[str, str, str]] = [
    ("empty", "", ""),
    ("another word", "screen", "screen"),
    ("another case", "Track", "Track"),
    ("the suffix in another case", "track.GIF", "track.GIF"),
    ("another suffix", "track.png", "track.png"),
    ("a suffix and a slash", "track.gif/", "track.gif/"),
    ("two suffixes", "track.gif.gif", "track.gif.gif"),
    ("two slashes within", "x//y", "x/y"),
    ("a segment more", "track/x", "track/x"),
    ("an encoded slash", "track%2Fx", "track/x"),
    ("only the suffix", ".gif", ".gif"),
    ("an encoded space", "track%20", "track "),
    ("bytes that are not UTF-8", "%ff", "\ufffd"),
    ("a NUL", "%00", "\0"),
    ("what JSON and HTML escape", "%22%5C%3Cscript%3E", '"\\<script>'),
    ("long", "x" * 5000, "x" * 5000),
]


@pytest.mark.parametrize(("path", "kind"), [pytest.param(*row[1:], id=row[0]) for row in UNKNOWN_TYPES])
def test_unknown_types_are_rejected_with_the_gif(server: Server, path: str, kind: str, token: str) -> None:
    assert_pixel(ask(server, f"/v1/pixel/{path}?wk=dk_1&e=E&mid={token}"))
    events, rejections = records(server, token)
    assert events == []
    assert [(record["reason"], record["type"]) for record in rejections] == [("unknown_type", kind)]


@pytest.mark.parametrize("path", ["track", "page.gif", "identify/", "screen", ""])
def test_head_is_get_without_body_and_event(server: Server, path: str, token: str) -> None:
    target = f"/v1/pixel/{path}?wk=dk_1&e=E&mid={token}"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(raw(target.encode(), b"Connection: close\r\n", b"HEAD"))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = sorted((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    assert status == "HTTP/1.1 200 OK"
    assert [pair for pair in headers if pair[0] not in OF_HTTP] == PIXEL_HEADERS
    assert ("content-length", "43") in headers
    assert body == b""
    assert records(server, token) == ([], [])


@pytest.mark.parametrize("path", ["track", "page.gif", "identify/", "screen", ""])
def test_options_is_204_with_cors(server: Server, path: str, token: str) -> None:
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    reply = ask(server, f"/v1/pixel/{path}?wk=dk_1&e=E&mid={token}", "OPTIONS", headers)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.header("allow") == "GET, HEAD, OPTIONS"
    assert reply.header("access-control-allow-origin") == "*"
    assert reply.header("access-control-allow-methods") == "GET, HEAD, OPTIONS"
    assert reply.header("access-control-allow-credentials") is None
    assert records(server, token) == ([], [])


@pytest.mark.parametrize("path", ["track", "page.gif", "screen"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"])
def test_other_methods_are_405(server: Server, method: str, path: str, token: str) -> None:
    reply = ask(server, f"/v1/pixel/{path}?wk=dk_1&e=E&mid={token}", method)
    assert (reply.status, reply.header("allow")) == (405, "GET, HEAD, OPTIONS")
    assert records(server, token) == ([], [])


OTHER_PATHS: list[tuple[str, str, int, str | None]] = [
    ("GET", "/healthz", 200, "ok\n"),
    ("GET", "/readyz", 200, "ok\n"),
    ("GET", "/robots.txt", 200, "User-agent: *\nDisallow: /\n"),
    ("HEAD", "/readyz", 200, ""),
    ("POST", "/healthz", 404, None),
    ("GET", "/", 200, "A pixelcore gateway: it takes tracking pixels under /v1/pixel/, and has no pages.\n"),
    ("POST", "/", 404, None),
    ("GET", "/healthz/", 404, None),
    ("GET", "/v1/pixel", 404, None),
    ("GET", "/v1/pixels/track", 404, None),
    ("GET", "/V1/pixel/track", 404, None),
    ("GET", "//v1/pixels/track", 404, None),
    ("GET", "/v2/pixel/track", 404, None),
    ("GET", "/favicon.ico", 404, None),
    ("GET", "/metrics", 404, None),
]


@pytest.mark.parametrize(("method", "path", "status", "body"), OTHER_PATHS)
def test_other_paths(server: Server, method: str, path: str, status: int, body: str | None, token: str) -> None:
    reply = ask(server, f"{path}?wk=dk_1&e=E&mid={token}", method)
    assert reply.status == status
    assert (reply.header("content-type") or "").startswith("text/plain")
    assert reply.header("set-cookie") is reply.header("etag") is reply.header("location") is None
    if body is not None:
        assert reply.body.decode() == body
    assert records(server, token) == ([], [])


# unknown_key, disabled_key, domain_not_allowed and rate_limited need a key file.
REJECTIONS: list[tuple[str, str, str]] = [
    ("unknown_type", "screen", "wk=dk_1"),
    ("missing_key", "track", "e=E"),
    ("missing_key", "track", "wk=+%E2%80%8B+&e=E"),
    ("malformed_key", "track", "wk=a.b&e=E"),
    ("malformed_key", "page", "wk=" + "k" * 65),
    ("missing_event", "track", "wk=dk_1"),
    ("query_too_long", "page", "wk=dk_1&cb=" + "x" * 8192),
    ("too_many_parameters", "page", "wk=dk_1" + "&cb=1" * 256),
    ("too_deep", "page", "wk=dk_1&p." + ".".join("a" * 33) + "=1"),
]


@pytest.mark.parametrize(("reason", "kind", "query"), REJECTIONS)
def test_rejections_are_answered_and_recorded(
    debug_server: Server, reason: str, kind: str, query: str, token: str
) -> None:
    query += f"&mid={token}"
    reply = ask(debug_server, f"/v1/pixel/{kind}.gif?{query}" if kind in TYPES else f"/v1/pixel/{kind}?{query}")
    assert (reply.status, is_gif(reply.body)) == (200, True)
    assert reply.own_headers == [*PIXEL_HEADERS, ("x-pixelcore", reason)]
    events, rejections = records(debug_server, token)
    assert events == []
    (record,) = rejections
    assert list(record) == ["reason", "type", "query", "receivedAt", "context"]
    assert (record["reason"], record["type"], record["query"]) == (reason, kind, query)
    assert record["context"]["ip"] == "127.0.0.1"


def test_limits_are_reached_only_beyond_them(debug_server: Server) -> None:
    """The tables' limits themselves are still accepted, and the header says so."""
    start = "wk=dk_1&e=E"
    for query in (
        start + "&cb=" + "x" * (8192 - len(start) - 4),
        start + "&cb=1" * 254,
        start + "&p" + ".a" * 31 + "=1",
    ):
        reply = ask(debug_server, f"/v1/pixel/track?{query}")
        assert reply.header("x-pixelcore") == "accepted", query[:40]


@pytest.mark.parametrize("path", ["//v1/pixel/track", "/v1//pixel///track.gif", "///v1/pixel/track//"])
def test_slashes_that_repeat_count_as_one(server: Server, path: str, token: str) -> None:
    assert_pixel(ask(server, f"{path}?wk=dk_1&e=E&mid={token}"))
    events, rejections = records(server, token)
    assert ([event["type"] for event in events], rejections) == (["track"], [])


IGNORED: list[tuple[str, str, str]] = [
    ("none", "wk=dk_1&e=E&cb=1", "accepted"),
    ("some", "wk=dk_1&e=E&P.a=1&p[a][]=2&P.a=3&%C3%BC;=4", "accepted; ignored=P.a,p[a][],%C3%BC%3B"),
    ("of a rejection", "WK=dk_1&e=E", "missing_key; ignored=WK"),
]


@pytest.mark.parametrize("fsync", ["1s", "always"])
def test_names_that_mean_nothing_are_named(serve: Serve, fsync: str) -> None:
    server = serve({"PIXELCORE_DEBUG_HEADER": "true", "PIXELCORE_FSYNC": fsync})
    for name, query, expected in IGNORED:
        assert ask(server, f"/v1/pixel/track?{query}").header("x-pixelcore") == expected, name


def test_keys_are_never_logged_in_full(serve: Serve) -> None:
    server = serve({"PIXELCORE_LOG_LEVEL": "debug"})
    for query in ("wk=dk_secret_1", "wk=dk_secret.1", "wk=dk_secret_1&e=E"):
        assert_pixel(ask(server, f"/v1/pixel/track?{query}"))
    assert server.terminate() == 0
    assert "missing_event" in server.log(), "rejections are logged"
    assert "dk_secret" not in server.log()


def test_context(server: Server, token: str) -> None:
    headers = {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "Accept-Language": "de-CH,de;q=0.9,en;q=0.8",
        "Referer": "https://example.com/a?b=c",
        "Sec-GPC": "1",
        "DNT": "1",
        # No proxy is trusted unless it is named, and a cookie is nobody's business.
        "X-Forwarded-For": "203.0.113.7",
        "Cookie": "a=b",
    }
    assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=E&mid={token}", headers=headers))
    ((event,), _) = records(server, token)
    # Of `context`, section 4 has more members (client) than a browser's request gives rise to.
    context = {name: value for name, value in event["context"].items() if name not in ("client", "library")}
    assert context == {
        "ip": "127.0.0.1",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
        "locale": "de-CH",
        "page": {"url": "https://example.com/a?b=c"},
        "consent": {"gpc": True, "dnt": True},
    }
    assert_pixel(ask(server, GOOD + f"&mid={token}0", headers={"DNT": "0", "Sec-GPC": "true"}))
    (((event),), _) = records(server, f"{token}0")
    assert "consent" not in event["context"]
