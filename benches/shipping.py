"""Ships as many events as a gateway would, without one.

A broker that shares the driver's core makes the driver late. So a server that is compared with a shipping gateway must be measured
next to a broker that is as busy. Each line of the input is a rate in events a second, which holds until the next line; 0 ships nothing.

    python -m benches.shipping --bootstrap localhost:9092 --topic raw-events
"""

from __future__ import annotations

import argparse
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pixelcore
from confluent_kafka import Producer
from pixelcore.settings import DEFAULTS

from benches.driver import CHROME, PEOPLE, target
from benches.fixtures import giving_way, pinned
from benches.servers import ROOT


class Shipping:
    """The process, which ships nothing yet."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @contextmanager
    def at(self, rate: float) -> Iterator[None]:
        """Ship so many events a second meanwhile."""
        self._say(rate)
        try:
            yield
        finally:
            self._say(0)

    def _say(self, rate: float) -> None:
        assert self._process.stdin is not None
        print(rate, file=self._process.stdin, flush=True)


@contextmanager
def shipping(bootstrap: str, topic: str, core: int | None) -> Iterator[Shipping]:
    """One that has only what others leave of its core."""
    command = [sys.executable, "-m", "benches.shipping", "--bootstrap", bootstrap, "--topic", topic]
    with pinned(core), giving_way():
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)
    try:
        yield Shipping(process)
    finally:
        process.communicate(timeout=30)  # it reads the end of its input, and leaves


def main() -> int:
    """Ship in transactions as a gateway's forwarder does, until the input ends."""
    parser = argparse.ArgumentParser(description="Ship events in transactions.")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    arguments = parser.parse_args()
    queries = [target(person).partition("?")[2] for person in range(PEOPLE)]
    events = [pixelcore.event("track", query, ip="127.0.0.1", user_agent=CHROME) for query in queries]
    producer = Producer({"bootstrap.servers": arguments.bootstrap, "transactional.id": f"shipping-{arguments.topic}"})
    producer.init_transactions(30)
    rate, due, sent = 0.0, time.monotonic(), 0
    while True:
        due = max(due + DEFAULTS.batch_interval, time.monotonic())
        wait = None if rate == 0 else max(0.0, due - time.monotonic())
        if select.select([sys.stdin], [], [], wait)[0]:
            if not (line := sys.stdin.readline()):
                return 0
            rate = float(line)
            continue
        producer.begin_transaction()
        for _ in range(int(rate * DEFAULTS.batch_interval)):
            producer.produce(arguments.topic, events[sent % PEOPLE], f"user_{sent % PEOPLE:05}")
            sent += 1
        producer.commit_transaction(30)


if __name__ == "__main__":
    sys.exit(main())
