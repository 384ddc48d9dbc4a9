"""Connections that could delay a stop: incomplete requests are closed, and the gateway ends in order, after its drain."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.support.servers import Serve, Server
from tests.support.wire import GOOD

KILL_SECONDS = 150
"""The time that Granian gives a worker to end before it kills it. Half a request is closed after 5 s."""
DRAIN_SECONDS = KILL_SECONDS - 10
"""The drain to which ``pixelcore serve`` adds 10 s. Without Kafka there is none."""

# What a connection has sent when the gateway is to stop.
HALF = {
    "nothing": b"",
    "a letter": b"G",
    "half a line": b"GET /v1/pixel/track?wk=dk_1",
    "half of the headers": b"GET /v1/pixel/track?wk=dk_1&e=x HTTP/1.1\r\nHost: x\r\nA: ",
    "a request, and a letter": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nG",
}


def stop_with(server: Server, parts: list[bytes]) -> None:
    with contextlib.ExitStack() as connections:
        for part in parts:
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connection.sendall(part)
        assert server.get(GOOD).is_pixel
        began = time.monotonic()
        assert server.terminate(timeout=2 * KILL_SECONDS) == 0
    # Granian may say that it killed a worker which ends in that very moment, so only the time tells.
    assert time.monotonic() - began < KILL_SECONDS / 2, server.log()
    assert len(server.events()) == 1


@pytest.mark.parametrize("name", HALF)
def test_half_a_request_holds_up_no_stop(serve: Serve, name: str) -> None:
    stop_with(serve({"PIXELCORE_DRAIN_SECONDS": str(DRAIN_SECONDS)}), [HALF[name]] * 3)


def test_plain_granian_with_the_flags_of_its_page(serve: Serve, tmp_path: object) -> None:
    """`SECURITY.md` names them, with a shorter time to kill. Without them, Granian waits for half a minute, and never kills."""
    del tmp_path
    server = Server(serve().directory.parent / "granian", {}, command="granian", flags=FLAGS)
    server.start()
    try:
        stop_with(server, list(HALF.values()))
    finally:
        server.kill()


FLAGS = ("--http", "1", "--http1-header-read-timeout", "5000", "--workers-kill-timeout", str(KILL_SECONDS), "--no-ws")
