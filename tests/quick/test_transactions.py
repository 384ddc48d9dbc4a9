"""The end of a transaction: it is committed, aborted, or left to the process that has fenced this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from pixelcore.journals import JournalDirectory
from pixelcore.shipping import kafka
from pixelcore.shipping.checkpoints import Checkpoint, partition_of
from pixelcore.shipping.delivery import Event, ExactlyOnce, FencedError, RefusedError
from pixelcore.shipping.kafka import HaltedError
from pixelcore.shipping.policies import Limits
from pixelcore.shipping.topics import Topic

from tests.support.topic_in_memory import destination

JOURNAL = "01956f2e-0000-7000-8000-000000000000"
A: Event = (b"a" * 300, b"u", 1_740_493_801_250, None)
LARGE: Event = (b"l" * 2_000_000, b"u", 1_740_493_801_250, None)
DENIED, TOO_LARGE = KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.MSG_SIZE_TOO_LARGE


def error(code: int, *, fatal: bool = False, retriable: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, fatal=fatal, retriable=retriable))


class Transactions:
    """A producer that takes note of what is asked of it, and fails when it is told to."""

    def __init__(self, **failing: list[KafkaException]) -> None:
        self.calls: list[str] = []
        self._failing = failing
        self._full = bool(failing.pop("buffer", None))

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._failing.get(name):
            raise self._failing[name].pop(0)

    def begin_transaction(self) -> None:
        self._call("begin")

    def produce(self, topic: str, value: Any, *_: Any, **options: Any) -> None:
        if self._full and topic != "raw-events":
            self._full = False
            raise BufferError
        if topic == "raw-events":
            self._call("produce")
        else:
            self.calls.append(f"checkpoint {json.loads(value)['offset']} in {options['partition']}")

    def commit_transaction(self, _: float) -> None:
        self._call("commit")

    def abort_transaction(self, _: float) -> None:
        self._call("abort")

    def flush(self, _: float) -> int:
        self._call("flush")
        return 0

    def poll(self, _: float) -> None:
        self._call("poll")


def delivery(tmp_path: Path, producer: Transactions) -> ExactlyOnce:
    made = ExactlyOnce.__new__(ExactlyOnce)
    made._to, _ = destination(tmp_path)
    made._limits = {"raw-events": Limits()}
    made._failures, made._compresses, made._stamps, made.committed, made.survived = [], False, True, 0, True
    made._producer = producer  # type: ignore[assignment]
    made._journal, made._partition = JOURNAL, 8
    return made


WHOLE = ["begin", "produce", "checkpoint 300 in 8", "commit"]
ENDS: list[tuple[str, dict[str, list[KafkaException]], list[Event], list[str], Any, bool]] = [
    # name, what fails, the events, what is asked of the producer, what is raised, and whether the delivery goes on
    ("it is committed", {}, [A], WHOLE, None, True),
    ("a failure that passes", {"commit": [error(DENIED, retriable=True)]}, [A], [*WHOLE, "poll", "commit"], None, True),
    ("one that does not", {"commit": [error(DENIED)]}, [A], [*WHOLE, "abort"], KafkaException, True),
    ("it cannot be taken back", {"commit": [error(DENIED)], "abort": [error(DENIED)]}, [A], [*WHOLE, "abort"], KafkaException, False),
    ("a fatal one", {"commit": [error(DENIED, fatal=True)]}, [A], WHOLE, KafkaException, False),
    *(
        (f"fenced: {KafkaError(code).name()}", {"commit": [error(code)]}, [A], WHOLE, KafkaException, False)
        for code in sorted(kafka.FENCED)
    ),
    ("it cannot begin", {"begin": [error(DENIED)]}, [A], ["begin"], KafkaException, False),
    ("an event cannot be produced", {"produce": [error(DENIED)]}, [A], ["begin", "produce", "abort"], KafkaException, True),
    ("one is too large", {"produce": [error(TOO_LARGE)]}, [LARGE], ["begin", "produce", "abort"], RefusedError, True),
    ("no room for the checkpoint", {"buffer": [error(0)]}, [A], ["begin", "produce", "flush", *WHOLE[2:]], None, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("failing", "events", "calls", "raised", "survives"), [pytest.param(*row[1:], id=row[0]) for row in ENDS]
)
def test_the_end_of_a_transaction(
    tmp_path: Path,
    failing: dict[str, list[KafkaException]],
    events: list[Event],
    calls: list[str],
    raised: Any,
    survives: bool,
) -> None:
    producer = Transactions(**{name: list(errors) for name, errors in failing.items()})
    made = delivery(tmp_path, producer)
    if raised is None:
        made.deliver(events, 300)
    else:
        with pytest.raises(raised):
            made.deliver(events, 300)
    assert producer.calls == calls
    assert (made.committed, made.survived) == (300 if raised is None else 0, survives)


def test_who_stops_does_not_try_for_ever(tmp_path: Path) -> None:
    producer = Transactions(commit=[error(DENIED, retriable=True)] * 3)
    made = delivery(tmp_path, producer)
    made._to.halted.set()
    with pytest.raises(HaltedError):
        made.deliver([A], 300)
    assert (producer.calls.count("commit"), made.committed, made.survived) == (1, 0, False)


def test_what_is_known_to_be_refused_begins_no_transaction(tmp_path: Path) -> None:
    producer = Transactions()
    made = delivery(tmp_path, producer)
    made._limits["raw-events"].configured(1000, needs_key=False)
    with pytest.raises(RefusedError) as refused:
        made.deliver([A, LARGE], 300)
    assert (refused.value.is_known, refused.value.rest, producer.calls) == (True, [A], [])


class Topics:
    """The checkpoints of a journal: before its claim, and in the partition of earlier versions."""

    def __init__(self, before: int, at_first: int) -> None:
        self._before, self._at_first = before, at_first
        self.closed = 0

    def describe(self, names: list[str]) -> dict[str, Topic]:
        return {name: Topic(25, {}) for name in names}

    def before_claim(self, journal: str, _claim: str, partition: int) -> Checkpoint:
        assert partition == partition_of(journal, 25)
        return Checkpoint(self._before)

    def to_end(self, _journal: str, partition: int) -> Checkpoint:
        assert partition == 0
        return Checkpoint(self._at_first)

    def close(self) -> None:
        self.closed += 1


OFFSETS: list[tuple[str, bool, int, int, int, int, int]] = [
    # name, whether the journal was begun in this process, what the topic says and said in its first partition, what is noted
    # on the disk, what this process knows, and where it goes on
    ("nothing is known", False, 0, 0, 0, 0, 0),
    ("the topic", False, 9, 0, 0, 0, 9),
    ("its first partition, of an earlier version", False, 5, 9, 0, 0, 9),
    ("an own journal is not in that of earlier versions", True, 5, 9, 0, 0, 5),
    ("the note on the disk", False, 5, 6, 9, 0, 9),
    ("what this process knows", False, 5, 6, 7, 9, 9),
]


@pytest.mark.parametrize(
    ("own", "before", "at_first", "noted", "known", "expected"), [pytest.param(*row[1:], id=row[0]) for row in OFFSETS]
)
def test_where_it_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: bool,
    before: int,
    at_first: int,
    noted: int,
    known: int,
    expected: int,
) -> None:
    class Opening(Transactions):
        def list_topics(self, topic: str, timeout: float) -> None:
            assert (topic, timeout) == ("pixelcore-checkpoints", 1.0)
            self._call("connect")

        def init_transactions(self, _: float) -> None:
            self._call("init")

        def produce(self, topic: str, value: Any, *_: Any, **options: Any) -> None:
            assert topic == "pixelcore-checkpoints"
            self.calls.append(f"claim in {options['partition']} by {json.loads(value)['owner']}")

    producer = Opening()
    monkeypatch.setattr("pixelcore.shipping.kafka.producer", lambda *_, **__: producer)
    path = tmp_path / "events" / JOURNAL
    path.mkdir(parents=True)
    journal = JournalDirectory(path)
    journal.commit(noted)
    to, _ = destination(tmp_path)
    to.own = own
    to.topics = to.checkpoints = topics = Topics(before, at_first)  # type: ignore[assignment]
    made = ExactlyOnce(to, {}, journal, "me", known, may_be_lost=False)
    partition = partition_of(JOURNAL, 25)
    assert partition != 0
    assert producer.calls == ["connect", "connect", "init", "begin", f"claim in {partition} by me", "commit"], (
        "the predecessor is fenced first"
    )
    assert (made.committed, topics.closed) == (expected, int(own))


class Claims:
    """A checkpoint topic that says who claimed the journal last."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def to_end(self, journal: str, partition: int) -> Any:
        assert (journal, partition) == (JOURNAL, 8)
        return type("Checkpoint", (), {"owner": self._owner})


@pytest.mark.parametrize(("owner", "is_ours"), [("me", True), ("a twin", False)])
def test_whose_a_journal_is_that_was_fenced(tmp_path: Path, owner: str, is_ours: bool) -> None:
    made = delivery(tmp_path, Transactions())
    made._to.checkpoints = Claims(owner)  # type: ignore[assignment]
    if is_ours:
        made._yield_to_a_twin("me")
    else:
        with pytest.raises(FencedError, match=r"^a twin$"):
            made._yield_to_a_twin("me")
