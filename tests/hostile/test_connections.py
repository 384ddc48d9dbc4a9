"""More connections than open files: accepted connections are answered, and none of their events is lost."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from pixelcore.commands.serve import MOST_CONNECTIONS, OWN_FILES, connections

from tests.support.servers import Server
from tests.support.wire import GOOD

FILES = 150


@pytest.mark.parametrize(
    ("files", "expected"),
    [(10**6, MOST_CONNECTIONS), (1024, 1024 - OWN_FILES), (FILES, FILES - OWN_FILES), (OWN_FILES, 1), (3, 1)],
)
def test_how_many_are_taken(files: int, expected: int) -> None:
    assert connections(files) == expected


def test_connections_leave_files_for_events(tmp_path: Path) -> None:
    """Requests come after all connections are there, when the journal has not been begun."""
    server = Server(tmp_path, prefix=("prlimit", f"--nofile={FILES}:{FILES}"))
    server.start()
    try:
        with contextlib.ExitStack() as stack:
            taken = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
                for _ in range(FILES * 2)
            ]
            for connection in taken:
                connection.sendall(f"GET {GOOD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answers = [connection.recv(100) for connection in taken]
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        assert len(server.events()) == FILES * 2, "each was answered, and is there"
        assert "events are being lost" not in server.log()
    finally:
        server.kill()
