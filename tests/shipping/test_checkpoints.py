"""Section 6 of the contract: opening a journal finds its checkpoints among any others in the topic."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]
from pixelcore.journals import JournalDirectory
from pixelcore.settings import load
from pixelcore.shipping.checkpoints import partition_of
from pixelcore.shipping.delivery import ExactlyOnce
from pixelcore.shipping.destination import Destination

from tests.kafka.broker import Broker, External
from tests.kafka.topics import alter, create, read_committed
from tests.support.delivery import arrived, check, finish, ship
from tests.support.servers import forward, kafka_settings
from tests.support.shipping import dead_journal
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("patient")]


def opened(settings: dict[str, str], journal: Path) -> ExactlyOnce:
    """A journal that is opened by a process which has never seen it."""
    return ExactlyOnce(Destination(load(settings), "events"), {}, JournalDirectory(journal), "somebody", 0, False)


def commit(settings: dict[str, str], journal: Path, offset: int) -> None:
    delivery = opened(settings, journal)
    delivery.deliver([], offset)
    delivery.close()
    delivery._to.close()


def committed(settings: dict[str, str], journal: Path) -> int:
    delivery = opened(settings, journal)
    try:
        return delivery.committed
    finally:
        delivery.close()
        delivery._to.close()


def journal_in(directory: Path, partition: int) -> Path:
    """A name for a journal whose checkpoints are in a partition, of the present time."""
    with_time = f"{int(time.time() * 1000):012x}"
    while True:
        random = uuid.uuid4().hex
        name = str(uuid.UUID(f"{with_time}7{random[13:]}"))
        if partition_of(name, 25) == partition:
            return directory / name


@pytest.fixture
def settings(broker: Broker | External, topic: str) -> dict[str, str]:
    create(broker.bootstrap, topic)
    return kafka_settings(broker.bootstrap, topic)


@pytest.mark.parametrize("partitions", [1, 3, 25, 30])
def test_any_number_of_partitions(
    broker: Broker | External, settings: dict[str, str], tmp_path: Path, partitions: int
) -> None:
    create(broker.bootstrap, settings["PIXELCORE_CHECKPOINT_TOPIC"], partitions, compacted=True)
    journals = [journal_in(tmp_path, partition) for partition in (1, 7, 24)]
    for number, journal in enumerate(journals):
        commit(settings, journal, 100 + number)
    assert [committed(settings, journal) for journal in journals] == [100, 101, 102]


def test_partitions_that_are_added_later_lose_no_checkpoint(
    broker: Broker | External, settings: dict[str, str], tmp_path: Path
) -> None:
    name = settings["PIXELCORE_CHECKPOINT_TOPIC"]
    create(broker.bootstrap, name, 1, compacted=True)
    journals = [journal_in(tmp_path, partition) for partition in (1, 7, 24)]
    for number, journal in enumerate(journals):
        commit(settings, journal, 100 + number)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_partitions([NewPartitions(name, 25)])[name].result(60)
    wait_for(lambda: len(admin.list_topics(name, timeout=60).topics[name].partitions) == 25, 60, "partitions")
    assert [committed(settings, journal) for journal in journals] == [100, 101, 102]
    for journal in journals:
        commit(settings, journal, 200)
    assert [committed(settings, journal) for journal in journals] == [200, 200, 200]


def test_a_stranger_s_open_transaction_delays_its_own_partition_only(
    broker: Broker | External, settings: dict[str, str], tmp_path: Path
) -> None:
    name = settings["PIXELCORE_CHECKPOINT_TOPIC"]
    create(broker.bootstrap, name, 25, compacted=True)
    stranger = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"stranger-{name}"})
    stranger.init_transactions(60)
    stranger.begin_transaction()
    stranger.produce(name, b"{}", b"somebody's", partition=7)
    stranger.flush(60)
    destination = Destination(load(settings), "events", own=True)
    free = ExactlyOnce(destination, {}, JournalDirectory(journal_in(tmp_path, 8)), "somebody", 0, False)
    assert free.committed == 0, "it is open while the stranger's transaction is"
    free.close()
    stranger.abort_transaction(60)


@pytest.mark.parametrize(("timestamps", "ahead_seconds"), [("CreateTime", 1200), ("LogAppendTime", 86_400)])
def test_the_times_in_the_topic_may_be_the_brokers(
    broker: Broker | External, settings: dict[str, str], tmp_path: Path, timestamps: str, ahead_seconds: int
) -> None:
    name = settings["PIXELCORE_CHECKPOINT_TOPIC"]
    create(broker.bootstrap, name, 25, compacted=True, config={"message.timestamp.type": timestamps})
    # The gateway's clock was ahead of the broker's when the journal began.
    born = int((time.time() + ahead_seconds) * 1000)
    journal = tmp_path / str(uuid.UUID(f"{born:012x}7{uuid.uuid4().hex[13:]}"))
    commit(settings, journal, 100)
    commit(settings, journal, 300)
    assert committed(settings, journal) == 300


def test_a_topic_that_forgets_is_refused(broker: Broker | External, settings: dict[str, str], tmp_path: Path) -> None:
    """Retention would delete checkpoints, and events would be repeated."""
    name = settings["PIXELCORE_CHECKPOINT_TOPIC"]
    create(broker.bootstrap, name, 25)
    dead_journal(tmp_path, "one", 10)
    code, output = finish(forward(tmp_path, settings))
    assert code == 1
    assert f"PIXELCORE_CHECKPOINT_TOPIC: {name}: cleanup.policy is not compact" in output
    assert read_committed(broker.bootstrap, settings["PIXELCORE_TOPIC"]) == []
    alter(broker.bootstrap, name, "cleanup.policy", "compact")
    ship(tmp_path, settings)


def test_a_topic_that_is_deleted_repeats_nothing(
    broker: Broker | External, settings: dict[str, str], tmp_path: Path
) -> None:
    """The committed offset next to the segments also counts."""
    sent = dead_journal(tmp_path, "one", 300)
    ship(tmp_path, settings | {"PIXELCORE_JOURNAL_RETAIN": "1h"})
    for note in tmp_path.glob("events/*/shipped"):
        note.unlink()
    name = settings["PIXELCORE_CHECKPOINT_TOPIC"]
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_topics([name])[name].result(60)
    wait_for(lambda: name not in admin.list_topics(timeout=60).topics, 60, "the topic is gone")
    ship(tmp_path, settings)
    check(arrived(broker.bootstrap, settings["PIXELCORE_TOPIC"], sent), sent, sent)


@pytest.mark.parametrize(("first", "then"), [("exactly-once", "at-least-once"), ("at-least-once", "exactly-once")])
def test_the_way_of_delivery_may_change(
    broker: Broker | External, settings: dict[str, str], tmp_path: Path, first: str, then: str
) -> None:
    sent = dead_journal(tmp_path, "one", 500)
    kept = settings | {"PIXELCORE_JOURNAL_RETAIN": "1h"}
    ship(tmp_path, kept | {"PIXELCORE_DELIVERY": first})
    for note in tmp_path.glob("events/*/shipped"):
        note.unlink()
    ship(tmp_path, settings | {"PIXELCORE_DELIVERY": then})
    check(arrived(broker.bootstrap, settings["PIXELCORE_TOPIC"], sent), sent, sent)
