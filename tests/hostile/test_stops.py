"""Connections that could delay a stop: they are closed, and the gateway ends in order, after its drain."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.support.servers import Serve, Server
from tests.support.wire import GOOD

KILL_SECONDS = 150
"""The time that Granian gives a worker to end before it kills it. A connection is closed after 5 s."""
DRAIN_SECONDS = KILL_SECONDS - 10
"""The drain to which ``pixelcore serve`` adds 10 s. Without Kafka there is none."""

# What a connection has sent when the gateway is to stop.
HALF = {
    "nothing": b"",
    "a letter": b"G",
    "half a line": b"GET /v1/pixel/track?wk=dk_1",
    "half of the headers": b"GET /v1/pixel/track?wk=dk_1&e=x HTTP/1.1\r\nHost: x\r\nA: ",
    "a request, and a letter": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nG",
    "half of a GET's body": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
    "half of a POST's body": b"POST /v1/pixel/track HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
    "a body without an end": b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "a body that waits": b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
}


# Plain Granian waits longer for headers, and never kills.
PLAIN: dict[str, tuple[str, ...]] = {
    "with the flags of SECURITY.md, but for the time to kill": (
        *("--http", "1", "--http1-header-read-timeout", "5000"),
        *("--workers-kill-timeout", str(KILL_SECONDS), "--no-ws"),
    ),
    "without flags": (),
}


def stop_with(server: Server, parts: list[bytes]) -> None:
    with contextlib.ExitStack() as connections:
        for part in parts:
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connection.sendall(part)
        assert server.get(GOOD).is_pixel
        stop_in_order(server)
    assert len(server.events()) == 1


def stop_in_order(server: Server) -> None:
    began = time.monotonic()
    assert server.terminate(timeout=2 * KILL_SECONDS) == 0
    # Granian may say that it killed a worker which ends in that very moment, so only the time tells.
    assert time.monotonic() - began < KILL_SECONDS / 2, server.log()


def send_until_nobody_reads(connection: socket.socket, request: bytes) -> None:
    """Send requests and read no answer, until the server can write no more answers and so reads no more requests."""
    connection.settimeout(1)
    with contextlib.suppress(TimeoutError):
        for _ in range(10_000):
            connection.sendall(request * 1_000)
        raise AssertionError("the server reads on")


@pytest.mark.parametrize("name", HALF)
def test_half_a_request_holds_up_no_stop(serve: Serve, name: str) -> None:
    stop_with(serve({"PIXELCORE_DRAIN_SECONDS": str(DRAIN_SECONDS)}), [HALF[name]] * 3)


@pytest.mark.parametrize("handover", ["0", "1s"])
def test_unread_answers_hold_up_no_stop(serve: Serve, handover: str) -> None:
    server = serve({"PIXELCORE_HANDOVER_SECONDS": handover, "PIXELCORE_DRAIN_SECONDS": str(DRAIN_SECONDS)})
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        send_until_nobody_reads(connection, f"GET {GOOD} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stop_in_order(server)
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while some := connection.recv(1 << 20):
                received += some
    assert 0 < received.count(b"GIF89a") <= len(server.events()), "an answered event was lost"


@pytest.mark.parametrize("name", PLAIN)
def test_plain_granian(tmp_path: Path, name: str) -> None:
    server = Server(tmp_path, {}, command="granian", flags=PLAIN[name])
    server.start()
    try:
        stop_with(server, list(HALF.values()))
    finally:
        server.kill()
