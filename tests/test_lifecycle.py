"""Section 6 of the contract where workers come and go: whatever was answered is an event, once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from functools import partial
from typing import get_args

import pytest

from tests.conftest import Serve
from tests.kafka.broker import Broker, External
from tests.kafka.topics import read_committed
from tests.load import Load
from tests.servers import Command, Server, kafka_settings
from tests.test_worker import wait_for


def events(server: Server) -> Counter[str]:
    return Counter(event["messageId"] for event in server.events())


def replaced(server: Server, before: set[int]) -> bool:
    """Whether two workers run, and none of those that ran before."""
    now = set(server.workers())
    return len(now) == 2 and not before & now


def assert_kept(load: Load, found: Counter[str]) -> None:
    """Every answer is an event, no event is there twice, and none was never sent."""
    assert load.answered, load.failures
    assert not load.answered - found.keys(), "answered, but no event"
    assert not found.keys() - load.sent, "nobody sent it"
    assert not [mid for mid, count in found.items() if count > 1], "repeated"


@pytest.mark.parametrize("command", get_args(Command))
def test_sigterm_under_load(command: Command, serve: Serve, broker: Broker | External, topic: str) -> None:
    """What is under way is finished, what is left is shipped, and the exit code is 0."""
    server = serve(kafka_settings(broker.bootstrap, topic), workers=2, command=command)
    with Load(server.port, rate=400) as load:
        load.wait(400)
        began = time.monotonic()
        assert server.terminate() == 0
    assert time.monotonic() - began < 25, "it drained for longer than it may"
    assert server.events() == [], "all is shipped"
    assert_kept(load, Counter(message.mid for message in read_committed(broker.bootstrap, topic)))


def test_reload_under_load(serve: Serve) -> None:
    """SIGHUP replaces the workers one by one."""
    server = serve(workers=2)
    assert server.process is not None
    with Load(server.port, rate=400) as load:
        for _ in range(3):
            before = set(server.workers())
            load.wait(200)
            os.kill(server.process.pid, signal.SIGHUP)
            wait_for(partial(replaced, server, before), 30)
        load.wait(200)
    assert_kept(load, events(server))


def test_workers_that_grew_too_large(serve: Serve) -> None:
    """Granian's limit of a worker's memory, far below what one takes, so that they are replaced again and again."""
    limit = {"GRANIAN_WORKERS_MAX_RSS": "20", "GRANIAN_RSS_SAMPLE_INTERVAL": "1"}
    server = serve(limit, workers=2, command="granian")
    seen = set(server.workers())
    with Load(server.port, rate=400) as load:
        deadline = time.monotonic() + 30
        while len(seen) < 6 and time.monotonic() < deadline:
            seen |= set(server.workers())
            time.sleep(0.1)
    assert len(seen) >= 6, "nobody was replaced"
    assert_kept(load, events(server))
