"""A gateway under load, with its own small disk, clock and flushes."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.chaos import accounting
from tests.chaos.clock import Clock
from tests.kafka.broker import free_port
from tests.support.flushes import Flushes
from tests.support.load import Load
from tests.support.servers import Server

WORKERS = 2
DISK_BYTES = 64 << 20
DISK_FILES = 2000
# After this long, also on a loaded machine, an event will never come.
RECOVERY_SECONDS = 120.0
BALLAST = "ballast"
LOST = "pixelcore_lost_total"


class ChaosError(Exception):
    """The run proves nothing, because a fault had no effect, or something did not recover."""


def wait_until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition. Raises `ChaosError` that says ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise ChaosError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


class ChaosLoad(Load):
    """Load whose messageIds name the phase. Each connection is one user, with one worker and one journal."""

    def __init__(self, gateway: int, port: int, rate: float) -> None:
        super().__init__(port, rate=rate, connections=8, seconds=24 * 3600)
        self.requests_per_connection = 20  # so that every worker gets some, also after its respawn
        self.gateway = gateway
        self.phase = 0
        self.refused: set[str] = set()

    @property
    def traffic(self) -> accounting.Traffic:
        """The outcomes of the requests."""
        return accounting.Traffic(self.sent, self.answered, self.refused)

    def _mid(self, number: int) -> str:
        return accounting.mid(self.phase, self.gateway, number)

    def _user(self, mid: str, stream: int) -> str:  # noqa: ARG002
        return f"gateway_{self.gateway}_connection_{stream}"

    def _note(self, mid: str, headers: Mapping[str, str]) -> None:
        (self.answered if headers.get("x-pixelcore") == "accepted" else self.refused).add(mid)


class Gateway:
    """A server on a tmpfs, with load on it from `start` to `close`."""

    def __init__(self, number: int, directory: Path, library: Path, settings: Mapping[str, str], rate: float) -> None:
        directory.mkdir(parents=True)
        data = directory / "data"
        data.mkdir()
        _mount(data)
        self.number = number
        self.clock = Clock(library, directory / "clock")
        self.flushes = Flushes(data, directory / "flushes", record=False)
        self._metrics = f"127.0.0.1:{free_port()}"
        preloaded = self.clock.environment | self.flushes.environment
        preloaded["LD_PRELOAD"] = f"{self.clock.environment['LD_PRELOAD']} {self.flushes.environment['LD_PRELOAD']}"
        common = {
            "PIXELCORE_DEBUG_HEADER": "true",
            "PIXELCORE_METRICS_ADDRESS": self._metrics,
            # Small, so that rotation and deletion happen all the time.
            "PIXELCORE_JOURNAL_SEGMENT_BYTES": "65536",
        }
        self.server = Server(directory, common | preloaded | dict(settings), workers_wanted=WORKERS)
        self.load = ChaosLoad(number, self.server.port, rate)

    def start(self) -> None:
        """Start the server, and the load on it."""
        self.server.start()
        self.load.start()

    def close(self) -> None:
        """Stop the load, kill the server, give the disk back."""
        with contextlib.suppress(RuntimeError):  # a load that never began
            self.load.stop()
        self.server.kill()
        _unmount(self.server.data_dir)

    @property
    def ready(self) -> bool:
        """Whether it runs with all its workers, and events are safe."""
        try:
            return len(self.server.workers()) == WORKERS and self.server.get("/readyz").status == 200
        except OSError:
            return False

    def wait_ready(self) -> None:
        """Wait until it is `ready`."""
        wait_until(lambda: self.ready, RECOVERY_SECONDS, f"gateway {self.number} is ready again")

    def lost(self) -> int:
        """The gateway's count of requests that were answered but not journaled."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=60) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return int(sum(sample.value for family in families for sample in family.samples if sample.name == LOST))

    def kill_workers(self, workers: Iterable[int]) -> None:
        """``kill -9``, and wait until others are there.

        Granian ends when a worker dies within 5.5 s of its respawn; the server is then started again, as an init system
        does.
        """
        killed = set(workers)
        for worker in killed:
            os.kill(worker, signal.SIGKILL)

        def are_replaced() -> bool:
            if self.server.process is not None and self.server.process.poll() is not None:
                self.server.kill()
                self.server.start()
            workers = self.server.workers()
            return len(workers) == WORKERS and not killed & set(workers)

        wait_until(are_replaced, RECOVERY_SECONDS, "new workers")

    def fill_disk(self) -> int:
        """Use up all free bytes, and return their number."""
        taken = 0
        with contextlib.suppress(OSError), (self.server.data_dir / BALLAST).open("ab", buffering=0) as file:
            while True:
                taken += file.write(bytes(1 << 12))
        return taken

    def fill_names(self) -> int:
        """Use up all free inodes, so that files can grow but no file can be made."""
        directory = self.server.data_dir / f"{BALLAST}-names"
        taken = 0
        with contextlib.suppress(OSError):
            directory.mkdir(exist_ok=True)
            for number in itertools.count(len(list(directory.iterdir()))):
                (directory / str(number)).touch()
                taken += 1
        return taken

    def free_disk(self) -> None:
        """Free the space of `fill_disk` and `fill_names`."""
        (self.server.data_dir / BALLAST).unlink(missing_ok=True)
        shutil.rmtree(self.server.data_dir / f"{BALLAST}-names", ignore_errors=True)


def _mount(directory: Path) -> None:
    options = f"size={DISK_BYTES},nr_inodes={DISK_FILES},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pixelcore-chaos", str(directory)], check=True)


def _unmount(directory: Path) -> None:
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
