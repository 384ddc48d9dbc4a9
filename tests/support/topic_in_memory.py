"""A topic in memory, for testing the decisions of shipping without a broker and without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from pixelcore import Journal
from pixelcore.journals import JournalDirectory
from pixelcore.settings import Settings
from pixelcore.shipping.delivery import Event
from pixelcore.shipping.destination import Destination
from pixelcore.shipping.journal_shipper import JournalShipper

from tests.support.journals import event

Outcome = Exception | None
"""The outcome of a batch: None if it arrives."""


class Waits(threading.Event):
    """An event for waits: it records the duration, and continues at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return self.is_set()

    @property
    def real(self) -> list[float]:
        """Those that take time."""
        return [seconds for seconds in self.seconds if seconds > 0]


@dataclass
class Topic:
    """The arrived events, and the attempts."""

    outcomes: Iterator[Outcome] = field(default_factory=lambda: iter(()))
    """The outcomes of the next batches. All later ones arrive."""
    lines: list[bytes] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    """The number of events of each batch."""
    opened: list[tuple[str, int, bool]] = field(default_factory=list)
    """The journal of each delivery, its known offset, and whether the journal may belong to another process."""
    closed: int = 0
    survives: bool = False
    """Whether a delivery continues after a failure."""


class Delivery:
    """Like `AtLeastOnce`, but into a `Topic`."""

    def __init__(self, topic: Topic, committed: int, topics: list[str]) -> None:
        self._topic = topic
        self.committed = committed
        self.survived = True
        self.topics = topics

    def deliver(self, events: list[Event], offset: int) -> None:
        self._topic.tries.append(len(events))
        outcome = next(self._topic.outcomes, None)
        self.survived = self._topic.survives
        if outcome is not None:
            raise outcome
        self.survived = True
        self._topic.lines += [event[0] for event in events]
        self.committed = offset

    def close(self) -> None:
        self._topic.closed += 1


def shipper_to(topic: Topic) -> Callable[[JournalDirectory, Destination], JournalShipper]:
    """Makes shippers that deliver into a topic."""

    class Shipper(JournalShipper):
        def _open(self) -> Delivery:
            topic.opened.append((self.journal.id, self._committed, self._ownership.may_be_lost))
            return Delivery(topic, max(self.journal.committed, self._committed), self._to.routing.all())

    return Shipper


def destination(data_dir: Path, **settings: object) -> tuple[Destination, Waits]:
    """A destination without connections, which records waits."""
    given: dict[str, object] = {"batch_interval": 0.0, "kafka": {"bootstrap.servers": "127.0.0.1:1"}, **settings}
    chosen = Settings(data_dir=data_dir, **given)  # type: ignore[arg-type]
    to, waits = Destination(chosen, "events"), Waits()
    to.halted = waits
    return to, waits


def kafka_error(code: int = KafkaError._TRANSPORT) -> KafkaException:
    """An error of librdkafka."""
    return KafkaException(KafkaError(code))


def written(data_dir: Path, count: int, size: int = 40, segment_bytes: int = 1 << 20) -> Journal:
    """A journal of so many events with a living writer."""
    journal = Journal(data_dir / "events", segment_bytes=segment_bytes)
    for number in range(count):
        journal.append(event(number, size))
    return journal


def claimed(journal: Journal, topic: Topic, data_dir: Path, **settings: object) -> tuple[JournalShipper, Waits]:
    to, waits = destination(data_dir, **settings)
    shipper = shipper_to(topic)(JournalDirectory(Path(journal.path)), to)
    assert shipper.claim()
    return shipper, waits


def ship(shipper: JournalShipper, topic: Topic, count: int) -> None:
    """Wait until so many events have arrived."""
    while len(topic.lines) < count:
        shipper.step()


FAILS = kafka_error()
