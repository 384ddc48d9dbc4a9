"""Headers with bytes that Granian does not hand over are unreadable and not absent (contract, section 2). Also the kept part of long ones."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Serve, Server
from tests.support.wire import assert_pixel, raw, send

PEER = "127.0.0.1"
KEYS = """
[[pipeline]]
id = "pip_free"
key = "dk_test_free"

[[pipeline]]
id = "pip_bound"
key = "dk_test_bound"
domain_allowlist = ["shop.example"]
"""
SHOP, EVIL = b"https://shop.example/", b"https://evil.example/caf\xe9"
X, F = b"X-Forwarded-For", b"Forwarded"

Lines = list[tuple[bytes, bytes]]
# name, key, header lines; the reason of its rejection, and what its context has
ROWS: list[tuple[str, str, Lines, str | None, dict[str, Any]]] = [
    ("the address of a byte", "free", [(X, b"\xff"), (F, b"for=6.6.6.6")], None, {"ip": PEER, "unreadable": [X]}),
    ("one in a list", "free", [(X, b"\xff, 203.0.113.7")], None, {"ip": PEER, "unreadable": [X]}),
    ("two lines, the first unreadable", "free", [(X, b"\xff"), (X, b"6.6.6.6")], None, {"ip": PEER, "unreadable": [X]}),
    ("the first unreadable, then nothing", "free", [(X, b"\xff"), (X, b""), (F, b"for=6.6.6.6")], None, {"ip": PEER}),
    ("Forwarded", "free", [(F, b"for=\xe9")], None, {"ip": PEER, "unreadable": [F]}),
    ("Forwarded beside a list", "free", [(F, b"for=\xe9"), (X, b"6.6.6.6")], None, {"ip": PEER, "unreadable": [F]}),
    ("a readable list", "free", [(X, b"203.0.113.7")], None, {"ip": "203.0.113.7", "unreadable": None}),
    ("a list with empty elements", "free", [(X, b", 203.0.113.7 ,")], None, {"ip": "203.0.113.7", "unreadable": None}),
    ("0.0.0.0", "free", [(X, b"0.0.0.0")], None, {"ip": PEER}),
    ("::", "free", [(F, b'for="[::]"')], None, {"ip": PEER}),
    (
        "an agent",
        "free",
        [(b"User-Agent", b"Moto \xe2\x80\x93 G")],
        None,
        {"userAgent": None, "unreadable": [b"user-agent"]},
    ),
    (
        "a crawler",
        "free",
        [(b"User-Agent", b"Googlebot/2.1 \xff")],
        None,
        {"unreadable": [b"user-agent"], "client": None},
    ),
    ("a page", "free", [(b"Referer", EVIL)], None, {"page": None, "unreadable": [b"referer"]}),
    ("a page where domains count", "bound", [(b"Referer", EVIL)], "domain_not_allowed", {"unreadable": [b"referer"]}),
    ("an origin where domains count", "bound", [(b"Origin", b"\xff"), (b"Referer", SHOP)], "domain_not_allowed", {}),
    (
        "no page of an origin that says nothing",
        "bound",
        [(b"Origin", b"null"), (b"Referer", EVIL)],
        "domain_not_allowed",
        {},
    ),
    (
        "a page beside a good origin",
        "bound",
        [(b"Origin", b"https://shop.example"), (b"Referer", EVIL)],
        None,
        {"page": None},
    ),
    ("a good page", "bound", [(b"Referer", SHOP)], None, {"page": {"url": SHOP.decode()}, "unreadable": None}),
    ("a language", "free", [(b"Accept-Language", b"\xff")], None, {"locale": None, "unreadable": [b"accept-language"]}),
    ("privacy", "free", [(b"Sec-GPC", b"1\xff")], None, {"consent": None, "unreadable": [b"sec-gpc"]}),
    ("privacy in two lines", "free", [(b"Sec-GPC", b"1"), (b"Sec-GPC", b"1")], None, {"consent": {"gpc": True}}),
    ("privacy twice in one", "free", [(b"Sec-GPC", b"1, 1")], None, {"consent": {"gpc": True}}),
    ("a purpose", "free", [(b"X-Moz", b"prefetch\xff")], None, {"client": None, "unreadable": [b"x-moz"]}),
    ("empty headers", "free", [(b"User-Agent", b""), (b"Referer", b"")], None, {"userAgent": None, "unreadable": None}),
    ("a long agent", "free", [(b"User-Agent", b"x" * 60_000)], None, {"userAgent": "x" * 1024}),
    (
        "a long page",
        "free",
        [(b"Referer", SHOP + b"y" * 60_000)],
        None,
        {"page": {"url": SHOP.decode() + "y" * (4096 - len(SHOP))}},
    ),
    ("a long language", "free", [(b"Accept-Language", b"z" * 60_000)], None, {"locale": "z" * 64}),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory: Path = tmp_path_factory.mktemp("headers")
    keys = directory / "keys.toml"
    keys.write_text(KEYS)
    settings = {
        "PIXELCORE_KEYS_FILE": str(keys),
        "PIXELCORE_TRUSTED_PROXIES": "loopback",
        "PIXELCORE_AUTOMATED": "reject",
    }
    with_keys = Server(directory, settings)
    with_keys.start()
    yield with_keys
    with_keys.kill()


def sent(server: Server, key: str, lines: Lines) -> tuple[str | None, dict[str, Any]]:
    """The outcome of a request with these header lines: its reason, and its context."""
    mid = uuid.uuid4().hex
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
    assert_pixel(send(server, raw(f"/v1/pixel/page?wk=dk_test_{key}&mid={mid}".encode(), headers)))
    for event in server.events():
        if event["messageId"] == mid:
            return None, event["context"]
    (record,) = (record for record in server.rejections() if mid in record["query"])
    return record["reason"], record["context"]


@pytest.mark.parametrize(("name", "key", "lines", "reason", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_what_becomes_of_headers(
    gateway: Server, name: str, key: str, lines: Lines, reason: str | None, expected: dict[str, Any]
) -> None:
    del name
    found, context = sent(gateway, key, lines)
    assert found == reason
    for member, value in expected.items():
        names = [text.decode().lower() if isinstance(text, bytes) else text for text in value or []]
        assert context.get(member) == (names if member == "unreadable" and value else value), member


def test_headers_of_the_loop_are_read_alike(serve: Serve) -> None:
    """Plain Granian, and the event loop instead of Granian's thread."""
    server = serve({"PIXELCORE_INLINE": "off", "PIXELCORE_TRUSTED_PROXIES": "loopback"}, command="granian")
    _, context = sent(server, "free", [(X, b"\xff"), (F, b"for=6.6.6.6"), (b"User-Agent", b"\xff")])
    assert context["ip"] == PEER
    assert context["unreadable"] == ["user-agent", "x-forwarded-for"]
