"""Tells when the machine itself stood still: a real-time process on a core, which nothing else can make late.

Now and then a hypervisor takes the cores of a virtual machine away, for up to tens of milliseconds, mostly when all of them are
busy. Hardly any of it is counted as stolen. Measurements of such moments say nothing about a server.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import time
from typing import Final

from typing_extensions import Self

from benches.servers import ROOT

STEP_SECONDS: Final = 0.001
LATE_SECONDS: Final = 0.001
"""How late a wakeup tells that the machine stood still."""


class Witness:
    """Watches some cores until the ``with`` ends. Without the right to real-time priorities it sees nothing."""

    def __init__(self, *cores: int | None) -> None:
        self._cores = {core for core in cores if core is not None}
        self._stops: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benches.witness", "--core"]
        self._processes = [
            subprocess.Popen([*command, str(core)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for core in sorted(self._cores)
        ]
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.readline()
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._processes:
            output, _ = process.communicate(timeout=30)  # it reads the end of its input, and leaves
            for line in output.splitlines():
                due, woke = line.split()
                self._stops.append((float(due), float(woke)))

    def stood_still(self, began: float, ended: float) -> bool:
        """Whether it did between two times of the monotonic clock. To be asked when the ``with`` has ended."""
        return any(due < ended and began < woke for due, woke in self._stops)


def main() -> int:
    """Print when a wakeup was due and when it came, each time that it was late, until the input ends."""
    parser = argparse.ArgumentParser(description="Tell when the machine stood still.")
    parser.add_argument("--core", type=int, required=True)
    core = parser.parse_args().core
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        print("no right to a real-time priority", flush=True)
        sys.stdin.read()
        return 0
    print("watching", flush=True)
    stops: list[str] = []
    due = time.monotonic() + STEP_SECONDS
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        woke = time.monotonic()
        if woke - due > LATE_SECONDS:
            stops.append(f"{due} {woke}\n")
        due = max(due + STEP_SECONDS, woke)
    sys.stdout.writelines(stops)
    return 0


if __name__ == "__main__":
    sys.exit(main())
