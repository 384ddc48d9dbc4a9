"""The failures of a batch: permanent refusals, retries, and learnt limits of a topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from pixelcore.journals import JournalDirectory
from pixelcore.shipping.delivery import AtLeastOnce, Event, OutdatedError, RefusedError, size
from pixelcore.shipping.kafka import HaltedError
from pixelcore.shipping.policies import Limits
from pixelcore.shipping.topics import Topic

from tests.support.journals import dead
from tests.support.topic_in_memory import destination

TOO_LARGE, INVALID, TIMESTAMP = KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP
BESIDE, TIMED_OUT = KafkaError._INVALID_DIFFERENT_RECORD, KafkaError._MSG_TIMED_OUT


def event(name: str, bytes: int = 0, key: bytes | None = b"u", pipeline: str | None = None) -> Event:
    return name.encode().ljust(bytes, b"x"), key, 1_740_493_801_250, pipeline


class Room:
    """A producer whose queue takes so many messages, and whose broker says what it is told to."""

    def __init__(self, room: int = 100, verdicts: dict[bytes, int] | None = None, at_once: bool = False) -> None:
        self.room, self.queue, self.flushes = room, [], 0  # type: ignore[var-annotated]
        self.produced: list[tuple[str, bytes, bytes | None, int, int]] = []
        self.verdicts, self.at_once = verdicts or {}, at_once

    def produce(
        self, topic: str, value: bytes, key: bytes | None, partition: int, on_delivery: Any, timestamp: int
    ) -> None:
        if len(self.queue) == self.room:
            raise BufferError
        if self.at_once and value in self.verdicts:
            raise KafkaException(KafkaError(self.verdicts[value]))
        self.produced.append((topic, value, key, partition, timestamp))
        self.queue.append((value, on_delivery))

    def flush(self, _: float) -> int:
        self.flushes += 1
        done, self.queue = self.queue, []
        for value, on_delivery in done:
            if value in self.verdicts:
                on_delivery(KafkaError(self.verdicts[value]), Delivered(value))
        return len(done) if self.flushes == 1 else 0


class Delivered:
    """A message of a delivery report."""

    def __init__(self, value: bytes | None) -> None:
        self._value = value

    def value(self) -> bytes | None:
        return self._value


def delivery(
    tmp_path: Path, producer: Producer | Room | None = None, limits: dict[str, Limits] | None = None
) -> AtLeastOnce:
    """One that is connected to nothing."""
    made = AtLeastOnce.__new__(AtLeastOnce)
    made._to, _ = destination(tmp_path)
    made._limits = limits if limits is not None else {}
    made._failures, made._compresses, made._stamps, made.committed, made.survived = [], False, True, 0, True
    made._producer = producer or Room()  # type: ignore[assignment]
    return made


A, B, C = event("a", 300), event("b", 300), event("c", 300)
LARGE = event("large", 2_000_000)
EXPLAINED: list[tuple[str, list[Event], list[tuple[Event, int]], Any]] = [
    # name, the events of the batch, the failures, and what is raised: what is refused and the rest, or a code, or an exception
    ("no failure", [A, B], [], None),
    ("too large, and was alone", [A, LARGE], [(LARGE, TOO_LARGE)], ([LARGE], [A])),
    ("too large, and was not alone", [A, B], [(A, TOO_LARGE), (B, TOO_LARGE)], OutdatedError),
    ("too large, and the only one", [A], [(A, TOO_LARGE)], ([A], [])),
    ("invalid, but nobody says which", [A, B], [(A, INVALID), (B, INVALID)], INVALID),
    ("invalid, and named", [A, B, C], [(A, BESIDE), (B, INVALID), (C, BESIDE)], ([B], [A, C])),
    ("invalid, and the only one", [A], [(A, INVALID)], ([A], [])),
    ("only beside one that is invalid", [A, B], [(A, BESIDE)], BESIDE),
    ("its time", [A, B], [(A, TIMESTAMP)], TIMESTAMP),
    ("the first of several is it", [A, B], [(A, TIMED_OUT), (B, TIMESTAMP)], TIMED_OUT),
    ("one that is not in the batch", [A], [(LARGE, TOO_LARGE)], TOO_LARGE),
    ("large and invalid", [A, B, LARGE], [(LARGE, TOO_LARGE), (A, INVALID), (B, BESIDE)], ([A, LARGE], [B])),
]


@pytest.mark.parametrize(("events", "failures", "expected"), [pytest.param(*row[1:], id=row[0]) for row in EXPLAINED])
def test_failures(tmp_path: Path, events: list[Event], failures: list[tuple[Event, int]], expected: Any) -> None:
    made = delivery(tmp_path)
    made._failures = [(line, KafkaError(code)) for (line, *_), code in failures]
    if expected is None:
        made._explain(events)
    elif expected is OutdatedError:
        with pytest.raises(OutdatedError):
            made._explain(events)
        assert made._limits["raw-events"].batch_bytes == 500_000, "the next batches are smaller"
    elif isinstance(expected, int):
        with pytest.raises(KafkaException) as raised:
            made._explain(events)
        assert raised.value.args[0].code() == expected
    else:
        with pytest.raises(RefusedError) as refused:
            made._explain(events)
        assert ([event for event, _ in refused.value.refused], refused.value.rest) == expected
        codes = {line: code for (line, *_), code in failures}
        assert [error.code() for _, error in refused.value.refused] == [codes[line[0]] for line in expected[0]]
        assert not refused.value.is_known, "they were tried"
    assert made._failures == []
    assert made._stamps == (TIMESTAMP not in [code for _, code in failures])


def test_a_refusal_is_learnt(tmp_path: Path) -> None:
    made = delivery(tmp_path)
    made._failures = [(LARGE[0], KafkaError(TOO_LARGE))]
    with pytest.raises(RefusedError):
        made._explain([A, LARGE])
    with pytest.raises(RefusedError) as refused:
        made._sort_out([A, LARGE, B])
    assert ([event for event, _ in refused.value.refused], refused.value.rest) == ([LARGE], [A, B])
    assert refused.value.is_known
    made._compresses = True
    made._sort_out([A, LARGE, B])


REPORTS: list[tuple[str, int | None, list[int]]] = [
    # name, what a delivery report says, and the failures then
    ("it arrived", None, []),
    ("it failed", TIMED_OUT, [TIMED_OUT]),
    ("taken back from the queue", KafkaError._PURGE_QUEUE, []),
    ("taken back on its way", KafkaError._PURGE_INFLIGHT, []),
]


@pytest.mark.parametrize(("code", "failures"), [pytest.param(*row[1:], id=row[0]) for row in REPORTS])
def test_reports(tmp_path: Path, code: int | None, failures: list[int]) -> None:
    """A purge is a consequence of a failure and not its cause."""
    made = delivery(tmp_path)
    made._delivered(None if code is None else KafkaError(code), Delivered(None))  # type: ignore[arg-type]
    assert [(line, error.code()) for line, error in made._failures] == [(b"", code) for code in failures]


def test_librdkafka_takes_back_what_a_purge_takes_back(tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    made = delivery(tmp_path, producer)
    made._produce([A, B])
    producer.purge()
    assert (producer.flush(60.0), made._failures) == (0, [])


def test_at_least_once_is_committed_when_all_has_arrived(tmp_path: Path) -> None:
    room = Room(room=2)
    made = delivery(tmp_path, room)
    made.deliver([A, B, C], 900)
    assert (made.committed, made.survived) == (900, True)
    assert room.produced == [("raw-events", line, key, -1, at) for line, key, at, _ in (A, B, C)]
    assert (room.flushes, room.queue) == (3, []), "until the queue is empty, for room and at the end"


def test_at_least_once_repeats_only_what_failed(tmp_path: Path) -> None:
    room = Room(verdicts={A[0]: TIMED_OUT})
    made = delivery(tmp_path, room)
    with pytest.raises(KafkaException):
        made.deliver([A, B], 600)
    assert (made.committed, made.survived) == (0, True)
    room.verdicts = {}
    made.deliver([A, B], 600)
    assert made.committed == 600, "what failed before is no failure of this try"
    refusing = delivery(tmp_path, Room(verdicts={LARGE[0]: TOO_LARGE}))
    with pytest.raises(RefusedError) as refused:
        refusing.deliver([A, LARGE], 600)
    assert ([event for event, _ in refused.value.refused], refused.value.rest) == ([LARGE], [])
    at_once = delivery(tmp_path, Room(verdicts={LARGE[0]: TOO_LARGE}, at_once=True))
    with pytest.raises(RefusedError) as refused:
        at_once.deliver([A, LARGE], 600)
    assert [event for event, _ in refused.value.refused] == [LARGE]
    broken = delivery(tmp_path, Room(verdicts={A[0]: TIMED_OUT}, at_once=True))
    with pytest.raises(KafkaException):
        broken.deliver([A], 300)
    assert not broken.survived


def test_who_stops_waits_for_no_room(tmp_path: Path) -> None:
    made = delivery(tmp_path, Room(room=1))
    made._to.halted.set()
    with pytest.raises(HaltedError):
        made.deliver([A, B], 600)
    assert made.committed == 0


@pytest.mark.parametrize("fenced", [False, True])
def test_what_is_not_delivered_goes_with_the_delivery(tmp_path: Path, fenced: bool) -> None:
    """A fenced producer raises its error once more, which is ignored."""
    called: list[str] = []

    class Closing(Room):
        def purge(self) -> None:
            called.append("purge")
            if fenced:
                raise KafkaException(KafkaError(KafkaError._FENCED))

        def poll(self, seconds: float) -> None:
            called.append(f"poll {seconds:g}")

    made = delivery(tmp_path, Closing())
    made.close()
    assert called == (["purge"] if fenced else ["purge", "poll 0"])
    assert not hasattr(made, "_producer"), "its threads end when nobody has it any more"


def test_times_that_a_topic_refuses_are_left_to_the_broker(tmp_path: Path) -> None:
    room = Room()
    made = delivery(tmp_path, room)
    made._stamps = False
    made.deliver([A], 300)
    assert [timestamp for *_, timestamp in room.produced] == [0]


KNOWN: list[tuple[str, int | None, bool, Event, int | None]] = [
    # name, max.message.bytes, compacted, the event, the error if it is refused
    ("nothing is known", None, False, A, None),
    ("it fits", size(A), False, A, None),
    ("a byte too large", size(A) - 1, False, A, TOO_LARGE),
    ("a key counts", size(A) - 1, False, event("a", 299, b"uu"), TOO_LARGE),
    ("compacted, with a key", None, True, A, None),
    ("compacted, without a key", None, True, event("a", 300, None), INVALID),
    ("both, for its key", 10, True, event("a", 300, None), INVALID),
    ("both, for its size", 10, True, A, TOO_LARGE),
]


@pytest.mark.parametrize(
    ("record_bytes", "compacted", "sent", "code"), [pytest.param(*row[1:], id=row[0]) for row in KNOWN]
)
def test_what_is_known_to_be_refused(
    tmp_path: Path, record_bytes: int | None, compacted: bool, sent: Event, code: int | None
) -> None:
    limits = Limits()
    limits.configured(record_bytes, compacted)
    made = delivery(tmp_path, limits={"raw-events": limits})
    if code is None:
        made._sort_out([sent])
        return
    with pytest.raises(RefusedError) as refused:
        made.deliver([sent], 300)
    assert made._producer.produced == [], "it is not even tried"  # type: ignore[attr-defined]
    ((event, error),) = refused.value.refused
    assert (event, error.code(), refused.value.rest) == (sent, code, [])


def test_each_topic_has_limits_of_its_own(tmp_path: Path) -> None:
    small = Limits()
    small.configured(200, needs_key=False)
    room = Room()
    made = delivery(tmp_path, room, {"shop": small})
    made._to.routing._topics = {"pip_shop": "shop"}
    shop, other = event("s", 300, pipeline="pip_shop"), event("o", 300, pipeline="pip_other")
    with pytest.raises(RefusedError) as refused:
        made._sort_out([A, shop, other])
    assert ([event for event, _ in refused.value.refused], refused.value.rest) == ([shop], [A, other])
    made._produce([A, event("t", pipeline="pip_shop"), other])
    assert [topic for topic, *_ in room.produced] == ["raw-events", "shop", "raw-events"]


OPENED: list[tuple[str, dict[str, str], list[dict[str, str] | None], int, bool]] = [
    # name, librdkafka's properties, the topics' configurations, the batch.size that is chosen, and whether it compresses
    ("defaults", {}, [{}], 1_000_000, False),
    ("a topic takes less", {}, [{"max.message.bytes": "2000"}], 2000, False),
    ("a topic takes more", {}, [{"max.message.bytes": "2000000"}], 1_000_000, False),
    ("the smallest of several", {}, [{"max.message.bytes": "3000"}, {"max.message.bytes": "2000"}], 2000, False),
    ("nobody may see it", {}, [None], 1_000_000, False),
    ("an operator wants less", {"batch.size": "500"}, [{"max.message.bytes": "2000"}], 500, False),
    ("an operator wants more", {"batch.size": "5000"}, [{"max.message.bytes": "2000"}], 2000, False),
    ("compressed", {"compression.type": "zstd"}, [{}], 1_000_000, True),
    ("compressed, by the other name", {"compression.codec": "gzip"}, [{}], 1_000_000, True),
    ("said not to be", {"compression.type": "none"}, [{}], 1_000_000, False),
]


@pytest.mark.parametrize(
    ("properties", "topics", "batch_size", "compresses"), [pytest.param(*row[1:], id=row[0]) for row in OPENED]
)
def test_what_is_known_when_it_is_opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    properties: dict[str, str],
    topics: list[dict[str, str] | None],
    batch_size: int,
    compresses: bool,
) -> None:
    chosen: dict[str, str] = {}

    def producer(_settings: Any, _on_error: Any, **properties: str) -> Room:
        chosen.update(properties)
        return Room()

    monkeypatch.setattr("pixelcore.shipping.kafka.producer", producer)
    made = dead(tmp_path / "events", 3)
    journal = JournalDirectory(Path(made.path))
    kafka = {"bootstrap.servers": "127.0.0.1:1", **properties}
    to, _ = destination(tmp_path, kafka=kafka, delivery="at-least-once")
    names = ["raw-events", "shop"][: len(topics)]
    to.routing._topics = dict.fromkeys(["pip_shop"][: len(topics) - 1], "shop")
    described = {name: Topic(1, configuration) for name, configuration in zip(names, topics, strict=True)}

    class Described:
        def describe(self, asked: list[str]) -> dict[str, Topic]:
            assert asked == names, "at least once needs no checkpoint topic"
            return described

    to.topics = Described()  # type: ignore[assignment]
    for noted, known in ((0, 0), (50, 0), (50, 80)):
        journal.commit(noted)
        opened = AtLeastOnce(to, {}, journal, known)
        assert (chosen, opened._compresses) == ({"batch_size": str(batch_size)}, compresses)
        assert (opened.topics, opened.committed) == (names, max(noted, known))


def test_the_size_of_an_event() -> None:
    assert (size(event("a", 300, None)), size(event("a", 300, b"12345"))) == (368, 373)
