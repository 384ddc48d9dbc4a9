"""A listener before a stop: who is connected is answered, and nobody new gets in."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path

import pytest
from pixelcore.files import EXCLUSIVE, try_lock
from pixelcore.serving.handover import _disconnect, _listeners, _refuse_new, _waiting


def test_a_listener_refuses_new_connections_and_keeps_those_that_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not _waiting(listener)
        with socket.create_connection(listener.getsockname()) as early, socket.socket() as late:
            _refuse_new(listener)
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.connect(listener.getsockname())
            assert _waiting(listener)
            accepted, _ = listener.accept()
            with accepted:
                early.sendall(b"x")
                assert accepted.recv(1) == b"x"
            assert not _waiting(listener)


def test_locks_of_files_end_with_their_files(tmp_path: Path) -> None:
    """Or a journal that is closed at a stop would seem to have a writer."""
    lock = tmp_path / "lock"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            listeners = list(_listeners())
            _disconnect({listener.getsockname()[1]})
        with lock.open("w") as again:
            assert try_lock(again.fileno(), EXCLUSIVE)
        assert listener.getsockname() in [found.getsockname() for found in listeners]
        for found in listeners:
            found.close()
