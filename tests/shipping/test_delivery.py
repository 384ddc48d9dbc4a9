"""The promise of section 6 of the contract, with real servers and a real Kafka.

Events that were answered with the pixel are in the topic: exactly once, or at least once if that is set, whatever
is killed or missing on the way.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pixelcore
import pytest
from pixelcore.shipping.policies import MAX_BACKOFF_SECONDS

from tests.kafka.broker import EXTERNAL, Broker, External
from tests.kafka.topics import create, read_committed
from tests.support.delivery import arrived, check, check_load, finish
from tests.support.load import Load
from tests.support.metrics import Scrape, with_metrics
from tests.support.paths import DATA
from tests.support.servers import Command, Serve, forward, journal_lines, kafka_settings
from tests.support.waiting import wait_for

pytestmark = pytest.mark.kafka

SEED_IMAGES = DATA / "seed_images.html"


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
def test_the_seeds_examples(serve: Serve, broker: Broker | External, topic: str, command: Command) -> None:
    server = serve(kafka_settings(broker.bootstrap, topic), command=command)
    paths = re.findall(r'^src="https://data\.example\.com(/[^"]*)"', SEED_IMAGES.read_text(), re.MULTILINE)
    assert len(paths) == 3
    for path in paths:
        assert server.get(path, {"User-Agent": "Seed/1", "Referer": "https://mail.example.com/"}).is_pixel

    messages = read_committed(broker.bootstrap, topic, expect=3)
    found = {}
    for message in messages:
        event = message.event
        assert event.pop("timestamp") == event.pop("receivedAt")
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event.pop("messageId")
        )
        library = event["context"].pop("library")
        assert library == {"name": "pixelcore", "version": pixelcore.__version__}
        found[event.get("event", event["type"])] = (message.key, event)

    common = {
        "pipelineKey": "dk_live_abc123",
        "context": {"ip": "127.0.0.1", "userAgent": "Seed/1", "page": {"url": "https://mail.example.com/"}},
    }
    user = {"userId": "user_98765"}
    opened = {"campaign_id": "camp_001", "email_subject": "February Newsletter"}
    viewed = {"url": "https://shop.example.com/offers?page=2&sort=price", "title": "Offers \u2013 Shop"}
    bought = {"order_id": "ORD-001", "revenue": "99.99", "currency": "USD"}
    assert found == {
        "Email Opened": (
            b"user_98765",
            {"type": "track", "event": "Email Opened", "properties": opened} | user | common,
        ),
        "page": (None, {"type": "page", "properties": viewed} | common),
        "Purchase": (b"user_98765", {"type": "track", "event": "Purchase", "properties": bought} | user | common),
    }


def test_the_server_starts_before_the_broker(serve: Serve, own_broker: Broker, topic: str) -> None:
    own_broker.stop()
    server = serve(kafka_settings(own_broker.bootstrap, topic))
    with Load(server.port) as load:
        load.wait(answers=300)
        assert server.get("/readyz").status == 200, "events are safe without Kafka"
        own_broker.start()
        load.wait(answers=300)
    assert not load.failures
    check_load(own_broker.bootstrap, topic, load)


def test_kafka_is_set_later(serve: Serve, broker: Broker | External, topic: str) -> None:
    create(broker.bootstrap, topic, partitions=3)
    server = serve(workers=2, command="granian")
    with Load(server.port) as load:
        load.wait(answers=500)
    assert server.terminate() == 0
    lines = journal_lines(server.data_dir / "events")
    assert len(lines) == len(load.answered), "without Kafka the journal is the destination"

    server.restart(**kafka_settings(broker.bootstrap, topic))
    messages = arrived(broker.bootstrap, topic, load.answered)
    assert Counter(message.value for message in messages) == Counter(lines), "the values are the journal's lines"
    for message in messages:
        assert message.key == message.event["userId"].encode()


def test_one_persons_events_stay_in_order(serve: Serve, broker: Broker | External, topic: str) -> None:
    create(broker.bootstrap, topic, partitions=3)
    server = serve(kafka_settings(broker.bootstrap, topic))
    with Load(server.port, connections=1) as load:
        load.wait(answers=500)
    order: dict[bytes | None, list[int]] = {}
    partitions: dict[bytes | None, set[int]] = {}
    for message in arrived(broker.bootstrap, topic, load.answered):
        order.setdefault(message.key, []).append(int(message.mid.rpartition("-")[2]))
        partitions.setdefault(message.key, set()).add(message.partition)
    assert all(numbers == sorted(numbers) for numbers in order.values())
    assert all(len(used) == 1 for used in partitions.values())


def test_kill_9_of_the_whole_server(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve(kafka_settings(broker.bootstrap, topic), workers=2)
    with Load(server.port) as load:
        for _ in range(3):
            load.wait(answers=100)
            time.sleep(random.uniform(0, 1.5))
            server.kill()
            server.restart()
        load.wait(answers=100)
    check_load(broker.bootstrap, topic, load)


def test_kill_9_of_one_worker(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve(kafka_settings(broker.bootstrap, topic), workers=2)
    with Load(server.port) as load:
        load.wait(answers=200)
        first, second = server.workers()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len({*server.workers()} - {first}) == 2, 60, f"no new worker beside {second}")
        assert second in server.workers()
        load.wait(answers=200)
    check_load(broker.bootstrap, topic, load)


def test_the_broker_is_gone_for_a_while(serve: Serve, own_broker: Broker, topic: str) -> None:
    """So long that the forwarder waits as long as it ever does between two tries."""
    port, metrics = with_metrics()
    server = serve(kafka_settings(own_broker.bootstrap, topic) | metrics)
    with Load(server.port, rate=200) as load:
        wait_for(lambda: Scrape(port).sum("shipped_events_total") > 0, 60, "nothing is shipped")
        own_broker.kill()
        wait_for(lambda: Scrape(port).sum("stalled_seconds") > 2 * MAX_BACKOFF_SECONDS, 60, "nothing stalls")
        own_broker.start()
        load.wait(answers=200)
    assert not load.failures
    check_load(own_broker.bootstrap, topic, load)


def test_at_least_once_survives_the_brokers_restart(serve: Serve, own_broker: Broker, topic: str) -> None:
    settings = kafka_settings(own_broker.bootstrap, topic) | {"PIXELCORE_DELIVERY": "at-least-once"}
    server = serve(settings, workers=2)
    with Load(server.port) as load:
        load.wait(answers=300)
        own_broker.stop()
        load.wait(answers=300)
        own_broker.start()
        load.wait(answers=300)
    assert not load.failures
    check_load(own_broker.bootstrap, topic, load, repeats=True)


@pytest.mark.parametrize("setting", [("DELIVERY", "at-least-once"), ("FSYNC", "always"), ("FSYNC", "never")])
def test_undisturbed_all_settings_deliver_once(
    serve: Serve, broker: Broker | External, topic: str, setting: tuple[str, str]
) -> None:
    name, value = setting
    server = serve(kafka_settings(broker.bootstrap, topic) | {f"PIXELCORE_{name}": value}, workers=2)
    with Load(server.port, connections=20) as load:
        load.wait(answers=500)
    assert not load.failures
    check_load(broker.bootstrap, topic, load)


def test_forward_ships_a_directory(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve(workers=2)
    with Load(server.port) as load:
        load.wait(answers=500)
    assert server.terminate() == 0
    settings = kafka_settings(broker.bootstrap, topic)
    for _ in range(2):
        code, output = finish(forward(server.data_dir, settings))
        assert code == 0, output
        assert server.events() == [], "what was shipped is gone"
    check_load(broker.bootstrap, topic, load)


@pytest.mark.parametrize("handover", ["0s", "1s"])
def test_sigterm_under_load(serve: Serve, broker: Broker | External, topic: str, handover: str) -> None:
    given = {"PIXELCORE_DRAIN_SECONDS": "60", "PIXELCORE_HANDOVER_SECONDS": handover}
    server = serve(kafka_settings(broker.bootstrap, topic) | given, workers=2)
    with Load(server.port) as load:
        load.wait(answers=300)
        assert server.terminate(timeout=150) == 0, server.log()
    assert server.events() == [], "with Kafka up, a server that was told to stop leaves nothing behind"
    check_load(broker.bootstrap, topic, load)


def test_twins_ship_the_same_directory_once(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    create(broker.bootstrap, topic, partitions=3)
    sent: set[str] = set()
    # The twins can only get into each other's way where both are at work on a journal, so there are several.
    for _ in range(4):
        with pixelcore.Journal(tmp_path / "one" / "events") as journal:
            for _ in range(2_500):
                mid = f"twin-{len(sent)}"
                sent.add(mid)
                journal.append(pixelcore.event("track", f"wk=dk_test_twin&e=Twin&mid={mid}&uid=user_{len(sent) % 50}"))
    directories = (tmp_path / "one", tmp_path / "two")
    shutil.copytree(*directories)

    settings = kafka_settings(broker.bootstrap, topic)
    for code, output in [finish(twin) for twin in [forward(directory, settings) for directory in directories]]:
        # Each journal has one winner; who lost one says so and exits 1, which may be both. Neither may fall over.
        assert code in (0, 1)
        assert "Traceback" not in output, output.replace("\\n", "\n")
    for directory in directories:
        code, output = finish(forward(directory, settings))
        assert code == 0, output
        assert journal_lines(directory / "events") == []
    check(arrived(broker.bootstrap, topic, sent), sent, sent)


def test_a_copy_of_a_live_server_takes_over(
    serve: Serve, broker: Broker | External, topic: str, tmp_path: Path
) -> None:
    settings = kafka_settings(broker.bootstrap, topic)
    server = serve(settings)
    with Load(server.port) as before:
        before.wait(answers=200)
    arrived(broker.bootstrap, topic, before.answered)  # it has nothing left to ship
    shutil.copytree(server.data_dir, tmp_path / "copy")
    code, output = finish(forward(tmp_path / "copy", settings))
    assert code == 0, output

    # The server was fenced off while it was idle, and finds out now.
    with Load(server.port) as after:
        after.wait(answers=200)
    assert not after.failures
    wait_for(lambda: " is forwarded by " in server.log(), 60, "the server does not know that it is fenced off")
    assert "Traceback" not in server.log()
    server.kill()
    server.restart()
    answered, sent = before.answered | after.answered, before.sent | after.sent
    check(arrived(broker.bootstrap, topic, answered), answered, sent)


def batches(log: Path) -> list[tuple[bool, int]]:
    """The record batches of a partition, in order: whether it is a control batch, and how many records it has.

    Source: https://kafka.apache.org/documentation/#recordbatch
    """
    found, data = [], log.read_bytes()
    while data and (length := int.from_bytes(data[8:12], "big")):
        attributes, last = int.from_bytes(data[21:23], "big"), int.from_bytes(data[23:27], "big")
        found.append((bool(attributes & 0x20), last + 1))
        data = data[12 + length :]
    return found


def test_a_transaction_is_one_request(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    """Of a transaction that takes several requests a partition, librdkafka's thread would wait for each in a loop."""
    if isinstance(broker, External):
        pytest.skip(f"reads the broker's files, which are not those of the one that {EXTERNAL} names")
    create(broker.bootstrap, topic, partitions=1)
    with pixelcore.Journal(tmp_path / "events") as journal:
        for number in range(4_000):
            # Some 300 and 1,300 bytes, so that events and bytes fill a batch.
            pad = "x" * (1_000 if number < 1_000 else 1)
            journal.append(pixelcore.event("track", f"wk=k&e=E&uid=user_{number}&p.pad={pad}"))
    assert finish(forward(tmp_path, kafka_settings(broker.bootstrap, topic)))[0] == 0
    # A commit is answered before its marker is written, which a read_committed reader waits for.
    assert len(read_committed(broker.bootstrap, topic)) == 4_000
    (log,) = (broker.directory / "data" / f"{topic}-0").glob("*.log")
    found = batches(log)
    assert sum(count for is_control, count in found if not is_control) == 4_000
    assert [is_control for is_control, _ in found] == [False, True] * (len(found) // 2), found
