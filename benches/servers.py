"""A server on one core, Granian by default, and the CPU time of its processes so far."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from typing_extensions import Self

from benches.driver import target
from benches.peers.bare import GIF
from tests.support.processes import OWN_GROUP

ROOT: Final = Path(__file__).resolve().parents[1]
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
START_SECONDS: Final = 30.0

# The same for bare and pixelcore. Granian chooses uvloop itself where it is installed; here a missing one is an error.
FLAGS: Final = ("--interface", "rsgi", "--loop", "uvloop", "--no-ws", "--log-level", "warning")


def stat(process: Path) -> tuple[int, int]:
    """A process's parent, and the ticks that it and its reaped children used, from ``/proc/<pid>/stat``."""
    # The second field is the name in parentheses, which may hold spaces and parentheses itself.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), sum(map(int, fields[11:15]))


def tree_seconds(root: int) -> float:
    """CPU time, user and system, of a process and all its descendants, ended ones included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)], ticks[int(entry.name)] = stat(entry)
            except (FileNotFoundError, ProcessLookupError):
                continue  # It ended meanwhile.
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(pid, 0) for pid in family) * TICK


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """``name`` is what the report calls it; ``data`` is where its journal is, None for one that keeps nothing.

    It can be started again when it has ended. Granian serves ``app`` unless there is a ``command``, in which ``{port}``
    stands for the port; it is also in its environment as ``PORT``. ``gif`` is what answers end with.
    """

    name: str
    app: str
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    data: Path | None = None
    core: int | None = None
    answered: int = 0
    command: Sequence[str] = ()
    gif: bytes = GIF
    workers: int = 1

    def __enter__(self) -> Self:
        self.port = free_port()
        # Settings of the shell that this runs in would make the figures somebody else's.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIXELCORE_", "GRANIAN_"))}
        if self.command:
            command = [part.replace("{port}", str(self.port)) for part in self.command]
            inherited["PORT"] = str(self.port)
        else:
            command = [sys.executable, "-m", "granian", *FLAGS, "--workers", str(self.workers)]
            command += ["--port", str(self.port), self.app]
        ours = os.sched_getaffinity(0)
        try:
            if self.core is not None:
                # A child inherits it with its first instruction; set from outside, its threads could escape.
                os.sched_setaffinity(0, {self.core})
            with self.log.open("wb") as output:
                self.process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=inherited | dict(self.settings),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    **OWN_GROUP,
                )
        finally:
            os.sched_setaffinity(0, ours)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order, or at once when it does not listen."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise RuntimeError(f"{self.name} did not end within 30 s:\n{self.tail()}") from None

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def first_answer(self) -> dict[str, str]:
        """Wait for the server, check that it answers one request with the GIF, and return the answer's headers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n{self.tail()}")
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.name} did not listen:\n{self.tail()}") from None
                time.sleep(0.05)
        connection.request("GET", target(0))
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != 200 or body != self.gif:
            raise RuntimeError(f"{self.name} answered {response.status}, {len(body)} bytes, no GIF:\n{self.tail()}")
        self.answered += 1
        return {name.lower(): value for name, value in response.getheaders() if name.lower() != "date"}

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        return tree_seconds(self.process.pid)

    def settled_cpu(self, timeout: float = 60.0) -> float:
        """`cpu` once it has come to rest: what is left to ship after the last answer belongs to the answers."""
        deadline = time.monotonic() + timeout
        quiet, last = 0, self.cpu()
        while quiet < 2:
            time.sleep(0.3)
            now = self.cpu()
            quiet = quiet + 1 if now - last < 2 * TICK else 0
            last = now
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still busy {timeout} s after its last answer:\n{self.tail()}")
        return last
