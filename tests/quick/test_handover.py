"""A listener before a stop: who is connected is answered, and nobody new gets in."""

from __future__ import annotations

import socket

import pytest
from pixelcore.serving.handover import _refuse_new, _waiting


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
