"""Section 6 of the contract: every cause of a stall is reported, and a failed forwarder starts again."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixelcore
import pytest
from pixelcore.commands import checks
from pixelcore.observing.stalls import notices
from pixelcore.settings import Settings, load
from pixelcore.shipping import forwarder as forwarders
from pixelcore.shipping.forwarder import Forwarder
from pixelcore.shipping.journal_shipper import JournalShipper

from tests.kafka.broker import Broker, External, free_port, kafka_jars
from tests.kafka.topics import create
from tests.support.delivery import arrived, check
from tests.support.servers import kafka_settings
from tests.support.shipping import dead_journal
from tests.support.waiting import wait_for

pytestmark = pytest.mark.kafka


@contextmanager
def shipping(settings: Settings, own: tuple[pixelcore.Journal, pixelcore.Journal] | None = None) -> Iterator[Forwarder]:
    forwarder = Forwarder(settings, own=own)
    forwarder.start()
    try:
        yield forwarder
    finally:
        forwarder.stop(0)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall is one after two seconds."""
    monkeypatch.setattr("pixelcore.observing.stalls.STALLED_SECONDS", 2.0)


def told(settings: Settings, words: str) -> str:
    """The text of the notice, as soon as it has this part."""

    def texts() -> str:
        return "; ".join(notice.text for notice in notices(settings.data_dir))

    wait_for(lambda: words in texts(), 120, words)
    return texts()


def row(settings: Settings, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    checks.run(settings, 20.0)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line[5:].startswith(f"{name} "))
    return line


@pytest.fixture(scope="module")
def lone_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker with Kafka's own default of the replicas of the topic of transactions."""
    kafka_jars()
    replicas = {"transaction.state.log.replication.factor": "3", "transaction.state.log.min.isr": "2"}
    with Broker(tmp_path_factory.mktemp("lone"), replicas) as started:
        yield started


@pytest.mark.usefixtures("soon")
def test_a_lone_broker_with_kafkas_defaults(
    lone_broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No transaction ever begins there, and librdkafka does not report it."""
    settings = load(kafka_settings(lone_broker.bootstrap, topic) | {"PIXELCORE_DATA_DIR": str(tmp_path)})
    dead_journal(tmp_path, "one", 1)
    with shipping(settings):
        text = told(settings, "transaction.state.log.replication.factor")
        assert "no events have reached Kafka for" in text
        assert row(settings, "shipping", capsys).startswith("FAIL")
    assert notices(tmp_path) == []
    line = row(settings, "transactions", capsys)
    assert line.startswith("FAIL")
    assert "transaction.state.log.replication.factor is 3, but there are 1" in line
    assert "at-least-once" not in line


UNREACHABLE: list[tuple[str, str, str]] = [
    ("refused", "127.0.0.1:{closed}", "Connection refused"),
    ("an unknown host", "kafka.invalid:9092", "advertised.listeners must name hosts that resolve here"),
    ("nobody answers", "127.0.0.1:{silent}", "no events have reached Kafka"),
]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(("address", "words"), [pytest.param(*line[1:], id=line[0]) for line in UNREACHABLE])
def test_brokers_that_cannot_be_reached(topic: str, tmp_path: Path, address: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = address.format(closed=free_port(), silent=silent.getsockname()[1])
        settings = load(kafka_settings(there, topic) | {"PIXELCORE_DATA_DIR": str(tmp_path)})
        dead_journal(tmp_path, "one", 1)
        with shipping(settings):
            told(settings, words)


@pytest.mark.usefixtures("soon")
def test_a_topic_that_is_missing_and_cannot_be_made(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    chosen = kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_TOPIC_REPLICAS": "9"}
    settings = load(chosen | {"PIXELCORE_DATA_DIR": str(tmp_path)})
    create(broker.bootstrap, settings.checkpoint_topic, 25, compacted=True)
    sent = dead_journal(tmp_path, "one", 10)
    with shipping(settings):
        told(settings, "is missing and could not be created, or the ACLs hide it: create it")
        create(broker.bootstrap, topic)
        check(arrived(broker.bootstrap, topic, sent), sent, sent)
        wait_for(lambda: notices(tmp_path) == [], 60, "the notice is taken back")


def test_a_priority_that_cannot_be_had(
    broker: Broker | External,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As under a filter of system calls: a line in the log, and everything is shipped."""

    def refuse(_: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", refuse)
    settings = load(kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_DATA_DIR": str(tmp_path)})
    sent = dead_journal(tmp_path, "one", 100)
    own = (pixelcore.Journal(tmp_path / "events"), pixelcore.Journal(tmp_path / "rejections"))

    def complaints() -> int:
        return caplog.text.count("setpriority")

    with shipping(settings, own):
        own[0].append(pixelcore.event("track", "wk=dk_1&e=E&mid=own"))
        sent |= {"own"}
        check(arrived(broker.bootstrap, topic, sent), sent, sent)
        wait_for(lambda: complaints() >= 4, what="a line of each thread that ships")
    assert complaints() == 4


def test_a_thread_that_fails_starts_again_later_and_later(
    broker: Broker | External, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarders, "RESTART_SECONDS", 0.05)
    step, failures = JournalShipper.step, [0]

    def failing(self: JournalShipper) -> bool:
        failures[0] += 1
        if failures[0] <= 3:
            raise RuntimeError("a defect")
        return step(self)

    monkeypatch.setattr(JournalShipper, "step", failing)
    settings = load(kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_DATA_DIR": str(tmp_path)})
    sent = dead_journal(tmp_path, "one", 10)
    with shipping(settings):
        check(arrived(broker.bootstrap, topic, sent), sent, sent)


def test_own_events_do_not_wait_for_orphans(
    broker: Broker | External, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker ships its own journal in its own thread, so here no orphaned journal is ever shipped."""
    blocked = threading.Event()
    step = JournalShipper.step

    def own_only(self: JournalShipper) -> bool:
        if self.journal.is_live:
            return step(self)
        blocked.wait()
        return False

    monkeypatch.setattr(JournalShipper, "step", own_only)
    settings = load(kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_DATA_DIR": str(tmp_path)})
    orphans: set[str] = set()
    for number in range(3):
        orphans |= dead_journal(tmp_path, f"orphan{number}", 10)
    own = (pixelcore.Journal(tmp_path / "events"), pixelcore.Journal(tmp_path / "rejections"))
    with shipping(settings, own):
        own[0].append(pixelcore.event("track", "wk=dk_1&e=E&mid=own"))
        try:
            assert [message.mid for message in arrived(broker.bootstrap, topic, {"own"})] == ["own"]
        finally:
            blocked.set()


TRIALS: list[tuple[str, dict[str, str], str]] = [
    ("java's default", {"DELIVERY_TIMEOUT_MS": "120000"}, "PIXELCORE_KAFKA_DELIVERY_TIMEOUT_MS: "),
    ("the same by its other name", {"MESSAGE_TIMEOUT_MS": "30000"}, "PIXELCORE_KAFKA_MESSAGE_TIMEOUT_MS: "),
    ("linger", {"LINGER_MS": "60000"}, "PIXELCORE_KAFKA_LINGER_MS: "),
    ("no such property", {"LINGER_MSS": "5"}, "PIXELCORE_KAFKA_LINGER_MSS: "),
    ("one of several", {"LINGER_MS": "5", "MESSAGE_TIMEOUT_MS": "30000"}, "PIXELCORE_KAFKA_MESSAGE_TIMEOUT_MS: "),
]


@pytest.mark.parametrize(("properties", "named"), [pytest.param(*line[1:], id=line[0]) for line in TRIALS])
def test_properties_that_would_never_ship_stop_the_start(properties: dict[str, str], named: str) -> None:
    chosen: dict[str, Any] = {f"PIXELCORE_KAFKA_{name}": value for name, value in properties.items()}
    settings = load({"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", **chosen})
    with pytest.raises(pixelcore.SettingsError) as caught:
        Forwarder(settings)
    assert str(caught.value).startswith(named)
    assert "\n" not in str(caught.value)
