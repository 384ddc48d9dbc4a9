"""Section 6 of the contract, the rare paths of the forwarder: pauses, retention, refusals, damage, and other processes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import pixelcore
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pixelcore import settings
from pixelcore.journals import JournalDirectory
from pixelcore.shipping.forwarder import NICENESS, Forwarder
from pixelcore.shipping.journal_shipper import JournalShipper

from tests.kafka.broker import Broker, External, kafka_jars
from tests.kafka.topics import read_committed
from tests.support.delivery import arrived, check, check_load, finish, ship
from tests.support.journals import segments
from tests.support.load import Load
from tests.support.servers import Serve, forward, journal_lines, kafka_settings
from tests.support.waiting import wait_for

pytestmark = pytest.mark.kafka


@pytest.fixture
def impatient_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that looks for overdue transactions twice a second, not every ten seconds."""
    kafka_jars()
    name = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
    with Broker(tmp_path / "kafka", {name: "500"}) as started:
        yield started


def dead_journal(data_dir: Path, name: str, count: int, *, segment_bytes: int = 1 << 20, filler: int = 0) -> set[str]:
    """A journal of events whose writer is gone; returns their messageIds."""
    mids = [f"{name}-{number}" for number in range(count)]
    with pixelcore.Journal(data_dir / "events", segment_bytes=segment_bytes) as journal:
        for number, mid in enumerate(mids):
            query = f"wk=dk_test_forward&e=Forward&mid={mid}&uid=user_{number % 50}&p.x={'x' * filler}"
            journal.append(pixelcore.event("track", query))
    return set(mids)


def test_workers_paused_beyond_the_transaction_timeout(serve: Serve, impatient_broker: Broker, topic: str) -> None:
    """The coordinator fences who lets a transaction lie, as it does a predecessor; but there is no successor here."""
    settings = kafka_settings(impatient_broker.bootstrap, topic)
    server = serve(settings | {"PIXELCORE_KAFKA_TRANSACTION_TIMEOUT_MS": "3000"}, workers=2)
    with Load(server.port, rate=600) as load:
        load.wait(answers=300)
        paused = server.workers()
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(6)
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
        load.wait(answers=300)
    check_load(impatient_broker.bootstrap, topic, load)
    assert server.workers() == paused
    assert server.get("/healthz").status == 200
    assert "Traceback" not in server.log()


def test_small_batches_wait_for_more(serve: Serve, broker: Broker | External, topic: str) -> None:
    """Each batch has a fixed cost, and no load may cause more than so many batches per second."""
    chosen = kafka_settings(broker.bootstrap, topic)
    server = serve(chosen)

    def batches() -> int:
        return len(read_committed(broker.bootstrap, chosen["PIXELCORE_CHECKPOINT_TOPIC"]))

    with Load(server.port) as first:
        first.wait(answers=1)
    arrived(broker.bootstrap, topic, first.answered)  # else most of the time would be the opening
    before, began = batches(), time.monotonic()
    with Load(server.port, rate=500) as load:
        load.wait(answers=1000)
    most = (time.monotonic() - began) / settings.DEFAULTS.batch_interval + 5  # and what is left after the last answer
    arrived(broker.bootstrap, topic, load.answered)
    assert 0 < batches() - before <= most


def tasks(process: int) -> set[Path]:
    return set(Path(f"/proc/{process}/task").iterdir())


def niceness_of_librdkafka(worker: int, before: AbstractSet[Path] = frozenset()) -> set[int]:
    """How much lower than here the priority of its threads is, but for those of clients that were there before."""
    own, found = os.getpriority(os.PRIO_PROCESS, os.getpid()), set()
    for task in tasks(worker) - before:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            if (task / "comm").read_text().startswith("rdk:"):
                found.add(os.getpriority(os.PRIO_PROCESS, int(task.name)) - own)
    return found


def test_answers_go_first(serve: Serve, broker: Broker | External, topic: str) -> None:
    """Shipping runs at a lower priority than answering."""
    server = serve(kafka_settings(broker.bootstrap, topic))
    with Load(server.port) as load:
        load.wait(answers=1)
    arrived(broker.bootstrap, topic, load.answered)
    (worker,) = server.workers()
    assert niceness_of_librdkafka(worker) == {NICENESS}
    assert os.getpriority(os.PRIO_PROCESS, worker) == os.getpriority(os.PRIO_PROCESS, 0), "its main thread"


@pytest.mark.parametrize(("limit", "value"), [("BATCH_EVENTS", 50), ("BATCH_BYTES", 20_000)])
def test_who_is_behind_hurries(
    broker: Broker | External, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """The priority changes when batches were full too long, and back; what is shipped meanwhile is shipped once."""
    monkeypatch.setattr("pixelcore.shipping.policies.BEHIND_SECONDS", 0.0)
    monkeypatch.setattr("pixelcore.shipping.policies.CATCH_UP_SECONDS", 0.0)
    for module in ("policies", "journal_shipper"):
        monkeypatch.setattr(f"pixelcore.shipping.{module}.{limit}", value, raising=False)
    for name, chosen in kafka_settings(broker.bootstrap, topic).items():
        monkeypatch.setenv(name, chosen)
    monkeypatch.setenv("PIXELCORE_DATA_DIR", str(tmp_path))
    sent = dead_journal(tmp_path, "one", 5_000)
    own = [pixelcore.Journal(tmp_path / kind) for kind in ("events", "rejections")]
    before = tasks(os.getpid())
    forwarder = Forwarder(settings.load(), own=(own[0], own[1]))
    step, levels = JournalShipper.step, list[set[int]]()

    def watched(shipper: JournalShipper) -> bool:
        went_on = step(shipper)
        levels.append(niceness_of_librdkafka(os.getpid(), before))
        return went_on

    def seen(niceness: int) -> None:
        wait_for(lambda: {niceness} in levels, 90, f"not {niceness}")
        del levels[: levels.index({niceness})]

    monkeypatch.setattr(JournalShipper, "step", watched)
    forwarder.start()
    try:
        seen(NICENESS)
        seen(0)
        sent |= dead_journal(tmp_path, "two", 10)  # it looks after each batch
        seen(NICENESS)
        check(arrived(broker.bootstrap, topic, sent), sent, sent)
    finally:
        for journal in own:
            journal.close()
        forwarder.stop(10)


def test_shipped_journals_are_kept_and_not_shipped_again(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    sent = dead_journal(tmp_path, "one", 300, segment_bytes=10_000) | dead_journal(tmp_path, "two", 300)
    lines = journal_lines(tmp_path / "events")
    settings = kafka_settings(broker.bootstrap, topic)
    for _ in range(2):
        ship(tmp_path, settings | {"PIXELCORE_JOURNAL_RETAIN": "1h"})
        assert journal_lines(tmp_path / "events") == lines
    check(arrived(broker.bootstrap, topic, sent), sent, sent)

    long_ago = time.time() - 3601
    for path in [*tmp_path.glob("events/*/*"), *tmp_path.glob("events/*")]:
        os.utime(path, (long_ago, long_ago))
    ship(tmp_path, settings | {"PIXELCORE_JOURNAL_RETAIN": "1h"})
    assert list((tmp_path / "events").iterdir()) == []
    check(read_committed(broker.bootstrap, topic), sent, sent)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_an_event_that_the_topic_refuses(broker: Broker | External, topic: str, tmp_path: Path, delivery: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1, config={"max.message.bytes": "2000"})])[topic].result(60)
    with pixelcore.Journal(tmp_path / "events") as journal:
        small = {f"small-{number}" for number in range(200)}
        for mid in sorted(small):
            journal.append(pixelcore.event("track", f"wk=dk_test_refused&e=Small&mid={mid}"))
        big = pixelcore.event("track", f"wk=dk_test_refused&e=Big&mid=big&p.x={'x' * 6000}")
        journal.append(big)

    # The topic's limit is on what librdkafka sends at once, too.
    settings = kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_KAFKA_BATCH_SIZE": "1000"}
    output = ship(tmp_path, settings | {"PIXELCORE_DELIVERY": delivery})
    assert (tmp_path / "undeliverable.ndjson").read_bytes().splitlines() == [big]
    assert "undeliverable.ndjson" in output
    assert journal_lines(tmp_path / "events") == []
    # Small ones that were with the big one in a batch come again unless they were in its transaction.
    messages = arrived(broker.bootstrap, topic, small)
    check(messages, small, small, repeats=delivery == "at-least-once")


def test_exactly_once_goes_on_where_at_least_once_stopped(
    broker: Broker | External, topic: str, tmp_path: Path
) -> None:
    sent = dead_journal(tmp_path, "half", 1000)
    (journal,) = (tmp_path / "events").iterdir()
    reader = pixelcore.JournalReader(journal)
    assert len(reader.lines(400, 1 << 20)) == 400
    JournalDirectory(journal).commit(reader.offset)
    ship(tmp_path, kafka_settings(broker.bootstrap, topic))
    expected = {f"half-{number}" for number in range(400, 1000)}
    check(arrived(broker.bootstrap, topic, expected), expected, sent - {f"half-{number}" for number in range(400)})


@pytest.mark.parametrize("retain", ["0s", "1h"])
def test_a_damaged_journal(broker: Broker | External, topic: str, tmp_path: Path, retain: str) -> None:
    sent = dead_journal(tmp_path, "damaged", 600, segment_bytes=20_000)
    (journal,) = (tmp_path / "events").iterdir()
    first, second, *_, last = segments(journal)
    lines = first.read_bytes().splitlines(keepends=True)
    garbage = b"\xff" * (len(lines[5]) - 1) + b"\n"
    first.write_bytes(b"".join([*lines[:5], garbage, *lines[6:]]))
    lost = {"damaged-5"} | {f"damaged-{len(lines) + index}" for index in range(second.read_bytes().count(b"\n"))}
    size = second.stat().st_size
    second.unlink()
    with last.open("ab") as segment:
        segment.write(b'{"torn')

    output = ship(tmp_path, kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_JOURNAL_RETAIN": retain})
    expected = sent - lost
    check(arrived(broker.bootstrap, topic, expected), expected, expected)
    assert f"journal {journal.name}" in output
    counts = f"6 bytes of a torn line, 1 corrupt lines, {size} bytes of missing segments"
    assert counts in output, output


def test_a_worker_adopts_what_a_killed_server_left(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve(workers=2)
    with Load(server.port) as before:
        before.wait(answers=500)
        server.kill()
    assert before.answered
    server.settings |= kafka_settings(broker.bootstrap, topic)
    server.start()
    with Load(server.port) as after:
        after.wait(answers=300)
        arrived(broker.bootstrap, topic, before.answered)
        assert server.get("/healthz").status == 200
    answered, sent = before.answered | after.answered, before.sent | after.sent
    check(arrived(broker.bootstrap, topic, answered), answered, sent)
    assert "Traceback" not in server.log()


def test_forward_as_a_sidecar(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve(workers=2)
    settings = kafka_settings(broker.bootstrap, topic)
    sidecar = forward(server.data_dir, settings, "--follow")
    try:
        with Load(server.port) as load:
            load.wait(answers=500)
            early = set(load.answered)
            check(arrived(broker.bootstrap, topic, early), early, load.sent)
            sidecar.terminate()
            code, output = finish(sidecar)
        assert code == 0, output
        assert "Traceback" not in output
    finally:
        sidecar.kill()
    assert server.terminate() == 0
    assert "Traceback" not in server.log()
    ship(server.data_dir, settings)
    check_load(broker.bootstrap, topic, load)
    assert server.events() == []


def test_forward_is_killed_again_and_again(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    sent = dead_journal(tmp_path, "one", 10_000) | dead_journal(tmp_path, "two", 10_000)
    settings = kafka_settings(broker.bootstrap, topic)
    for tenths in (6, 8, 10, 12):
        process = forward(tmp_path, settings)
        time.sleep(tenths / 10)
        process.kill()
        process.communicate()
    ship(tmp_path, settings)
    check(arrived(broker.bootstrap, topic, sent), sent, sent)


def test_what_cannot_be_shipped_holds_up_nothing_else(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    """A journal that cannot be claimed, and a foreign directory."""
    dead_journal(tmp_path, "blocked", 10)
    (blocked,) = (tmp_path / "events").iterdir()
    (blocked / "forward.lock").mkdir()
    sent = dead_journal(tmp_path, "good", 10)
    foreign = tmp_path / "events" / "lost+found" / "precious.txt"
    foreign.parent.mkdir()
    foreign.touch()
    settings = kafka_settings(broker.bootstrap, topic)
    code, output = finish(forward(tmp_path, settings))
    assert (code, "Traceback" in output) == (1, False), output
    assert blocked.name in output
    check(arrived(broker.bootstrap, topic, sent), sent, sent)

    (blocked / "forward.lock").rmdir()
    ship(tmp_path, settings)
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["lost+found"]
    assert foreign.exists()
