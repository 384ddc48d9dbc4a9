"""Further decisions of shipping: pace, limits of topics, partitions of checkpoints, routing."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from pixelcore.errors import SettingsError
from pixelcore.shipping.advice import advise
from pixelcore.shipping.checkpoints import Checkpoint, born_ms, claim_record, offset_record, partition_of, timestamp
from pixelcore.shipping.policies import (
    Level,
    Limits,
    Pace,
    Priority,
)
from pixelcore.shipping.routing import Routing


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_batches_begin_an_interval_apart_unless_they_are_full() -> None:
    clock = Clock()
    pace = Pace(0.1, clock)
    assert pace.wait() == 0, "the first goes at once"
    pace.begin()
    pace.read(is_full=False)
    clock.now += 0.03
    assert pace.wait() == pytest.approx(0.07)
    clock.now += 5
    assert pace.wait() == 0, "the first after a pause, too"
    pace.begin()
    pace.read(is_full=True)
    assert pace.wait() == 0, "a full one is followed at once"
    clock.now += 5
    pace.begin()
    clock.now += 0.02
    pace.read(is_full=False)
    assert pace.wait() == pytest.approx(0.08), "it counts from the beginning of the batch"


def test_full_since() -> None:
    clock = Clock()
    pace = Pace(0.1, clock)
    for expected in (1000.0, 1000.0, 1000.0):
        pace.begin()
        pace.succeeded(is_full=True)
        assert pace.full_since == expected
        clock.now += 1
    pace.begin()
    pace.succeeded(is_full=False)
    assert pace.full_since is None
    pace.succeeded(is_full=True)
    pace.paused()
    assert pace.full_since is None, "nor after a failure, or where there was nothing to ship"


def test_a_priority_that_cannot_be_lowered_stays() -> None:
    clock = Clock()
    for priority in (Priority(lowers=False, clock=clock), Priority(lowers=True, clock=clock)):
        priority.stay_normal()
        clock.now += 10_000
        assert not priority.changes(None)
        assert not priority.changes(0.0)
        assert priority.level is Level.NORMAL


TAKES: list[tuple[str, int | None, bool, int, bool, bool]] = [
    # what, max.message.bytes, compacted, size, key, taken
    ("nothing is known", None, False, 10**9, False, True),
    ("it fits", 1000, False, 1000, False, True),
    ("a byte too large", 1000, False, 1001, False, False),
    ("compacted, with a key", None, True, 10, True, True),
    ("compacted, without a key", None, True, 10, False, False),
]


@pytest.mark.parametrize(
    ("record_bytes", "compacted", "size", "has_key", "taken"), [pytest.param(*row[1:], id=row[0]) for row in TAKES]
)
def test_what_a_topic_takes(record_bytes: int | None, compacted: bool, size: int, has_key: bool, taken: bool) -> None:
    limits = Limits()
    limits.configured(record_bytes, compacted)
    assert limits.takes(size, has_key) == taken


def test_of_several_limits_the_smallest_counts() -> None:
    """Each look at a topic's configuration adds what it says."""
    for sizes in ([1000, 2000], [2000, 1000], [1000, 1000], [2000, None, 1000]):
        limits = Limits()
        for size in sizes:
            limits.configured(size, needs_key=False)
        assert (limits.record_bytes, limits.batch_bytes) == (1000, 1000)
    large = Limits()
    large.configured(2_000_000, needs_key=False)
    assert (large.record_bytes, large.batch_bytes) == (2_000_000, 1_000_000)


def test_a_topic_that_hides_its_limit_is_learnt() -> None:
    """Batches get smaller until the record that is refused was alone, and its size is remembered."""
    limits = Limits()
    sizes = [120_000, 300]
    refusals = 0
    while not limits.refused(sizes if limits.batch_bytes > sizes[0] + sizes[1] else sizes[:1]):
        refusals += 1
    assert refusals == 4
    assert limits.batch_bytes == 62_500
    assert not limits.takes(120_000, has_key=True)
    assert limits.takes(119_999, has_key=True)
    assert limits.refused([200_000, 110_000, 300_000])
    assert (limits.takes(109_999, has_key=True), limits.takes(110_000, has_key=True)) == (True, False)
    while limits.batch_bytes > 1:
        assert not limits.refused([0, limits.batch_bytes])
    assert not limits.refused([0])
    assert limits.batch_bytes == 1, "and never none"


JOURNAL = "019a3c1e-0000-7000-8000-000000000000"
PARTITIONS: list[tuple[str, int, int]] = [
    *((JOURNAL, partitions, 0) for partitions in (1, 3, 24)),
    *((JOURNAL, partitions, 8) for partitions in (25, 100)),
    ("019a3c1e-0000-7000-8000-000000000017", 24, 0),
    ("019a3c1e-0000-7000-8000-000000000017", 25, 17),  # its CRC-32 is divisible by 25
]


@pytest.mark.parametrize(("journal", "partitions", "expected"), PARTITIONS)
def test_the_partition_of_a_journal(journal: str, partitions: int, expected: int) -> None:
    """It never changes: checkpoints that were written would not be found."""
    assert partition_of(journal, partitions) == expected


def test_the_first_partition_is_of_topics_that_had_fewer() -> None:
    assert {partition_of(f"journal {number}", 25) for number in range(1_000)} == set(range(1, 25))


BIRTHS: list[tuple[str, str, int | None]] = [
    ("a UUIDv7", JOURNAL, 0x019A3C1E0000),
    ("another UUID", "6fa459ea-ee8a-4ca4-894e-db77e160355e", None),
    ("no UUID", "journal", None),
]


@pytest.mark.parametrize(("journal", "expected"), [pytest.param(*row[1:], id=row[0]) for row in BIRTHS])
def test_the_birth_of_a_journal(journal: str, expected: int | None) -> None:
    assert born_ms(journal) == expected


BORN = 0x019A3C1E0000
TIMES: list[tuple[str, int, int]] = [
    # now and the record's time, in ms after the journal's birth
    ("later", 5000, 5000),
    ("the clock was set back a little", -5000, 0),
    ("it was set back for longer than brokers take", -7_200_000, -5_400_000),
]


@pytest.mark.parametrize(("now", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TIMES])
def test_the_time_of_a_checkpoint(now: int, expected: int) -> None:
    assert timestamp(JOURNAL, (BORN + now) / 1000) == BORN + expected


def test_records_of_checkpoints() -> None:
    found = Checkpoint()
    claimed, claim = claim_record(JOURNAL, "me")
    other, _ = claim_record("another", "somebody")
    for key, value in (
        offset_record(JOURNAL, 7),
        claimed,
        offset_record("another", 9),
        other,
        offset_record(JOURNAL, 8),
    ):
        found = found.after(JOURNAL, key.encode(), value.encode())
    assert found == Checkpoint(8, "me", claim)


def test_advice() -> None:
    assert "transaction.state.log.replication.factor" in advise(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE))
    assert "advertised.listeners" in advise(KafkaError(KafkaError._RESOLVE))
    assert advise(KafkaError(KafkaError.INVALID_RECORD)) == KafkaError(KafkaError.INVALID_RECORD).str()


def test_routing_follows_the_key_file(tmp_path: Path) -> None:
    clock, keys = Clock(), tmp_path / "keys.toml"
    assert Routing("raw", None).all() == ["raw"]
    routing = Routing("raw", keys, clock)
    with pytest.raises(SettingsError, match="PIXELCORE_KEYS_FILE"):
        routing.topics()

    def write(text: str) -> dict[str, str]:
        keys.write_text(text)
        clock.now += 3
        return routing.topics()

    shop = '[[pipeline]]\nid = "pip_shop"\nkey = "dk_live_shop"\n'
    assert write(shop) == {}
    assert write(shop + 'topic = "shop"') == {"pip_shop": "shop"}
    assert routing.all() == ["raw", "shop"]
    assert write("topic = no TOML") == {"pip_shop": "shop"}, "a file that has become wrong changes nothing"
    keys.unlink()
    clock.now += 3
    assert routing.topics() == {"pip_shop": "shop"}
