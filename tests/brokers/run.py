"""One row of the matrix: a gateway of two workers under load, in front of a broker to which something is done."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.brokers.zookeeper import ZooKeeperBroker
from tests.kafka.broker import Broker
from tests.kafka.topics import Message, Reader
from tests.support.load import Load
from tests.support.metrics import Scrape, with_metrics
from tests.support.servers import Server, clean_environment

TOPIC, CHECKPOINTS = "raw-events", "pixelcore-checkpoints"
RATE = 100.0
TOLD_SECONDS = 180.0
"""A stall is told after a minute; the rest is for the way there."""
CAUGHT_UP_SECONDS = 150.0

OLDEST = "2.8.2"
"""The oldest broker that is tried, with ZooKeeper."""
VERSIONS = ("4.4.0", "3.9.1", "3.3.2", OLDEST)


class BrokenError(Exception):
    """A row proves nothing, or the operator was not told."""


@dataclass(frozen=True)
class Outcome:
    """What became of a row."""

    version: str
    title: str
    sent: int
    answered: int
    in_topic: int
    missing: int
    repeated: int
    told: tuple[str, ...]
    """What the operator was told while nothing was shipped."""
    trouble: str | None = None

    @property
    def ok(self) -> bool:
        return not (self.missing or self.repeated or self.trouble) and self.answered > 0


class Run:
    """The broker, the gateway and the load of a row. The gateway and the load begin with `begin`."""

    def __init__(self, directory: Path, version: str) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.version = version
        kind = ZooKeeperBroker if version == OLDEST else Broker
        self.broker = kind(directory / "kafka", version=None if version == VERSIONS[0] else version)
        self._told: list[str] = []
        self._server: Server | None = None
        self._load: Load | None = None

    @property
    def server(self) -> Server:
        """The gateway. Raises `BrokenError` before `begin`."""
        if self._server is None:
            raise BrokenError("there is no gateway yet")
        return self._server

    @property
    def load(self) -> Load:
        """What is sent. Raises `BrokenError` before `begin`."""
        if self._load is None:
            raise BrokenError("there is no load yet")
        return self._load

    def begin(self, settings: Mapping[str, str] | None = None) -> None:
        """Start the gateway with these settings besides the broker's address, and the load on it."""
        self._metrics, common = with_metrics(PIXELCORE_KAFKA_BOOTSTRAP_SERVERS=self.broker.bootstrap)
        self._server = Server(self.directory / "gateway", {**common, **(settings or {})}, workers_wanted=2)
        self.server.start()
        self._load = Load(self.server.port, rate=RATE, seconds=3600)
        self.load.requests_per_connection = 20  # so that each worker gets some
        self.load.start()

    def answers(self, seconds: float) -> None:
        """Let the load go on for so long."""
        self.load.wait(int(RATE * seconds * 0.8), timeout=seconds + 90)

    def arrives(self) -> None:
        """Wait until all that was answered until now is in the topic."""
        answered = set(self.load.answered)
        there = {message.mid for message in self._read(lambda found: answered <= {message.mid for message in found})}
        if missing := answered - there:
            raise BrokenError(f"{len(missing)} events have not arrived in {CAUGHT_UP_SECONDS:g} s")

    def kill(self) -> None:
        """``kill -9`` of the gateway, and its next start."""
        self.server.kill()
        self.server.start()

    def is_told(self, words: str, row: str = "shipping") -> None:
        """Wait until the log, the metric and ``check`` say that nothing is shipped, and ``words`` of why.

        ``row`` is what ``check`` tries by itself and finds wrong.
        """
        deadline = time.monotonic() + TOLD_SECONDS
        while (line := self._stall()) is None or words not in line:
            if time.monotonic() > deadline:
                raise BrokenError(f"the log does not say {words!r} of a stall, but {line!r}")
            time.sleep(0.5)
        # It is counted a moment after it is logged.
        while (seconds := Scrape(self._metrics).of("stalled_seconds", "events")) < 60:
            if time.monotonic() > deadline:
                raise BrokenError(f"pixelcore_stalled_seconds is {seconds}")
            time.sleep(0.5)
        rows = self._check()
        for name in {"shipping", row}:
            if not any(found.startswith(f"FAIL {name} ") for found in rows):
                raise BrokenError(f"`pixelcore check` does not fail at {name}: {rows}")
        self._told.append(words)

    def close(self) -> None:
        """End everything."""
        if self._load is not None:
            self._load.stop()
        if self._server is not None:
            self._server.kill()
        self.broker.close()

    def outcome(self, title: str, trouble: str | None) -> Outcome:
        """Let all that was answered arrive, and count."""
        if self._load is None:
            return Outcome(self.version, title, 0, 0, 0, 0, 0, (), trouble or "nothing was sent")
        self._load.stop()
        sent, answered = self._load.sent, self._load.answered
        messages = self._read(lambda messages: answered <= {message.mid for message in messages})
        mids = {message.mid for message in messages}
        if strangers := mids - sent:
            trouble = trouble or f"{len(strangers)} in the topic that nobody sent"
        missing, repeated = len(answered - mids), len(messages) - len(mids)
        told = tuple(dict.fromkeys(self._told))
        return Outcome(self.version, title, len(sent), len(answered), len(mids), missing, repeated, told, trouble)

    def _read(self, done: Callable[[list[Message]], bool]) -> list[Message]:
        with Reader(self.broker.bootstrap, TOPIC, CAUGHT_UP_SECONDS) as reader:
            reader.until(done, CAUGHT_UP_SECONDS)
            reader.poll(1)  # when repeats would be there, too
            return reader.messages

    def _stall(self) -> str | None:
        """The last line of the log that says that no events are shipped."""
        for line in reversed(self.server.log().splitlines()):
            if line.startswith("{") and (record := json.loads(line)).get("stalled_seconds"):
                return f"{record['message']}"
        return None

    def _check(self) -> list[str]:
        environment = clean_environment(
            {**self.server.settings, "PIXELCORE_METRICS_ADDRESS": "", "PIXELCORE_DATA_DIR": str(self.server.data_dir)}
        )
        command = [sys.executable, "-m", "pixelcore", "check", "--timeout", "5"]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        return found.stdout.splitlines()
