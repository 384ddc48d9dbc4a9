"""What the measurements share: cores, a broker, servers, and a driver in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from typing_extensions import Self

from benches.servers import ROOT, Server
from tests.kafka.broker import Broker, kafka_jars

APP: Final = "pixelcore.app:app"
PEER: Final = "benches.peers.bare:app"
BARE: Final = "bare"


class LeftOutError(Exception):
    """This machine cannot measure it; the argument says why."""


@dataclass(frozen=True)
class Cores:
    """Who stays on which core; None is anywhere."""

    server: int | None = None
    driver: int | None = None
    broker: int | None = None


def cores() -> Cores:
    """A core for the server, one for the driver, and for the broker a third if there is one, else the driver's; with one core none."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1], usable[min(2, len(usable) - 1)]) if len(usable) > 1 else Cores()


@contextmanager
def pinned(*wanted: int | None) -> Iterator[None]:
    """Let processes that are started meanwhile stay on these cores: a child inherits them with its first instruction."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core for core in wanted if core is not None} or ours)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


@contextmanager
def giving_way() -> Iterator[None]:
    """Let processes that are started meanwhile have only what others leave of their core.

    A broker that shares the driver's must not make it late, which would count as the server's latency. With a driver of
    ``SCHED_FIFO`` instead, the kernel's fair server would stop it for 50 ms now and then in the broker's favour.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def no_kafka() -> str | None:
    """Why there is no Kafka to start here, if there is none."""
    try:
        kafka_jars()
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        return str(error)
    return None


@contextmanager
def broker(directory: Path, core: int | None, *, gives_way: bool = True) -> Iterator[Broker]:
    """A running broker, on its core. Raises `LeftOutError` where there is no Kafka."""
    if reason := no_kafka():
        raise LeftOutError(reason)
    started = Broker(directory / "kafka")
    try:
        with pinned(core), giving_way() if gives_way else nullcontext():
            started.start()
        yield started
    finally:
        started.kill()


def bare(directory: Path, core: int | None, name: str = BARE) -> Server:
    """A Granian that answers the GIF and does nothing else, not yet started."""
    return Server(name, PEER, directory / f"{name}.log", core=core)


def gateway(directory: Path, name: str, core: int | None, settings: Mapping[str, str] | None = None) -> Server:
    """A gateway with a data directory of its own, not yet started."""
    data = directory / name
    chosen = {"PIXELCORE_DATA_DIR": str(data), **(settings or {})}
    return Server(name, APP, directory / f"{name}.log", chosen, data, core)


class Driver:
    """The load driver, connected; its requests begin with `go` and its connections last until the ``with`` ends."""

    def __init__(self, port: int, requests: int, connections: int = 64, core: int | None = None, *more: str) -> None:
        self._command = [sys.executable, "-m", "benches.driver", "--hold", "--port", str(port)]
        self._command += ["--requests", str(requests), "--connections", str(connections), *more]
        self._command += ["--core", str(core)] if core is not None else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self._line()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, failed: object, *exc: object) -> None:
        if failed:
            self._process.kill()
        try:
            self._process.communicate(timeout=30)  # it reads the end of its input, and leaves
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def go(self) -> None:
        """Let it send."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def load(self) -> dict[str, Any]:
        """What `benches.driver.Load` says, when all is answered. Raises ``RuntimeError`` when it failed."""
        found: dict[str, Any] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the driver failed: see its output above")
        return line


def drive(server: Server, requests: int, connections: int = 64, core: int | None = None, *more: str) -> dict[str, Any]:
    """One round: what the driver says, with the server's ``cpu_us`` per request, and the ``rate`` in requests a second.

    What is shipped after the last answer is counted, making and closing the connections is not.
    """
    with Driver(server.port, requests, connections, core, *more) as driver:
        before = server.settled_cpu()
        driver.go()
        load = driver.load()
        used = server.settled_cpu() - before
    server.answered += load["answered"]
    return load | {"cpu_us": used / load["answered"] * 1e6, "rate": load["answered"] / load["seconds"]}
