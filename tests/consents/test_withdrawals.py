"""The check before shipping: events after their persons' withdrawals are withheld. Pipelines without look-ups never wait."""

from __future__ import annotations

from pathlib import Path

import pixelcore
import pytest
from pixelcore.observing import counters
from pixelcore.observing.stalls import notices
from pixelcore.settings import load
from pixelcore.shipping.delivery import Event
from pixelcore.shipping.forwarder import Forwarder
from pixelcore.shipping.routing import Routing
from pixelcore.shipping.withdrawals import BehindError, Withdrawals

from tests.kafka.broker import Broker, External
from tests.kafka.topics import Reader, alter, create
from tests.support.consents import KEYS, OTHER, SECRET, gateway, iso, listed, now_ms, record, send
from tests.support.delivery import ship
from tests.support.servers import kafka_settings
from tests.support.waiting import wait_for

NOON = 1_796_040_000_000


def line(received_at: int, person: str | None, pipeline: str = "pip_news", kind: str = "uid", mid: str = "m") -> bytes:
    """An event as a gateway journals it."""
    query = f"wk=dk_test_news&e=Open&mid={mid}" + (f"&{kind}={person}" if person else "")
    event = pixelcore.event("track", query, received_at=received_at)
    return event.replace(b'"context"', b'"pipelineId":"%s","context"' % pipeline.encode(), 1)


def withdrawals(tmp_path: Path) -> Withdrawals:
    """Those of a gateway that has its list under ``tmp_path``."""
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    settings = load({"PIXELCORE_DATA_DIR": str(tmp_path), "PIXELCORE_CONSENT_SECRET": SECRET})
    return Withdrawals(settings, Routing("raw-events", keys))


# name, the person's records, of which pipeline and kind of id the event is, when it came, whether it is shipped
SIFT = [
    ("nobody is known", [], "pip_news", "uid", NOON, True),
    ("a consent", [("individual", NOON - 5)], "pip_news", "uid", NOON, True),
    ("a withdrawal before", [("none", NOON - 5)], "pip_news", "uid", NOON, False),
    ("in the same millisecond", [("none", NOON)], "pip_news", "uid", NOON, False),
    ("a withdrawal after", [("none", NOON + 1)], "pip_news", "uid", NOON, True),
    ("less than the event, before", [("deliverability", NOON - 5)], "pip_news", "uid", NOON, False),
    ("counts, before", [("aggregate", NOON - 5)], "pip_news", "uid", NOON, False),
    ("withdrawn and consented anew", [("none", NOON - 9), ("individual", NOON - 5)], "pip_news", "uid", NOON, True),
    ("a pipeline that looks nobody up", [("none", NOON - 5)], "pip_alerts", "uid", NOON, True),
    ("another kind of id", [("none", NOON - 5)], "pip_news", "aid", NOON, True),
]


@pytest.mark.parametrize(
    ("name", "records", "pipeline", "kind", "at", "is_shipped"), SIFT, ids=[row[0] for row in SIFT]
)
def test_what_is_shipped(
    tmp_path: Path, name: str, records: list[tuple[str, int]], pipeline: str, kind: str, at: int, is_shipped: bool
) -> None:
    writer = listed(tmp_path / "consents", [record("user_1", mode, since) for mode, since in records])
    writer.heard(at)
    event = (line(at, "user_1", pipeline, kind), b"user_1", at, pipeline)
    before = counters._counters.slots()["consent_withheld"]
    assert withdrawals(tmp_path).sift([event]) == ([event] if is_shipped else []), name
    assert counters._counters.slots()["consent_withheld"] - before == (not is_shipped)


# name, the person's record, the day of the opening, whether it is shipped
OPENINGS = [
    ("nobody is known", None, "2026-11-30", True),
    ("a consent to it", ("deliverability", NOON - 5), "2026-11-30", True),
    ("a consent to more", ("individual", NOON - 5), "2026-11-30", True),
    ("withdrawn on the day", ("none", NOON), "2026-11-30", False),
    ("withdrawn the day before", ("none", NOON - 86_400_000), "2026-11-30", False),
    ("withdrawn the day after", ("none", NOON + 43_200_000), "2026-11-30", True),
    ("in the day's last millisecond", ("none", NOON + 43_199_999), "2026-11-30", False),
    ("counts alone", ("aggregate", NOON), "2026-11-30", False),
    ("a day that is none", ("none", NOON), "today", False),
]


@pytest.mark.parametrize(("name", "said", "day", "is_shipped"), OPENINGS, ids=[row[0] for row in OPENINGS])
def test_days_of_last_openings(
    tmp_path: Path, name: str, said: tuple[str, int] | None, day: str, is_shipped: bool
) -> None:
    writer = listed(tmp_path / "consents", [record("user_1", *said)] if said else [])
    writer.heard(NOON)
    opening = (b'{"pipelineId":"pip_news","userId":"user_1","day":"%s"}' % day.encode(), b"user_1", NOON, "pip_news")
    assert withdrawals(tmp_path).sift([opening]) == ([opening] if is_shipped else []), name


def test_records_under_a_key_that_is_not_here_hold_back_what_came_after_them(tmp_path: Path) -> None:
    writer = listed(tmp_path / "consents", [record("user_2", "none", NOON, OTHER)])
    writer.heard(NOON + 9)
    events: list[Event] = [(line(at, "user_1"), b"user_1", at, "pip_news") for at in (NOON - 1, NOON, NOON + 1)]
    assert [event[2] for event in withdrawals(tmp_path).sift(events)] == [NOON - 1]


# name, when the list was heard of, whether the events wait
BEHIND = [
    ("never", 0, True),
    ("long before", NOON - 10_000, True),
    ("too long before", NOON - 1501, True),
    ("a moment before", NOON - 1499, False),
    ("after", NOON + 5, False),
]


@pytest.mark.parametrize(("name", "heard", "waits"), BEHIND, ids=[row[0] for row in BEHIND])
def test_events_wait_for_the_list(tmp_path: Path, name: str, heard: int, waits: bool) -> None:
    writer = listed(tmp_path / "consents", [])
    if heard:
        writer.heard(heard)
    sieve = withdrawals(tmp_path)
    event = (line(NOON, "user_1"), b"user_1", NOON, "pip_news")
    other = (line(NOON, "user_1", "pip_alerts"), b"user_1", NOON, "pip_alerts")
    assert sieve.sift([other]) == [other], "those of whom nobody is looked up never wait"
    if waits:
        with pytest.raises(BehindError):
            sieve.sift([other, event])
    else:
        assert sieve.sift([other, event]) == [other, event], name


@pytest.mark.kafka
@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_journal_of_a_gateway_that_was_cut_off(
    broker: Broker | External, topic: str, tmp_path: Path, delivery: str
) -> None:
    """Events that were journaled meanwhile are shipped, without those after a withdrawal, which the topic had all the time."""
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    data_dir = tmp_path / "data"
    now = now_ms()
    expected = set()
    with pixelcore.Journal(data_dir / "events") as journal:
        for number in range(2000):
            person, at = f"user_{number % 20}", now - 60_000 + 30 * number
            # Even persons withdraw in the middle; those of the other pipeline are shipped all the same.
            pipeline = "pip_alerts" if number % 10 == 0 else "pip_news"
            mid = f"{pipeline}-{number}"
            journal.append(line(at, person, pipeline, mid=mid))
            if pipeline == "pip_alerts" or number % 2 == 1 or at < now - 30_000:
                expected.add(mid)
    settings = gateway(keys, kafka_settings(broker.bootstrap, topic), topic, PIXELCORE_DELIVERY=delivery)
    create(broker.bootstrap, f"{topic}-consents", compacted=True)
    records = [record(f"user_{number}", "individual", now - 90_000) for number in range(20)]
    send(broker.bootstrap, f"{topic}-consents", records)
    send(broker.bootstrap, f"{topic}-consents", [record(f"user_{n}", "none", now - 30_000) for n in range(0, 20, 2)])
    output = ship(data_dir, settings)
    assert "events are not shipped: they arrived after their persons' withdrawals" in output
    with Reader(broker.bootstrap, topic) as reader:
        reader.until(lambda messages: len(messages) >= len(expected), 60)
        reader.poll(1)
        assert sorted(message.mid for message in reader.messages) == sorted(expected)
    assert not any((data_dir / "events").iterdir()), "what is not shipped is erased with what is"


@pytest.mark.kafka
def test_days_of_those_who_withdrew_are_not_shipped(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[pipeline]]\nid = "pip_reach"\nkey = "dk_test_a"\nmax = "deliverability"\nconsent = "uid"\n')
    data_dir = tmp_path / "data"
    now = now_ms()
    day = iso(now)[:10]
    with pixelcore.Journal(data_dir / "openings") as journal:
        for number in range(20):
            journal.append(b'{"pipelineId":"pip_reach","userId":"user_%d","day":"%s"}' % (number, day.encode()))
    (data_dir / "events").mkdir()
    settings = gateway(
        keys, kafka_settings(broker.bootstrap, topic), topic, PIXELCORE_LAST_OPEN_TOPIC=f"{topic}-last-opens"
    )
    create(broker.bootstrap, f"{topic}-consents", compacted=True)
    records = [
        record(f"user_{n}", "none" if n % 2 else "deliverability", now - 5000, scope="pip_reach") for n in range(20)
    ]
    send(broker.bootstrap, f"{topic}-consents", records)
    ship(data_dir, settings)
    with Reader(broker.bootstrap, f"{topic}-last-opens") as reader:
        reader.until(lambda messages: len(messages) >= 10, 60)
        reader.poll(1)
        found = sorted(str(message.event["userId"]) for message in reader.messages)
    assert found == sorted(f"user_{number}" for number in range(0, 20, 2))
    assert not any((data_dir / "last-opens").iterdir())


@pytest.mark.kafka
def test_events_that_wait_for_the_list_are_a_stall(
    broker: Broker | External, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The obstacle is reported, and shipping continues after its repair."""
    monkeypatch.setattr("pixelcore.observing.stalls.STALLED_SECONDS", 2.0)
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    data_dir = tmp_path / "data"
    with pixelcore.Journal(data_dir / "events") as journal:
        journal.append(line(now_ms(), "user_1", mid="waits"))
    settings = load(
        {
            **gateway(keys, kafka_settings(broker.bootstrap, topic), topic),
            "PIXELCORE_DATA_DIR": str(data_dir),
        }
    )
    create(broker.bootstrap, settings.consent_topic)
    forwarder = Forwarder(settings)
    forwarder.start()
    try:
        wait_for(lambda: any("the consent list was never complete" in each.text for each in notices(data_dir)), 120)
        alter(broker.bootstrap, settings.consent_topic, "cleanup.policy", "compact")
        with Reader(broker.bootstrap, topic) as reader:
            assert reader.until(lambda messages: [message.mid for message in messages] == ["waits"], 120)
        wait_for(lambda: not notices(data_dir), 60)
    finally:
        forwarder.stop(0)
