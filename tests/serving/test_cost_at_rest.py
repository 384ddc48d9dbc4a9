"""The CPU time of a gateway and a command without traffic."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.commands import command
from tests.support.metrics import with_metrics
from tests.support.servers import Serve, clean_environment
from tests.support.waiting import wait_for
from tests.support.wire import GOOD, ask, assert_pixel

SECONDS = 2.0
MOST = 0.02
"""Of a core, for each process. One that looks without waiting takes all of it."""


def cpu(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


@contextmanager
def following(data_dir: Path) -> Iterator[psutil.Process]:
    """``pixelcore tail -f``, once it has shown an event."""
    with subprocess.Popen(
        command("tail", "--follow", "--data-dir", str(data_dir)),
        env=clean_environment({}),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def test_who_waits_takes_no_core(serve: Serve) -> None:
    """The server, its workers with their housekeeper and forwarder, the metrics, and a tail that follows."""
    _, settings = with_metrics(PIXELCORE_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    server = serve(settings)
    assert_pixel(ask(server, GOOD))
    assert server.process is not None
    with following(server.data_dir) as tail:
        processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(), tail]

        def rest() -> bool:
            before, began = cpu(processes), time.monotonic()
            time.sleep(SECONDS)
            return (cpu(processes) - before) / (time.monotonic() - began) < MOST * len(processes)

        wait_for(rest, 60, "somebody never rests")  # not at once: what a start took may be late
