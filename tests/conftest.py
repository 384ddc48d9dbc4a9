"""Fixtures that start real systems, such as brokers and servers."""

from __future__ import annotations

import logging
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pixelcore.observing import log
from pixelcore.settings import DEFAULTS

from tests.kafka.broker import EXTERNAL, Broker, External, kafka_jars
from tests.support.paths import TESTS
from tests.support.servers import Command, Serve, Server, StartMethod
from tests.support.wire import COMMANDS

# CI must not fail by chance, and no test may fail because a machine is slow. Without CI, each run tries new examples.
hypothesis_settings.register_profile(
    "pixelcore",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
hypothesis_settings.load_profile("pixelcore")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker for tests that need a broker, to leave them out: ``-m 'not kafka'``."""
    config.addinivalue_line("markers", "kafka: needs a broker (Java, or PIXELCORE_TEST_KAFKA)")
    # A shell ignores it for background processes, and processes started here would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOWEST = (
    "docs/test_readme",
    "docs/test_docs",
    "docs/test_site",
    "deploy/test_packaging",
    "shipping/",
    "serving/test_lifecycle",
    "commands/test_replay",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Divide the tests among several processes (``--dist loadgroup``), such that none is left alone with the slow ones.

    Those that share a server with others of their file stay together, and so do the quick ones; all others go by
    themselves to whichever process is free. The slowest come first.
    """

    def rank(item: pytest.Item) -> int:
        place = item.path.as_posix().removeprefix(f"{TESTS}/")
        return next((number for number, start in enumerate(SLOWEST) if place.startswith(start)), len(SLOWEST))

    items.sort(key=rank)
    for item in items:
        found = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
        is_shared = any(fixtures[-1].scope in ("class", "module", "package") for fixtures in found)
        if is_shared or item.path.parent == TESTS / "quick":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


LOGGERS = [logging.getLogger(name) for name in log.config(DEFAULTS)["loggers"]]


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Restore logging after each test, so that a test that configures it does not change the records of others."""
    before = [(logger, logger.level, logger.propagate, logger.handlers[:]) for logger in LOGGERS]
    yield
    logging.disable(logging.NOTSET)  # `pixelcore check` disables logging in its process
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


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
    """A running broker for a single test, which may stop, kill and start it."""
    if os.environ.get(EXTERNAL) and not os.environ.get("CI"):
        pytest.skip(f"stops the broker, which is not done to the one that {EXTERNAL} names")
    kafka_jars()
    with Broker(tmp_path / "kafka") as started:
        yield started


@pytest.fixture
def topic() -> str:
    """A topic name that no other test uses. The gateway or the test creates the topic."""
    return f"raw-events-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A factory of running servers, each on a free port with an empty data directory. All are killed afterwards."""
    servers: list[Server] = []

    def start(
        settings: Mapping[str, str] | None = None,
        *,
        workers: int = 1,
        command: Command = "pixelcore",
        start_method: StartMethod | None = None,
    ) -> Server:
        directory = tmp_path / f"server-{len(servers)}"
        chosen = dict(settings or {})
        server = Server(directory, chosen, workers_wanted=workers, command=command, start_method=start_method)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()
        # pytest shows this only for failed tests.
        print(f"--- output of {server.url}\n{server.log()[-5000:]}")


@pytest.fixture(scope="module", params=COMMANDS, ids=["pixelcore serve", "granian"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of each kind with default settings, for all tests that do not change it."""
    command, workers = request.param
    shared = Server(tmp_path_factory.mktemp("http"), workers_wanted=workers, command=command)
    shared.start()
    yield shared
    shared.kill()
    print(f"--- output of {shared.url}\n{shared.log()[-5000:]}")


@pytest.fixture(scope="module")
def debug_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reports the outcome of each request."""
    shared = Server(tmp_path_factory.mktemp("debug"), {"PIXELCORE_DEBUG_HEADER": "true"})
    shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def token() -> str:
    """A messageId of the test's own."""
    return uuid.uuid4().hex
