"""The consent topic: it is read to its end, followed, and continued at the list's offsets."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from pixelcore import consents
from pixelcore._core import Ceilings
from pixelcore.settings import Settings, load
from pixelcore.shipping.consent_follower import ConsentFollower

from tests.kafka.broker import Broker, External
from tests.kafka.topics import alter, create
from tests.support.consents import OTHER, SCOPE, SECRET, Record, key_of, now_ms, record, send
from tests.support.waiting import stays, wait_for

pytestmark = pytest.mark.kafka


def settings_of(broker: Broker | External, topic: str, data_dir: Path, **more: str) -> Settings:
    return load(
        {
            "PIXELCORE_DATA_DIR": str(data_dir),
            "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "PIXELCORE_CONSENT_TOPIC": f"{topic}-consents",
            "PIXELCORE_CONSENT_SECRET": SECRET,
            **more,
        }
    )


@contextmanager
def following(settings: Settings) -> Iterator[Ceilings]:
    settings.data_dir.mkdir(exist_ok=True)
    follower = ConsentFollower(settings)
    follower.start()
    try:
        yield consents.ceilings(settings)
    finally:
        follower.stop()


def mode_of(known: Ceilings, person: str) -> str | None:
    known.refresh()
    state, mode, _ = known.ceiling(SCOPE, "uid", person.encode())
    return mode if state == "of" else state


def heard(known: Ceilings) -> int:
    known.refresh()
    return known.heard


def test_a_record_is_in_force_soon(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    settings = settings_of(broker, topic, tmp_path)
    with following(settings) as known:
        wait_for(lambda: heard(known) > 0, 60, "it was read to its end")
        for number in range(5):
            for mode in ("individual", "none"):
                send(broker.bootstrap, settings.consent_topic, [record(f"user_{number}", mode, now_ms())])
                wait_for(lambda: mode_of(known, f"user_{number}") == mode, 60, "it is not in force")  # noqa: B023
                time.sleep(0.002)
        before = known.heard
        wait_for(lambda: known.heard > before, 60, "it is known to be whole, though nothing comes")


def test_the_topic_is_made_compacted(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    settings = settings_of(broker, topic, tmp_path)
    with following(settings) as known:
        wait_for(lambda: heard(known) > 0, 60)
    found = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(settings.consent_topic, timeout=60)
    assert len(found.topics[settings.consent_topic].partitions) == 1


def test_malformed_records_stop_nothing(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(broker, topic, tmp_path)
    now = now_ms()
    garbage: list[Record | tuple[None, bytes, int]] = [
        (b"user@example.com", b"{}", now),
        (key_of("a"), b"not json", now),
        (None, b"{}", now),
        (key_of("a"), b'{"scope":"s","mode":"sometimes","time":1796040000000}', now),
    ]
    create(broker.bootstrap, settings.consent_topic, compacted=False)  # a compacted one takes none without a key
    send(broker.bootstrap, settings.consent_topic, [*garbage, record("user_1", "none", now), *garbage])
    alter(broker.bootstrap, settings.consent_topic, "cleanup.policy", "compact")
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "user_1") == "none", 60)
        send(broker.bootstrap, settings.consent_topic, [record("user_2", "none", now)])
        wait_for(lambda: mode_of(known, "user_2") == "none", 60)
    told = [each.getMessage() for each in caplog.records if "are malformed and ignored" in each.getMessage()]
    assert len(told) == 1
    assert "user@example.com" not in caplog.text


def test_records_of_a_key_that_is_not_here_are_told_of_by_scope(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(broker, topic, tmp_path)
    create(broker.bootstrap, settings.consent_topic, compacted=True)
    send(broker.bootstrap, settings.consent_topic, [record("u", "individual", now_ms(), OTHER)])
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "u") == "unreadable", 60)
        wait_for(lambda: f"records of scope '{SCOPE}' have key id 'k2'" in caplog.text)
    assert OTHER[3:] not in caplog.text
    # The records are in the list already: with the secret they are read, without the topic.
    both = settings_of(broker, topic, tmp_path, PIXELCORE_CONSENT_SECRET=f"{SECRET},{OTHER}")
    assert mode_of(consents.ceilings(both), "u") == "individual"


def test_a_list_goes_on_where_it_ends_and_a_backup_forgets_nothing(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(broker, topic, tmp_path / "data")
    create(broker.bootstrap, settings.consent_topic, compacted=True)
    early = [record(f"early_{number}", "individual", now_ms()) for number in range(50)]
    send(broker.bootstrap, settings.consent_topic, early)
    caplog.set_level("INFO")
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "early_49") == "individual", 60)
        wait_for(lambda: known.heard > 0, 60)
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    send(broker.bootstrap, settings.consent_topic, [record("early_7", "none", now_ms())])
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "early_7") == "none", 60)
    send(broker.bootstrap, settings.consent_topic, [record("early_8", "none", now_ms())])
    # The backup knows neither, and reads on from where its own list ends.
    restored = settings_of(broker, topic, tmp_path / "backup")
    assert mode_of(consents.ceilings(restored), "early_7") == "individual"
    with following(restored) as known:
        wait_for(lambda: mode_of(known, "early_8") == "none", 60)
        assert (mode_of(known, "early_7"), mode_of(known, "early_9")) == ("none", "individual")
    assert [each.getMessage().rpartition(" ")[2] for each in caplog.records if "following" in each.getMessage()] == [
        "0}",
        "50}",
        "50}",
    ]


def test_another_topic_of_the_name_is_read_from_its_beginning(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = settings_of(broker, topic, tmp_path)
    create(broker.bootstrap, settings.consent_topic, compacted=True)
    send(broker.bootstrap, settings.consent_topic, [record(f"user_{n}", "none", now_ms()) for n in range(5)])
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "user_4") == "none", 60)
        wait_for(lambda: known.heard > 0, 60)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_topics([settings.consent_topic])[settings.consent_topic].result(60)
    wait_for(lambda: settings.consent_topic not in admin.list_topics(timeout=60).topics, 60)
    create(broker.bootstrap, settings.consent_topic, compacted=True)
    records = [record(f"other_{n}", "individual", now_ms()) for n in range(10)]
    send(broker.bootstrap, settings.consent_topic, records)
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "other_9") == "individual", 60)
        assert mode_of(known, "user_4") == "none", "what was known stays"
    with following(settings) as known:
        wait_for(lambda: caplog.text.count("following the consent topic") == 3, 60)
    assert "from offsets {0: 10}" in caplog.text, "the list is of the new topic now"


def test_one_thread_follows_and_another_takes_over(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = settings_of(broker, topic, tmp_path)

    def begun() -> int:
        return caplog.text.count("following the consent topic")

    first, second = ConsentFollower(settings), ConsentFollower(settings)
    try:
        first.start()
        wait_for(lambda: begun() == 1, 60)
        second.start()
        stays(lambda: begun() == 1, 1)
        first.stop()
        wait_for(lambda: begun() == 2, 60, "another thread does not take over")
        send(broker.bootstrap, settings.consent_topic, [record("user_1", "none", now_ms())])
        known = consents.ceilings(settings)
        wait_for(lambda: mode_of(known, "user_1") == "none", 60)
    finally:
        first.stop()
        second.stop()


def test_a_topic_that_is_not_compacted_is_refused(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(broker, topic, tmp_path)
    create(broker.bootstrap, settings.consent_topic)
    with following(settings):
        wait_for(lambda: "cleanup.policy is not compact: retention would delete withdrawals" in caplog.text, 60)


def test_a_broker_that_goes_and_comes_back(own_broker: Broker, topic: str, tmp_path: Path) -> None:
    """Known records stay in force, and later ones are read when the broker is back."""
    settings = settings_of(own_broker, topic, tmp_path)
    with following(settings) as known:
        wait_for(lambda: heard(known) > 0, 60)
        send(own_broker.bootstrap, settings.consent_topic, [record("user_1", "individual", now_ms())])
        wait_for(lambda: mode_of(known, "user_1") == "individual", 60)
        own_broker.kill()
        killed = now_ms()
        stays(lambda: known.heard <= killed and mode_of(known, "user_1") == "individual", 3)
        own_broker.start()
        send(own_broker.bootstrap, settings.consent_topic, [record("user_1", "none", now_ms())])
        wait_for(lambda: mode_of(known, "user_1") == "none", 90)
        wait_for(lambda: known.heard > killed, 90)


def test_it_needs_no_kafka_to_know_what_it_knew(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    settings = settings_of(broker, topic, tmp_path)
    create(broker.bootstrap, settings.consent_topic, compacted=True)
    send(broker.bootstrap, settings.consent_topic, [record("user_1", "individual", now_ms())])
    with following(settings) as known:
        wait_for(lambda: mode_of(known, "user_1") == "individual" and known.heard > 0, 60)
    away = settings_of(External("127.0.0.1:1"), topic, tmp_path)
    with following(away) as known:
        assert mode_of(known, "user_1") == "individual"


def test_a_list_that_cannot_be_opened_is_tried_again(
    broker: Broker | External, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread does not end: withdrawals are heard of once the disk is well again."""
    settings = settings_of(broker, topic, tmp_path)
    create(broker.bootstrap, settings.consent_topic, compacted=True)
    send(broker.bootstrap, settings.consent_topic, [record("u", "individual", now_ms())])
    directory = consents.directory(settings)
    (directory / "lock").mkdir(parents=True)
    follower = ConsentFollower(settings)
    follower.start()
    try:
        wait_for(lambda: "trying again" in caplog.text, 60)
        assert follower.is_alive()
        (directory / "lock").rmdir()
        wait_for(lambda: mode_of(consents.ceilings(settings), "u") == "individual", 60)
    finally:
        follower.stop()
