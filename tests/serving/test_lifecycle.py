"""Section 6 of the contract while workers start and end: every answered request is one event."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from tests.kafka.broker import Broker, External
from tests.kafka.topics import read_committed
from tests.support.load import Load
from tests.support.servers import Command, Serve, Server, StartMethod, kafka_settings
from tests.support.waiting import wait_for


def events(server: Server) -> Counter[str]:
    return Counter(event["messageId"] for event in server.events())


@pytest.fixture(params=get_args(StartMethod))
def start_method(request: pytest.FixtureRequest) -> StartMethod:
    """Each way of Python's multiprocessing to start a worker: which one is usual, its version and the system decide."""
    method: StartMethod = request.param
    return method


def test_the_start_method_is_the_one_that_is_asked_for(serve: Serve, start_method: StartMethod) -> None:
    """Or the tests below would prove less. Granian's own choice under forkserver is spawn."""
    server = serve(start_method=start_method)
    (worker,) = server.workers()
    assert ("spawn_main" in Path(f"/proc/{worker}/cmdline").read_text()) == (start_method != "fork")


def assert_kept(load: Load, found: Counter[str]) -> None:
    """Every answer is an event, no event is there twice, and none was never sent."""
    assert load.answered, load.failures
    assert not load.answered - found.keys(), "answered, but no event"
    assert not found.keys() - load.sent, "nobody sent it"
    assert not [mid for mid, count in found.items() if count > 1], "repeated"


@pytest.mark.parametrize("command", get_args(Command))
def test_sigterm_under_load(
    command: Command, start_method: StartMethod, serve: Serve, broker: Broker | External, topic: str
) -> None:
    """Current requests are answered, the rest is shipped, and the exit code is 0."""
    settings = {**kafka_settings(broker.bootstrap, topic), "PIXELCORE_DRAIN_SECONDS": "60"}
    server = serve(settings, workers=2, command=command, start_method=start_method)
    with Load(server.port, rate=400) as load:
        load.wait(400)
        assert server.terminate(120) == 0
    assert server.events() == [], "all is shipped"
    assert_kept(load, Counter(message.mid for message in read_committed(broker.bootstrap, topic)))


def test_reload_under_load(serve: Serve, start_method: StartMethod) -> None:
    """SIGHUP replaces the workers one by one."""
    server = serve(workers=2, start_method=start_method)
    assert server.process is not None
    with Load(server.port, rate=400) as load:
        for _ in range(3):
            before = server.workers()
            load.wait(200)
            os.kill(server.process.pid, signal.SIGHUP)
            wait_for(partial(server.has_replaced, before), 60)
        load.wait(200)
    assert_kept(load, events(server))


def test_workers_that_grew_too_large(serve: Serve, start_method: StartMethod) -> None:
    """Granian's limit of a worker's memory, far below what one takes, so that they are replaced again and again."""
    limit = {"GRANIAN_WORKERS_MAX_RSS": "20", "GRANIAN_RSS_SAMPLE_INTERVAL": "1"}
    server = serve(limit, workers=2, command="granian", start_method=start_method)
    seen = set(server.workers())
    with Load(server.port, rate=400) as load:

        def replaced_twice() -> bool:
            seen.update(server.workers())
            return len(seen) >= 6

        wait_for(replaced_twice, 120, "nobody was replaced")
    assert_kept(load, events(server))
