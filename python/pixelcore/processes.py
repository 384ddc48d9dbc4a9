"""Processes by names that do not come again, and whether the server of a worker still lives."""

from __future__ import annotations

import multiprocessing
import os
import platform
from pathlib import Path


def started_at(pid: int) -> str:
    """When a process began, in ticks since boot; ``?`` where it is gone or the system does not say."""
    try:
        # The second field is the name in parentheses, which may hold spaces and parentheses itself. The 22nd is the time.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "?"


def name_of(pid: int) -> str:
    """A process by a name that no other one has, not in another container either: a number alone comes again."""
    return f"process {pid} of host {platform.node()}, started at tick {started_at(pid)}"


def server() -> int:
    """The id of the server process: that which has started this worker, or this one, where it is no worker."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


class ServerWatch:
    """Whether the server process has ended before its worker, under every way of starting workers."""

    def __init__(self) -> None:
        self._server = multiprocessing.parent_process()
        # Under "forkserver" a worker is a child of a process that ends after the server.
        is_child = self._server is not None and multiprocessing.get_start_method(allow_none=True) != "forkserver"
        self._parent = server() if is_child else os.getppid()

    def is_gone(self) -> bool:
        """Whether the server has ended. Always False in a process that is no worker."""
        # Siblings that were forked later hold the pipe open by which multiprocessing knows, so the parent's id counts, too.
        return self._server is not None and (os.getppid() != self._parent or not self._server.is_alive())
