"""Fixtures that start real systems: brokers and servers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings as hypothesis_settings

from tests.kafka.broker import EXTERNAL, Broker, External, kafka_jars
from tests.servers import Command, Server
from tests.wire import COMMANDS

# CI must not fail by luck, and a loaded machine must not fail by slowness; without CI each run looks somewhere new.
hypothesis_settings.register_profile("pixelcore", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis_settings.load_profile("pixelcore")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that leaves out what needs a broker: ``-m 'not kafka'``."""
    config.addinivalue_line("markers", "kafka: needs a broker (Java, or PIXELCORE_TEST_KAFKA)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that of several processes none is left alone with them at the end."""
    slow = ("test_readme", "test_delivery", "test_forwarder", "test_rejected_topic", "test_url", "test_replay")
    items.sort(key=lambda item: slow.index(item.path.stem) if item.path.stem in slow else len(slow))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker | External]:
    """The broker of the whole run, or of one of its processes: the one that PIXELCORE_TEST_KAFKA names, else one that is started here."""
    if bootstrap := os.environ.get(EXTERNAL):
        yield External(bootstrap)
        return
    kafka_jars()
    with Broker(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker for one test alone, which may stop, kill and start it."""
    if os.environ.get(EXTERNAL) and not os.environ.get("CI"):
        pytest.skip(f"stops the broker, which is not done to the one that {EXTERNAL} names")
    kafka_jars()
    with Broker(tmp_path / "kafka") as started:
        yield started


@pytest.fixture
def topic() -> str:
    """The name of a topic that no other test uses. The gateway creates it, or the test does."""
    return f"raw-events-{uuid.uuid4().hex[:12]}"


class Serve(Protocol):
    """Start a server."""

    def __call__(
        self, settings: Mapping[str, str] | None = None, *, workers: int = 1, command: Command = "pixelcore"
    ) -> Server: ...


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A factory of running servers, each on a free port with an empty data directory; all are killed afterwards."""
    servers: list[Server] = []

    def start(settings: Mapping[str, str] | None = None, *, workers: int = 1, command: Command = "pixelcore") -> Server:
        directory = tmp_path / f"server-{len(servers)}"
        server = Server(directory, dict(settings or {}), workers_wanted=workers, command=command)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()
        # pytest shows this for tests that fail only.
        print(f"--- output of {server.url}\n{server.log()[-5000:]}")


@pytest.fixture(scope="module", params=COMMANDS, ids=["pixelcore serve", "granian"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of each kind with nothing but defaults, for all tests that leave it as it was."""
    command, workers = request.param
    shared = Server(tmp_path_factory.mktemp("http"), workers_wanted=workers, command=command)
    shared.start()
    yield shared
    shared.kill()
    print(f"--- output of {shared.url}\n{shared.log()[-5000:]}")


@pytest.fixture(scope="module")
def debug_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that says what it made of a request."""
    shared = Server(tmp_path_factory.mktemp("debug"), {"PIXELCORE_DEBUG_HEADER": "true"})
    shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def token() -> str:
    """A messageId of the test's own."""
    return uuid.uuid4().hex
