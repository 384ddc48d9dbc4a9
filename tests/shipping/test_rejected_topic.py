"""Section 5 of the contract: rejections are shipped to their own topic, and never delay events."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from pathlib import Path

import pixelcore
import pytest
from pixelcore import settings
from pixelcore.journals import JournalDirectory
from pixelcore.shipping.destination import Destination
from pixelcore.shipping.journal_shipper import JournalShipper

from tests.kafka.broker import Broker, External
from tests.kafka.topics import Message, Reader, create, read_committed
from tests.support.delivery import arrived, finish, ship
from tests.support.servers import Serve, Server, forward, journal_lines, kafka_settings
from tests.support.waiting import wait_for
from tests.support.wire import GOOD

pytestmark = pytest.mark.kafka


def settings_of(broker: Broker | External, topic: str) -> dict[str, str]:
    return kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_KAFKA_REJECTED_TOPIC": f"{topic}-rejected"}


def record(number: int) -> bytes:
    """A rejection's record that is known by its number."""
    members = {
        "reason": "missing_key",
        "type": "page",
        "query": f"n={number}",
        "receivedAt": "2025-02-25T14:30:00.000Z",
    }
    return json.dumps({**members, "context": {}}).encode()


def number_of(message: Message) -> int:
    return int(message.event["query"].removeprefix("n="))


def dead_rejections(data_dir: Path, count: int) -> list[bytes]:
    """A journal of rejections whose writer is gone."""
    lines = [record(number) for number in range(count)]
    with pixelcore.Journal(data_dir / "rejections", segment_bytes=20_000) as journal:
        for line in lines:
            journal.append(line)
    return lines


def producers(server: Server) -> int:
    """How many librdkafka clients a server's only worker has: each has a main thread."""
    (worker,) = server.workers()
    found = 0
    for path in Path(f"/proc/{worker}/task").glob("*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += path.read_text().strip() == "rdk:main"
    return found


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_rejections_have_their_topic(serve: Serve, broker: Broker | External, topic: str, delivery: str) -> None:
    more = {"PIXELCORE_DELIVERY": delivery, "PIXELCORE_DRAIN_SECONDS": "60"}
    server = serve(settings_of(broker, topic) | more, workers=2)
    for number in range(200):
        assert server.get(f"{GOOD}&mid=m{number}&uid=u{number}").is_pixel
        assert server.get(f"/v1/pixel/page?n={number}&uid=u{number}").is_pixel
    events = arrived(broker.bootstrap, topic, [f"m{number}" for number in range(200)])
    rejections = read_committed(broker.bootstrap, f"{topic}-rejected", expect=200)
    assert server.terminate(timeout=150) == 0
    assert Counter(event.mid for event in events) == Counter(f"m{number}" for number in range(200))
    assert Counter(one.event["query"] for one in rejections) == Counter(f"n={n}&uid=u{n}" for n in range(200))
    for one in rejections:
        assert one.key is None
        assert list(one.event) == ["reason", "type", "query", "receivedAt", "context"]
    assert (server.events(), server.rejections()) == ([], []), "what is shipped is deleted"
    assert "Traceback" not in server.log()


def test_a_producer_is_made_for_the_first_rejection(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve(settings_of(broker, topic))
    assert server.get(f"{GOOD}&mid=one").is_pixel
    arrived(broker.bootstrap, topic, ["one"])
    wait_for(lambda: producers(server) == 1, 60, "a single producer")
    assert server.get("/v1/pixel/page").is_pixel
    wait_for(lambda: producers(server) == 2, 60, "a second producer")
    assert len(read_committed(broker.bootstrap, f"{topic}-rejected", expect=1)) == 1


def test_without_a_topic_they_stay(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    lines = dead_rejections(tmp_path, 300)
    ship(tmp_path, kafka_settings(broker.bootstrap, topic))
    assert journal_lines(tmp_path / "rejections") == lines
    for _ in range(2):
        ship(tmp_path, settings_of(broker, topic) | {"PIXELCORE_JOURNAL_RETAIN": "1h"})
        assert journal_lines(tmp_path / "rejections") == lines
    ship(tmp_path, settings_of(broker, topic))
    assert list((tmp_path / "rejections").iterdir()) == []
    assert Counter(one.value for one in read_committed(broker.bootstrap, f"{topic}-rejected")) == Counter(lines)


def test_forward_is_killed_again_and_again(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    lines = dead_rejections(tmp_path, 10_000) + dead_rejections(tmp_path, 10_000)
    for tenths in (6, 8, 10, 12):
        process = forward(tmp_path, settings_of(broker, topic))
        time.sleep(tenths / 10)
        process.kill()
        process.communicate()
    ship(tmp_path, settings_of(broker, topic))
    with Reader(broker.bootstrap, f"{topic}-rejected") as reader:
        assert reader.until(lambda messages: len(messages) >= len(lines), 120)
        reader.poll(1)
        assert Counter(one.value for one in reader.messages) == Counter(lines)


@pytest.mark.parametrize("retain", ["0s", "1h"])
def test_the_oldest_are_dropped_meanwhile(broker: Broker | External, topic: str, tmp_path: Path, retain: str) -> None:
    """A budget of some hundred records, and a writer that is faster than any broker."""
    environment = settings_of(broker, topic) | {"PIXELCORE_JOURNAL_RETAIN": retain}
    root = tmp_path / "rejections"
    with pixelcore.Journal(root, max_bytes=2**16, when_full="drop_oldest") as journal:
        journal.append(record(0))
        process = forward(tmp_path, environment, "--follow")
        try:
            deadline, number = time.monotonic() + 6, 0
            while time.monotonic() < deadline:
                number += 1
                journal.append(record(number))
                if number % 100 == 0:
                    time.sleep(0.002)
            with Reader(broker.bootstrap, f"{topic}-rejected") as reader:
                assert reader.until(lambda messages: number in map(number_of, messages), 120)
                found = sorted(map(number_of, reader.messages))
        finally:
            process.terminate()
            code, output = finish(process)
    assert code == 0, output
    assert found == sorted(set(found)), "none twice"
    assert 100 < len(found) < number, "some were dropped"
    assert "bytes of missing segments" in output
    complaints = [line for line in output.splitlines() if "trying again" in line or "Traceback" in line]
    assert complaints == []
    assert output.count("missing segments") < 10, "a flood is no flood of the log"


@pytest.mark.parametrize("retain", ["0s", "1h"])
def test_a_journal_is_dropped_whole_meanwhile(
    broker: Broker | External, topic: str, tmp_path: Path, retain: str
) -> None:
    """As a living sibling does to a dead writer's journal."""
    dead_rejections(tmp_path, 20_000)
    (journal,) = (tmp_path / "rejections").iterdir()
    environment = settings_of(broker, topic) | {"PIXELCORE_JOURNAL_RETAIN": retain}
    destination = Destination(settings.load(environment), "rejections")
    shipment = JournalShipper(JournalDirectory(journal), destination)
    assert shipment.claim()
    assert shipment.step()
    shutil.rmtree(journal)
    wait_for(lambda: not shipment.step() and shipment.done, 60, "it is done")
    assert (shipment.done, shipment.stuck, journal.exists()) == (True, False, False)


def test_a_topic_that_takes_none_holds_up_no_event(serve: Serve, broker: Broker | External, topic: str) -> None:
    for name in (topic, f"{topic}-checkpoints"):
        create(broker.bootstrap, name, compacted=name != topic)
    # The one that is missing cannot be made: there is one broker.
    server = serve(settings_of(broker, topic) | {"PIXELCORE_TOPIC_REPLICAS": "9"})
    dead_rejections(server.data_dir, 1000)
    assert server.get("/v1/pixel/page?n=1").is_pixel
    wait_for(lambda: "trying again" in server.log(), 60, "a complaint")
    mids = [f"m{number}" for number in range(20)]
    for mid in mids:
        assert server.get(f"{GOOD}&mid={mid}").is_pixel
        time.sleep(0.05)
    with Reader(broker.bootstrap, topic) as reader:
        assert reader.until(lambda messages: len(messages) == len(mids), 60)
    assert server.get("/healthz").status == 200
    assert server.terminate() == 0
    assert len(server.rejections()) == 1001, "they wait for a topic that does"
