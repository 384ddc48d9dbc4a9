"""``context.ip`` over HTTP: only trusted proxies are believed, and the address is kept as far as the setting allows."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.support.servers import Serve, Server
from tests.support.wire import assert_pixel, raw, send

PEER = "127.0.0.1"
SPOOFED = "1.1.1.1, 2.2.2.2"
X = "X-Forwarded-For"


def context(server: Server, *headers: tuple[str, str]) -> dict[str, Any]:
    """The context of the event of a request with these header lines, in this order."""
    mid = uuid.uuid4().hex
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    assert_pixel(send(server, raw(f"/v1/pixel/page?wk=dk_1&mid={mid}".encode(), lines.encode("latin-1"))))
    (event,) = (event for event in server.events() if event["messageId"] == mid)
    found: dict[str, Any] = event["context"]
    return found


# name, header lines, the address that is believed with one trusted proxy, loopback, and with 10.0.0.0/8 beyond it
HEADERS: list[tuple[str, list[tuple[str, str]], str, str]] = [
    ("no header", [], PEER, PEER),
    ("what the proxy saw", [(X, "203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("two spoofed hops before it", [(X, f"{SPOOFED}, 203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("two in a line of their own", [(X, SPOOFED), (X, "203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("spoofed addresses of ours", [(X, "127.0.0.1, 10.0.0.1, 203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("two proxies", [(X, "203.0.113.7, 10.1.2.3")], "10.1.2.3", "203.0.113.7"),
    ("two proxies, a line each", [(X, SPOOFED), (X, "203.0.113.7"), (X, "10.1.2.3")], "10.1.2.3", "203.0.113.7"),
    ("a hop of our own host", [(X, "203.0.113.7, 127.0.0.1")], "203.0.113.7", "203.0.113.7"),
    ("all are ours", [(X, "10.0.0.2, 127.0.0.1")], "10.0.0.2", "10.0.0.2"),
    ("a port", [(X, "203.0.113.7:4711")], "203.0.113.7", "203.0.113.7"),
    ("IPv6", [(X, "2001:DB8:0:0::7")], "2001:db8::7", "2001:db8::7"),
    ("IPv6 in brackets, with a port", [(X, "[2001:db8::7]:443")], "2001:db8::7", "2001:db8::7"),
    ("IPv4 in IPv6", [(X, "::ffff:203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("no space, much space", [(X, f"{SPOOFED},203.0.113.7 \t ")], "203.0.113.7", "203.0.113.7"),
    ("rubbish", [(X, "<script>")], PEER, PEER),
    ("rubbish further left", [(X, "' OR 1=1, 203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("rubbish before a proxy", [(X, "203.0.113.7, x, 10.1.2.3")], "10.1.2.3", "10.1.2.3"),
    ("an address that is none", [(X, "203.0.113.256")], PEER, PEER),
    ("empty", [(X, "")], PEER, PEER),
    ("commas", [(X, ",,203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("a comma at the end", [(X, "203.0.113.7,")], "203.0.113.7", "203.0.113.7"),
    ("a name", [(X, "unknown")], PEER, PEER),
    ("in lower case", [("x-forwarded-for", "203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("other headers are not read", [("X-Real-IP", "1.1.1.1"), ("Client-IP", "1.1.1.1")], PEER, PEER),
    ("Forwarded", [("Forwarded", "for=203.0.113.7;proto=https;by=10.0.0.1")], "203.0.113.7", "203.0.113.7"),
    (
        "Forwarded, spoofed before",
        [("Forwarded", "for=1.1.1.1, for=2.2.2.2"), ("Forwarded", 'For="[2001:db8::7]:443"')],
        "2001:db8::7",
        "2001:db8::7",
    ),
    ("Forwarded, two proxies", [("Forwarded", "for=203.0.113.7, for=10.1.2.3")], "10.1.2.3", "203.0.113.7"),
    ("Forwarded, obfuscated", [("Forwarded", "for=_hidden")], PEER, PEER),
    ("Forwarded, an open quote", [("Forwarded", 'for="1.1.1.1, for=203.0.113.7')], "203.0.113.7", "203.0.113.7"),
    ("both agree", [(X, "203.0.113.7"), ("Forwarded", "for=203.0.113.7")], "203.0.113.7", "203.0.113.7"),
    ("both differ", [(X, "203.0.113.7"), ("Forwarded", "for=1.1.1.1")], PEER, PEER),
]


@pytest.mark.parametrize("trusted", ["", "loopback", "127.0.0.1, 10.0.0.0/8", "192.0.2.0/24"])
def test_trusted_proxies(serve: Serve, trusted: str) -> None:
    """All rows with one server; with nobody trusted, or not this peer, the peer is the client whatever it says."""
    server = serve({"PIXELCORE_TRUSTED_PROXIES": trusted})
    for name, headers, with_one, with_more in HEADERS:
        expected = {"loopback": with_one, "127.0.0.1, 10.0.0.0/8": with_more}.get(trusted, PEER)
        assert context(server, *headers)["ip"] == expected, name


# the policy, the address, what is kept
POLICIES: list[tuple[str, str, str | None]] = [
    ("full", "203.0.113.7", "203.0.113.7"),
    ("full", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
    ("truncated", "203.0.113.7", "203.0.113.0"),
    ("truncated", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
    ("truncated", "::ffff:203.0.113.7", "203.0.113.0"),
    ("none", "203.0.113.7", None),
    ("none", "2001:db8:1:2:3:4:5:6", None),
]


@pytest.mark.parametrize("policy", ["full", "truncated", "none"])
def test_how_much_is_kept(serve: Serve, policy: str) -> None:
    """Of events and rejections alike, of a proxy's word and of a peer."""
    server = serve({"PIXELCORE_TRUSTED_PROXIES": "loopback", "PIXELCORE_IP": policy})
    for chosen, address, kept in POLICIES:
        if chosen == policy:
            assert context(server, (X, address)).get("ip") == kept, address
            assert_pixel(send(server, raw(b"/v1/pixel/page?x", f"{X}: {address}\r\n".encode())))
            assert server.rejections()[-1]["context"].get("ip") == kept, address
    assert context(server).get("ip") == {"full": PEER, "truncated": "127.0.0.0", "none": None}[policy]
    journals = "".join(path.read_text() for path in server.data_dir.rglob("*.ndjson"))
    assert policy == "full" or not any(address in journals for _, address, _ in POLICIES)
