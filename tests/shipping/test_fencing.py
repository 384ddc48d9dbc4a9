"""A fenced forwarder learns which process fenced it, also on a busy checkpoint topic."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from pixelcore.journals import JournalDirectory
from pixelcore.settings import Settings, load
from pixelcore.shipping import checkpoints
from pixelcore.shipping.checkpoints import partition_of
from pixelcore.shipping.delivery import ExactlyOnce, FencedError
from pixelcore.shipping.destination import Destination

from tests.kafka.broker import Broker, External
from tests.kafka.topics import create
from tests.support.servers import kafka_settings

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("patient")]


class NeverAtTheEnd(Consumer):
    """A consumer while others commit faster than it fetches: it never sees an end."""

    def poll(self, timeout: float = -1) -> Message | None:
        message = super().poll(timeout)
        error = message.error() if message is not None else None
        return None if error is not None and error.code() == KafkaError._PARTITION_EOF else message


class NeverBack(Consumer):
    """A consumer that librdkafka has locked up (confluentinc/librdkafka#5476)."""

    locked = threading.Event()

    closed = threading.Event()

    def poll(self, timeout: float = -1) -> Message | None:  # noqa: ARG002
        self.locked.wait()
        return None

    def close(self) -> None:
        super().close()
        self.closed.set()


def claim(settings: Settings, journal: Path, owner: str, *, fenced: bool = False) -> ExactlyOnce:
    return ExactlyOnce(Destination(settings, "events", own=True), {}, JournalDirectory(journal), owner, 0, fenced)


@contextmanager
def committing(other: ExactlyOnce) -> Iterator[None]:
    """Another gateway, which commits one checkpoint after the other."""
    begun, stopping = threading.Event(), threading.Event()

    def commit() -> None:
        for offset in itertools.count(1):
            if stopping.is_set():
                return
            other.deliver([], offset)
            begun.set()

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        stopping.set()
        thread.join()


@pytest.mark.parametrize("consumer", [Consumer, NeverAtTheEnd])
def test_who_fenced_us(
    monkeypatch: pytest.MonkeyPatch,
    broker: Broker | External,
    topic: str,
    tmp_path: Path,
    consumer: type[Consumer],
) -> None:
    create(broker.bootstrap, topic)
    settings = load(kafka_settings(broker.bootstrap, topic))
    journal = tmp_path / "journal"
    monkeypatch.setattr(checkpoints, "Consumer", consumer)
    claims = [claim(settings, journal, "first"), claim(settings, journal, "second")]
    # In the partition of the journal, of whose end nobody is told then.
    names = (f"other{number}" for number in itertools.count())
    other = claim(
        settings,
        tmp_path / next(name for name in names if partition_of(name, 25) == partition_of("journal", 25)),
        "other",
    )
    with committing(other):
        with pytest.raises(FencedError, match="second"):
            claim(settings, journal, "first", fenced=True)
        # Nobody came after the second, so it may go on.
        claims.append(claim(settings, journal, "second", fenced=True))
        claims[-1].deliver([], 10)
    for taken in (*claims, other):
        taken.close()


def test_a_consumer_that_locks_up_is_left_behind(
    broker: Broker | External, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shipping the journal fails and can be retried, instead of waiting for ever. The abandoned thread ends."""
    settings = load(kafka_settings(broker.bootstrap, topic))
    create(broker.bootstrap, topic)
    with monkeypatch.context() as locked:
        locked.setattr(checkpoints, "Consumer", NeverBack)
        locked.setattr(checkpoints, "QUIET_SECONDS", 0.5)
        with pytest.raises(KafkaException, match="does not show up"):
            claim(settings, tmp_path / "journal", "one")
    NeverBack.locked.set()
    assert NeverBack.closed.wait(30), "what comes back late reads no further"
    again = claim(settings, tmp_path / "journal", "two")
    assert again.committed == 0
    again.close()
