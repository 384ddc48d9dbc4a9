"""Section 6 of the contract, with real servers: a disk that is full, and files that somebody removes under a gateway."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, External
from tests.support.delivery import arrived, check, check_load, finish
from tests.support.journals import segments, small_file_system
from tests.support.load import Load
from tests.support.metrics import Scrape, with_metrics
from tests.support.servers import Serve, Server, forward, kafka_settings
from tests.support.waiting import wait_for


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The data directory of the first server, on a file system of 12 MB."""
    path = tmp_path / "server-0" / "data"
    with small_file_system(path, "12m") as mounted:
        if not mounted:
            pytest.fail("a full disk needs a file system of its own: this test mounts a tmpfs, so run it as root")
        yield path


def fill(disk: Path) -> Path:
    """Take all the space there is, as another program on the same disk does."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@pytest.mark.kafka
def test_a_full_disk_and_its_recovery(serve: Serve, broker: Broker | External, topic: str, small_disk: Path) -> None:
    """Every answer is the GIF, every loss is reported and counted, no accepted event is lost, and free space leads to recovery."""
    port, metrics = with_metrics(PIXELCORE_DEBUG_HEADER="true")
    server = serve(kafka_settings(broker.bootstrap, topic) | metrics)
    numbers = count()
    told: dict[str, str] = {}

    def ask() -> str:
        mid = f"full-{next(numbers)}"
        answer = server.get(f"/v1/pixel/track?wk=dk_1&e=E&mid={mid}&p.x={'x' * 1000}")
        assert answer.is_pixel
        told[mid] = answer.headers["x-pixelcore"]
        return told[mid]

    def ready() -> tuple[int, str]:
        answer = server.get("/readyz")
        return answer.status, answer.body.decode()

    for turn in range(2):
        assert {ask() for _ in range(50)} == {"accepted"}
        filler = fill(small_disk)
        # What is left of the segment's last block still takes some events.
        assert [ask() for _ in range(30)].count("lost") >= 20
        status, why = ready()
        assert (status, "room" in why) == (503, True), why
        assert server.get("/healthz").status == 200, "starting it again would help nobody"
        keyless = f"/v1/pixel/track?e=no+key&p.x={'x' * 5000}"
        assert server.get(keyless).headers["x-pixelcore"] == "lost", "a rejection has no room either"
        scrape = Scrape(port)
        assert scrape.of("lost_total") == list(told.values()).count("lost") + turn + 1
        assert scrape.sum("unready_workers") == 1
        (worker,) = server.workers()
        filler.unlink()
        wait_for(lambda: ready()[0] == 200, 60)
        assert server.workers() == [worker], "it recovers as it is"
        assert {ask() for _ in range(50)} == {"accepted"}
        assert server.get(keyless).headers["x-pixelcore"] == "missing_key"
    assert "events are being lost" in server.log()
    assert "events are safe again" in server.log()
    assert "Traceback" not in server.log()
    accepted = {mid for mid, word in told.items() if word == "accepted"}
    check(arrived(broker.bootstrap, topic, accepted), accepted, accepted)


def test_a_start_on_a_full_disk(serve: Serve, small_disk: Path) -> None:
    """The gateway answers, reports that events are being lost, and keeps events again as soon as it can."""
    filler = fill(small_disk)
    server = serve({"PIXELCORE_DEBUG_HEADER": "true"})
    target = "/v1/pixel/track?wk=dk_1&e=E&mid="
    first = server.get(f"{target}one")
    assert first.is_pixel
    assert first.headers["x-pixelcore"] == "lost"
    assert server.get("/readyz").status == 503
    filler.unlink()
    wait_for(lambda: server.get("/readyz").status == 200, 60)
    assert server.get(f"{target}two").headers["x-pixelcore"] == "accepted"
    assert [event["messageId"] for event in server.events()] == ["two"]


@pytest.mark.parametrize("ships", [pytest.param(True, marks=pytest.mark.kafka), False])
def test_a_data_directory_that_is_removed_under_a_gateway(
    request: pytest.FixtureRequest, serve: Serve, topic: str, tmp_path: Path, ships: bool
) -> None:
    """The gateway notices it within a second and reports it. No event is lost, because the open segments are restored."""
    bootstrap = request.getfixturevalue("broker").bootstrap if ships else ""
    settings = kafka_settings(bootstrap, topic) | {"PIXELCORE_DRAIN_SECONDS": "60"} if ships else {}
    server = serve(settings, workers=2)
    with Load(server.port, connections=24) as load:
        load.wait(answers=400)
        journals = {path.name for path in (server.data_dir / "events").iterdir()}
        assert len(journals) == 2, "both workers have connections"
        # At once, or the gateway would make new files in what is removed.
        shutil.rmtree(server.data_dir.rename(tmp_path / "removed"))
        load.wait(answers=300)
        wait_for(lambda: mended(server) == journals, 60)
        load.wait(answers=300)
    assert not load.failures
    assert server.get("/readyz").status == 200
    assert server.get("/healthz").status == 200
    assert "Traceback" not in server.log()
    if ships:
        check_load(bootstrap, topic, load)
        assert server.terminate(timeout=150) == 0
        assert server.events() == []
    else:
        found = Counter(event["messageId"] for event in server.events())
        assert load.answered <= found.keys() <= load.sent
        assert set(found.values()) == {1}


def mended(server: Server) -> set[str]:
    """The journals of events with a restored segment according to the log, with the bytes."""
    told = re.findall(
        r"journal (\S+): \S+/events/\S+/\d{20}\.ndjson was removed: its \d+ bytes are restored", server.log()
    )
    return set(told)


@pytest.mark.kafka
def test_damage_under_a_living_gateway(serve: Serve, broker: Broker | External, topic: str) -> None:
    """A removed segment in the middle, a cut one and a flipped byte: each is counted and named, the rest is shipped."""
    server = serve({"PIXELCORE_JOURNAL_SEGMENT_BYTES": "8KiB"})
    with Load(server.port) as load:
        load.wait(answers=300)
        (journal,) = (server.data_dir / "events").iterdir()
        removed, cut, flipped = segments(journal)[1], segments(journal)[3], segments(journal)[5]
        lost = mids(removed.read_bytes()) | mids(cut.read_bytes().split(b"\n", 1)[1])
        gone = removed.stat().st_size + cut.stat().st_size
        removed.unlink()
        first = len(cut.read_bytes().split(b"\n", 1)[0]) + 1
        os.truncate(cut, first + 10)
        gone -= first + 10
        line = flipped.read_bytes().split(b"\n", 1)[0]
        with flipped.open("r+b") as file:
            file.write(b"[")
        lost |= mids(line)
        load.wait(answers=100)
    # A forwarder beside the gateway meets it while it lives, and so does the gateway itself when Kafka is set.
    settings = kafka_settings(broker.bootstrap, topic)
    code, output = finish(forward(server.data_dir, settings))
    assert code == 0, output
    expected = load.answered - lost
    assert load.answered & lost
    check(arrived(broker.bootstrap, topic, expected), expected, load.sent - lost)
    assert f"journal {journal.name} at offset " in output
    assert f"10 bytes of a torn line, 1 corrupt lines, {gone} bytes of missing segments so far" in output, output


def mids(lines: bytes) -> set[str]:
    return {mid.decode() for mid in re.findall(rb'"messageId":"([^"]+)"', lines)}


@pytest.mark.kafka
def test_retained_segments_over_restarts(serve: Serve, broker: Broker | External, topic: str) -> None:
    """Shipped segments stay, are not shipped again, and are deleted after their retention."""
    settings = kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_JOURNAL_SEGMENT_BYTES": "8KiB"}
    server = serve(settings | {"PIXELCORE_JOURNAL_RETAIN": "1h"})
    answered, sent = set[str](), set[str]()
    for _ in range(2):
        with Load(server.port) as load:
            load.wait(answers=150)
        answered, sent = answered | load.answered, sent | load.sent
        arrived(broker.bootstrap, topic, load.answered)
        server.restart()
        assert answered <= {event["messageId"] for event in server.events()}, "kept"
    server.restart(PIXELCORE_JOURNAL_RETAIN="0s")
    wait_for(lambda: not server.events(), 120)
    check(arrived(broker.bootstrap, topic, answered), answered, sent)
