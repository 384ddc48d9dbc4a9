"""Processes: unique names for them, whether a worker's server still lives, and where child processes look for modules."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from pathlib import Path

_RUN_MODULE = """\
import runpy, sys
_, path, module, *sys.argv[1:] = sys.argv
sys.path[:] = path.split('\\n')
runpy.run_module(module, run_name='__main__', alter_sys=True)
"""


def started_at(pid: int) -> str:
    """The start of a process in ticks since boot; ``?`` if it has ended or the system does not report it."""
    try:
        # The second field is the name in parentheses, which may contain spaces and parentheses. The 22nd is the time.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "?"


def name_of(pid: int) -> str:
    """A name for a process that is unique also across containers. A process id alone is used again."""
    return f"process {pid} of host {platform.node()}, started at tick {started_at(pid)}"


def server() -> int:
    """The id of the server process: the one that has started this worker, or this process if it is not a worker."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


def server_id() -> str:
    """A name of the server process, for files that its workers share. A process id alone is used again, in containers at once."""
    return f"{server()}-{started_at(server())}"


class ServerWatch:
    """Notices that the server process has ended before its worker, with every start method."""

    def __init__(self) -> None:
        self._server = multiprocessing.parent_process()
        # With "forkserver", a worker is a child of a process that ends after the server.
        is_child = self._server is not None and multiprocessing.get_start_method(allow_none=True) != "forkserver"
        self._parent = server() if is_child else os.getppid()

    def is_gone(self) -> bool:
        """Whether the server has ended. Always False in a process that is not a worker."""
        # multiprocessing watches a pipe that siblings forked later hold open, so the parent's id also counts.
        return self._server is not None and (os.getppid() != self._parent or not self._server.is_alive())


def import_path() -> list[str]:
    """Where this process looks for modules, without the working directory, which may belong to anybody.

    The working directory stays if pixelcore itself is imported from it.
    """
    here, home = os.path.realpath("."), Path(__file__).resolve().parent.parent
    kept = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]
    return [*kept, here] if str(home) == here else kept


def isolated_python(module: str) -> list[str]:
    """The command that runs a module like ``python -m``, but never imports from the working directory.

    ``python -P`` would do the same, but Python 3.10 lacks it. Isolated mode alone would leave out packages of the user.
    """
    return [sys.executable, "-I", "-c", _RUN_MODULE, "\n".join(import_path()), module]


def isolate_children() -> None:
    """Stop the processes that multiprocessing starts from importing modules of the working directory.

    Forked processes use this process's path. Others get it from the environment, which Python 3.10 ignores.
    """
    sys.path[:] = import_path()
    os.environ["PYTHONSAFEPATH"] = "1"
