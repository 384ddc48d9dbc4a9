"""Where a kind of journals goes, which errors are remembered on the way, and what is set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from pixelcore.errors import SettingsError
from pixelcore.journals import COUNTS, EVENTS, LAST_OPENS, REJECTIONS
from pixelcore.settings import Settings
from pixelcore.shipping import undeliverable
from pixelcore.shipping.destination import Destination
from pixelcore.shipping.kafka import HaltedError, patiently
from pixelcore.shipping.topics import Topic, TopicError, Topics

DESTINATIONS: list[tuple[str, str, str, float]] = [
    # the kind, its topic, its delivery, and the seconds for which its shipped journals are kept
    (EVENTS, "e", "exactly-once", 60.0),
    (REJECTIONS, "r", "exactly-once", 60.0),
    (LAST_OPENS, "l", "at-least-once", 0.0),
    (COUNTS, "c", "exactly-once", 0.0),
]


@pytest.mark.parametrize(("kind", "topic", "delivery", "retain"), DESTINATIONS)
def test_each_kind_has_a_topic_of_its_own(tmp_path: Path, kind: str, topic: str, delivery: str, retain: float) -> None:
    topics = {"topic": "e", "rejected_topic": "r", "last_open_topic": "l", "aggregate_topic": "c"}
    to = Destination(Settings(data_dir=tmp_path, journal_retain=60.0, **topics), kind)  # type: ignore[arg-type]
    assert (to.routing.all(), to.delivery, to.retain) == ([topic], delivery, retain)
    assert not to.stopping.is_set()
    assert not to.halted.is_set()


ROUTED: list[tuple[str, bool, bool]] = [
    # the kind, whether its topics are in the key file, and whether persons are looked up for it
    (EVENTS, True, True),
    (REJECTIONS, False, False),
    (LAST_OPENS, False, True),
    (COUNTS, False, False),
]


def reads_keys(call: Callable[[], object]) -> bool:
    """Whether a call needs the key file, which does not exist."""
    try:
        call()
    except SettingsError:
        return True
    return False


@pytest.mark.parametrize(("kind", "topics", "persons"), ROUTED)
def test_which_kinds_follow_the_key_file(tmp_path: Path, kind: str, topics: bool, persons: bool) -> None:
    settings = Settings(data_dir=tmp_path, keys_file=tmp_path / "missing.toml", rejected_topic="r")
    to = Destination(settings, kind)
    assert reads_keys(to.routing.topics) == topics
    assert reads_keys(lambda: to.withdrawals.sift([(b"{}", None, 0, "pip")])) == persons


DOWN, REFUSED = KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT
HEARD: list[tuple[str, list[int], int]] = [
    # name, the errors that a client reports, and the one that is remembered
    ("the cause", [REFUSED], REFUSED),
    ("no broker, for no known cause", [DOWN], DOWN),
    ("no broker, after the cause", [REFUSED, DOWN], REFUSED),
    ("the cause, after no broker", [DOWN, REFUSED], REFUSED),
]


@pytest.mark.parametrize(("codes", "remembered"), [pytest.param(*row[1:], id=row[0]) for row in HEARD])
def test_the_cause_is_remembered(tmp_path: Path, codes: list[int], remembered: int) -> None:
    to = Destination(Settings(data_dir=tmp_path), EVENTS)
    for code in codes:
        to.heard(KafkaError(code))
    assert (to.progress.trouble or "").startswith(KafkaError(remembered).str())


class Client:
    """A client that only counts how often its errors are asked for."""

    def __init__(self) -> None:
        self.polls: list[float] = []

    def poll(self, timeout: float) -> None:
        self.polls.append(timeout)


def failed(retriable: bool) -> KafkaException:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "x", False, retriable))


PATIENCE: list[tuple[str, list[bool], list[bool], type[Exception] | None, int]] = [
    # name, of each failed call whether it may be repeated, whether the time is over then, the error, and the calls
    ("at once", [], [], None, 1),
    ("after two failures", [True, True], [False, False], None, 3),
    ("what no repetition repairs", [True, False], [False], KafkaException, 2),
    ("the time is over", [True, True], [False, True], HaltedError, 2),
]


@pytest.mark.parametrize(
    ("failures", "over", "error", "calls"), [pytest.param(*row[1:], id=row[0]) for row in PATIENCE]
)
def test_a_call_is_repeated_while_that_may_help(
    failures: list[bool], over: list[bool], error: type[Exception] | None, calls: int
) -> None:
    client, timeouts = Client(), list[float]()
    outcomes: Iterator[bool] = iter(failures)
    halted = iter(over)

    def call(timeout: float) -> str:
        timeouts.append(timeout)
        if (retriable := next(outcomes, None)) is not None:
            raise failed(retriable)
        return "done"

    if error is None:
        assert patiently(lambda: next(halted), call, client) == "done"  # type: ignore[arg-type]
    else:
        with pytest.raises(error):
            patiently(lambda: next(halted), call, client)  # type: ignore[arg-type]
    assert timeouts == [1.0] * calls
    assert client.polls == [0] * len(over), "whoever waits is told why"
    assert next(halted, None) is None


KEPT: list[tuple[str, int, int, bool]] = [
    # name, the bytes that are there, the budget, and whether 4 more are kept
    ("there is room", 6, 100, True),
    ("exactly enough", 6, 10, True),
    ("a byte too few", 6, 9, False),
    ("nothing was there", 0, 3, False),
]


@pytest.mark.parametrize(("there", "budget", "is_kept"), [pytest.param(*row[1:], id=row[0]) for row in KEPT])
def test_what_is_set_aside_has_a_budget(tmp_path: Path, there: int, budget: int, is_kept: bool) -> None:
    """It counts the files of all kinds."""
    (tmp_path / "undeliverable-rejections.ndjson").write_bytes(b"x" * there)
    settings, path = Settings(data_dir=tmp_path, undeliverable_max_bytes=budget), tmp_path / "undeliverable.ndjson"
    if is_kept:
        assert undeliverable.keep(settings, EVENTS, [b"{", b"}"]) == path
        assert path.read_bytes() == b"{\n}\n"
    else:
        with pytest.raises(undeliverable.FullError, match="PIXELCORE_UNDELIVERABLE_MAX_BYTES"):
            undeliverable.keep(settings, EVENTS, [b"{", b"}"])
        assert not path.exists()


COMPACT, DELETE = {"cleanup.policy": "compact"}, {"cleanup.policy": "delete"}
POLICIES: list[tuple[str, dict[str, dict[str, str] | None], str | None]] = [
    # name, the configuration of each topic, and the setting of the one that is refused
    ("none of those", {"raw-events": DELETE}, None),
    ("compacted ones", {"points": COMPACT, "opens": COMPACT, "consents": COMPACT}, None),
    ("hidden ones", {"points": None, "opens": None, "consents": None}, None),
    ("checkpoints", {"points": DELETE, "opens": COMPACT}, "CHECKPOINT_TOPIC"),
    ("last openings", {"points": COMPACT, "opens": DELETE}, "LAST_OPEN_TOPIC"),
    ("consents", {"consents": {}}, "CONSENT_TOPIC"),
]


@pytest.mark.parametrize(("found", "refused"), [pytest.param(*row[1:], id=row[0]) for row in POLICIES])
def test_what_must_not_be_deleted_is_compacted(found: dict[str, dict[str, str] | None], refused: str | None) -> None:
    topics = Topics(Settings(checkpoint_topic="points", last_open_topic="opens", consent_topic="consents"))
    described = {name: Topic(1, configuration) for name, configuration in found.items()}
    if refused is None:
        topics._refuse(described)
    else:
        with pytest.raises(TopicError, match=rf"^PIXELCORE_{refused}: \w+: cleanup\.policy is not compact"):
            topics._refuse(described)
