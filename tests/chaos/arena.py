"""The arena of the faults: the cluster, the gateways, the run's random numbers, and a watching consumer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pixelcore.timeouts import CallTimeoutError, call_with_timeout

from tests.chaos.accounting import Traffic
from tests.chaos.cluster import Cluster
from tests.chaos.gateways import RECOVERY_SECONDS, Gateway
from tests.kafka.topics import Message, Reader

TOPIC = "raw-events"
CHECKPOINTS = "pixelcore-checkpoints"
# One gateway for each of the two promises of a GIF.
FSYNC = ("1s", "always")
# The default of 15 s, shortened so that a process can be stopped for longer than it. librdkafka takes its request
# timeouts from it.
TRANSACTION_SECONDS = 6.0
# A consumer that takes longer has locked up, as librdkafka's may while brokers fail (confluentinc/librdkafka#5476).
LOCKED_SECONDS = 20.0


class Arena:
    """Two gateways that ship to one cluster through proxies."""

    def __init__(self, directory: Path, library: Path, cluster: Cluster, rng: random.Random, rate: float) -> None:
        self.directory = directory
        self.cluster = cluster
        self.rng = rng
        self.forwarding = {
            "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap_of_gateways,
            "PIXELCORE_KAFKA_TRANSACTION_TIMEOUT_MS": str(int(TRANSACTION_SECONDS * 1000)),
        }
        self._library = library
        self._rate = rate
        self.gateways = [self._gateway({"PIXELCORE_FSYNC": fsync}, number) for number, fsync in enumerate(FSYNC)]
        self.guests: list[Gateway] = []
        """Gateways of one phase only."""
        self.gone: list[Traffic] = []
        """The knowledge of gateways that ran for one phase only."""
        self._numbers = itertools.count(len(FSYNC))
        self._watcher: Reader | None = None
        self._seen: set[str] = set()
        self._read = 0

    def guest(self, settings: Mapping[str, str], phase: int) -> Gateway:
        """Start one more gateway, whose requests are those of ``phase``."""
        gateway = self._gateway(settings, next(self._numbers))
        gateway.load.phase = phase
        self.guests.append(gateway)
        gateway.start()
        return gateway

    def dismiss(self) -> None:
        """End the gateways of one phase, and keep their knowledge."""
        while self.guests:
            guest = self.guests.pop()
            guest.close()
            self.gone.append(guest.load.traffic)

    def close(self) -> None:
        """Kill and clean up everything but the cluster."""
        for gateway in (*self.gateways, *self.guests):
            gateway.close()
        if self._watcher is not None:
            with suppress(CallTimeoutError):
                call_with_timeout(LOCKED_SECONDS, self._watcher.close)

    def pick(self) -> Gateway:
        """One of the gateways."""
        return self.rng.choice(self.gateways)

    def watch(self, seconds: float = 0.2) -> list[Message]:
        """The events that a read_committed consumer has seen so far."""
        if self._watcher is None:
            self._watcher = Reader(self.cluster.bootstrap, TOPIC, RECOVERY_SECONDS)
        watcher = self._watcher
        try:
            call_with_timeout(LOCKED_SECONDS, lambda: watcher.poll(seconds))
        except CallTimeoutError:
            # Another one begins at the beginning.
            self._watcher, self._read = None, 0
            return []
        return watcher.messages

    def behind(self, mids: set[str]) -> int:
        """The number of messageIds that the consumer has not seen yet."""
        messages = self.watch()
        self._seen.update(message.mid for message in messages[self._read :])
        self._read = len(messages)
        return len(mids - self._seen)

    def _gateway(self, settings: Mapping[str, str], number: int) -> Gateway:
        directory = self.directory / f"gateway-{number}"
        return Gateway(number, directory, self._library, self.forwarding | dict(settings), self._rate)
