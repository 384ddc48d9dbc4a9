"""Stops a worker behind a proxy: it announces the stop, continues to answer meanwhile, and closes when no new connection can arrive.

On SIGTERM, Granian closes its listener, and connections that the kernel has accepted but Granian has not are reset. So this module
handles SIGTERM itself. After the time is over, it does three things:

1. It drops new SYNs. A client sends its SYN again a second later, when the port is closed or belongs to another process.
2. It waits until Granian has accepted all earlier connections.
3. It sends Granian `AT_ONCE`, the other signal on which Granian stops.

Granian then waits for its connections, without a limit. So this module shuts down those that are still open `LAST_SECONDS` later.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger("pixelcore")

AT_ONCE = signal.SIGINT
"""Granian stops on this signal as on SIGTERM."""

LAST_SECONDS = 5.0
"""The time that connections have to end by themselves. A client that reads no answers would hold up the stop for ever."""

LOOK_SECONDS = 0.1
"""Longer than a handshake takes that began before SYNs were dropped."""
LOOKS = 10

# A classic BPF program on the TCP header: the flags are byte 13. It drops a SYN and allows everything else.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
_SO_ATTACH_FILTER = 26
_UNACKED = 24
"""The offset in a listener's `tcp_info` of the number of connections that wait to be accepted."""


def install(loop: asyncio.AbstractEventLoop, seconds: float, begin: Callable[[], None]) -> None:
    """Let SIGTERM call ``begin``, and stop the worker ``seconds`` later. With 0 seconds, it stops at once, without ``begin``."""

    def on_signal() -> None:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        if not seconds:
            stop(list(_listeners()))
            return
        log.info("stopping: continuing to answer for %g s, with 503 on /readyz", seconds, extra={"seconds": seconds})
        begin()
        loop.call_later(seconds, close)

    def close() -> None:
        listeners = list(_listeners())
        for listener in listeners:
            _refuse_new(listener)
        loop.call_later(LOOK_SECONDS, look, listeners, LOOKS)

    def look(listeners: list[socket.socket], left: int) -> None:
        if left and any(map(_waiting, listeners)):
            loop.call_later(LOOK_SECONDS, look, listeners, left - 1)
            return
        stop(listeners)

    def stop(listeners: list[socket.socket]) -> None:
        ports = {listener.getsockname()[1] for listener in listeners}
        for listener in listeners:
            listener.close()
        loop.call_later(LAST_SECONDS, _disconnect, ports)
        os.kill(os.getpid(), AT_ONCE)

    loop.add_signal_handler(signal.SIGTERM, on_signal)


def _disconnect(ports: set[int]) -> None:
    """Shut down all connections to these ports of this process."""
    for connection in _sockets():
        with connection, contextlib.suppress(OSError):
            if not _listens(connection) and connection.getsockname()[1] in ports:
                connection.shutdown(socket.SHUT_RDWR)


def _listeners() -> Iterator[socket.socket]:
    """The TCP sockets on which this process listens."""
    for candidate in _sockets():
        if _listens(candidate):
            yield candidate
        else:
            candidate.close()


def _sockets() -> Iterator[socket.socket]:
    """Copies of the TCP sockets of this process. They are visible on Linux only."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(Path("/proc/self/fd").iterdir()):
            with contextlib.suppress(OSError):
                # Nothing else is copied: a copy that stays open would hold the lock of a journal.
                if not stat.S_ISSOCK(entry.stat().st_mode):
                    continue
                candidate = socket.socket(fileno=os.dup(int(entry.name)))
                if candidate.family in (socket.AF_INET, socket.AF_INET6) and candidate.type == socket.SOCK_STREAM:
                    yield candidate
                else:
                    candidate.close()


def _listens(candidate: socket.socket) -> bool:
    return bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _refuse_new(listener: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(code))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        log.warning("new connections cannot be kept out before the stop, which may reset some: %s", error.strerror)


def _waiting(listener: socket.socket) -> bool:
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED + 4)
    return any(info[_UNACKED:])
