"""Section 1 of the contract: no request, however odd, changes what the next one gets."""

from __future__ import annotations

import http.client
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.servers import PATIENCE, Server
from tests.support.wire import GOOD, UPGRADE, ask, assert_pixel, raw, read_reply, records, send

HOSTILE: list[tuple[str, bytes]] = [
    ("a 64 kB query", raw(GOOD.encode() + b"&p.a=" + b"x" * 64_000)),
    ("a query over hyper's limit", raw(GOOD.encode() + b"&p.a=" + b"x" * 70_000)),
    ("a 1 MB query", raw(GOOD.encode() + b"&p.a=" + b"x" * 1_000_000)),
    ("64 kB of separators", raw(b"/v1/pixel/track?" + b"&" * 64_000)),
    ("64 kB of dots", raw(b"/v1/pixel/page?wk=k&p" + b"." * 64_000)),
    ("a 64 kB path", raw(b"/v1/pixel/" + b"a/" * 32_000)),
    ("NUL in the query", raw(GOOD.encode() + b"\0")),
    ("bytes that are not UTF-8 in the query", raw(GOOD.encode() + b"&p.a=\xff\xfe")),
    ("bare UTF-8 in the query", raw(GOOD.encode() + "&p.a=é\u2028".encode())),
    ("bytes that are not UTF-8 in the path", raw(b"/v1/pixel/\xff\xfe")),
    ("an absolute target", raw(b"http://localhost" + GOOD.encode())),
    ("a URL in the query", raw(GOOD.encode() + b"&url=http://127.0.0.1:1/&redirect=//example.com")),
    ("dot segments", raw(b"/v1/pixel/../../etc/passwd")),
    ("a fragment", raw(GOOD.encode() + b"#x")),
    ("a header that is not UTF-8", raw(GOOD.encode(), b"User-Agent: \xff\xfe\r\nReferer: http://\xe9/\r\n")),
    ("repeated headers", raw(GOOD.encode(), b"User-Agent: a\r\nUser-Agent: b\r\nDNT: 1\r\nDNT: 0\r\n")),
    ("empty headers", raw(GOOD.encode(), b"User-Agent:\r\nReferer:\r\nAccept-Language:\r\nDNT:\r\n")),
    ("a 100 kB header", raw(GOOD.encode(), b"Referer: " + b"x" * 100_000 + b"\r\n")),
    ("a thousand headers", raw(GOOD.encode(), b"".join(b"X-%d: a\r\n" % i for i in range(1000)))),
    ("a header without a name", raw(GOOD.encode(), b": x\r\n")),
    ("a folded header", raw(GOOD.encode(), b"User-Agent: a\r\n b\r\n")),
    ("conditional and partial", raw(GOOD.encode(), b"Range: bytes=0-1\r\nIf-None-Match: *\r\n")),
    ("two lengths", raw(GOOD.encode(), b"Content-Length: 1\r\nContent-Length: 2\r\n")),
    ("a length and chunks", raw(GOOD.encode(), b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n"),
    ("broken chunks", raw(GOOD.encode(), b"Transfer-Encoding: chunked\r\n") + b"zz\r\n"),
    ("no host", b"GET " + GOOD.encode() + b" HTTP/1.1\r\n\r\n"),
    ("HTTP/1.0", b"GET " + GOOD.encode() + b" HTTP/1.0\r\n\r\n"),
    ("HTTP/9.9", b"GET " + GOOD.encode() + b" HTTP/9.9\r\n\r\n"),
    ("a TLS hello", bytes.fromhex("1603010200010001fc0303") + bytes(100)),
    ("CONNECT", raw(b"localhost:443", method=b"CONNECT")),
    ("OPTIONS *", raw(b"*", method=b"OPTIONS")),
    ("a WebSocket", raw(GOOD.encode(), UPGRADE)),
    ("a WebSocket without key", raw(GOOD.encode(), b"Connection: Upgrade\r\nUpgrade: websocket\r\n")),
    ("a WebSocket by HEAD", raw(GOOD.encode(), UPGRADE, b"HEAD")),
    ("a WebSocket by OPTIONS", raw(GOOD.encode(), UPGRADE, b"OPTIONS")),
    ("a WebSocket by POST", raw(GOOD.encode(), UPGRADE, b"POST")),
    ("a WebSocket to no type", raw(b"/v1/pixel/?x", UPGRADE)),
    ("a WebSocket elsewhere", raw(b"/readyz", UPGRADE)),
    (
        "HTTP/2 upgrade",
        raw(GOOD.encode(), b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"),
    ),
]


@pytest.mark.parametrize("request_bytes", [pytest.param(row[1], id=row[0]) for row in HOSTILE])
def test_hostile_requests_change_nothing(server: Server, request_bytes: bytes, token: str) -> None:
    logged = len(server.log())
    reply = send(server, request_bytes)
    if reply is not None:
        assert reply.status < 500
        if reply.status == 200 and request_bytes.startswith(b"GET /v1/pixel/"):
            assert_pixel(reply)
    assert_pixel(ask(server, GOOD + f"&mid={token}"))
    assert len(records(server, token)[0]) == 1
    assert ask(server, "/readyz").status == 200
    assert "Traceback" not in server.log()[logged:], "a client must not be able to fill the log"


@settings(max_examples=300)
@given(target=st.binary(max_size=200))
def test_random_targets(server: Server, target: bytes) -> None:
    reply = send(server, raw(b"/v1/pixel/" + target))
    if reply is not None:
        assert reply.status in (200, 400), reply
        if reply.status == 200:
            assert_pixel(reply)


@settings(max_examples=300)
@given(query=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='<>"'), max_size=300))
def test_random_queries(server: Server, query: str) -> None:
    """Any query that a browser may send. It escapes quotes and angle brackets; hyper answers bare ones with 400."""
    assert_pixel(send(server, raw(b"/v1/pixel/track?wk=dk_1&e=E&" + query.encode())))


def test_random_requests_left_whole_records(server: Server) -> None:
    """All that the tests above sent is one JSON object a line, and each worker is the one that was started."""
    for path in server.data_dir.glob("*/*/*.ndjson"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            assert isinstance(json.loads(line), dict)
    assert ask(server, "/readyz").status == 200
    assert "Unexpected exit" not in server.log()


def test_a_connection_is_kept(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    for method, target in (("GET", GOOD), ("HEAD", GOOD), ("OPTIONS", GOOD), ("POST", GOOD), ("GET", "/nope")) * 3:
        connection.request(method, target)
        read_reply(connection.getresponse())
    connection.close()
