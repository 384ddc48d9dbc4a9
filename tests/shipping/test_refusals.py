"""Section 6 of the contract: events that a topic refuses are set aside, and do not block others."""

from __future__ import annotations

import json
from pathlib import Path

import pixelcore
import pytest
from pixelcore.journals import JournalDirectory
from pixelcore.settings import load
from pixelcore.shipping import journal_shipper, routing
from pixelcore.shipping.destination import Destination
from pixelcore.shipping.journal_shipper import JournalShipper

from tests.kafka.broker import Broker, External
from tests.kafka.topics import alter, create, read_committed
from tests.support.delivery import arrived, check, finish, ship
from tests.support.servers import forward, kafka_settings
from tests.support.shipping import dead_journal
from tests.support.waiting import wait_for

pytestmark = pytest.mark.kafka

# what a topic takes, what there is (how many events of which size, with a key or not), how many of them are refused
Journals = list[tuple[int, int, bool]]
REFUSALS: list[tuple[str, dict[str, str], dict[str, str], Journals, int]] = [
    ("nothing is refused", {}, {}, [(3000, 500, True)], 0),
    ("batches of 10 kB", {"max.message.bytes": "10000"}, {}, [(3000, 500, True)], 0),
    ("batches of 2 kB", {"max.message.bytes": "2000"}, {}, [(1000, 500, True)], 0),
    ("some are too large", {"max.message.bytes": "60000"}, {}, [(1000, 500, True), (5, 120_000, True)], 5),
    ("all are too large", {"max.message.bytes": "1000"}, {}, [(30, 2000, True)], 30),
    ("a compacted topic, no key", {"cleanup.policy": "compact"}, {}, [(300, 300, False)], 300),
    ("a compacted topic, a key or not", {"cleanup.policy": "compact"}, {}, [(20, 300, True), (20, 300, False)], 20),
    ("a short queue", {}, {"QUEUE_BUFFERING_MAX_MESSAGES": "50"}, [(1000, 500, True)], 0),
    ("too large for the producer", {}, {"MESSAGE_MAX_BYTES": "2000"}, [(100, 500, True), (3, 5000, True)], 3),
    ("compressed, they fit", {"max.message.bytes": "2000"}, {"COMPRESSION_TYPE": "zstd"}, [(20, 4000, True)], 0),
]


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize(
    ("config", "properties", "journals", "refused"), [pytest.param(*row[1:], id=row[0]) for row in REFUSALS]
)
def test_refusals(
    broker: Broker | External,
    topic: str,
    tmp_path: Path,
    config: dict[str, str],
    properties: dict[str, str],
    journals: Journals,
    refused: int,
    delivery: str,
) -> None:
    create(broker.bootstrap, topic, config=config)
    sent: set[str] = set()
    for number, (count, size, uid) in enumerate(journals):
        sent |= dead_journal(tmp_path, f"j{number}", count, size=size, uid=uid)
    settings = kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_DELIVERY": delivery}
    settings |= {f"PIXELCORE_KAFKA_{name}": value for name, value in properties.items()}
    output = ship(tmp_path, settings)

    aside = _aside(tmp_path)
    assert len(aside) == len(set(aside)) == refused, output
    delivered = sent - set(aside)
    messages = arrived(broker.bootstrap, topic, delivered)
    check(messages, delivered, delivered, repeats=delivery == "at-least-once" and refused > 0)
    assert ("undeliverable.ndjson" in output) == (refused > 0)


def test_they_are_shipped_again_once_the_topic_is_repaired(
    broker: Broker | External, topic: str, tmp_path: Path
) -> None:
    create(broker.bootstrap, topic, config={"max.message.bytes": "1000"})
    sent = dead_journal(tmp_path, "large", 10, size=2000)
    settings = kafka_settings(broker.bootstrap, topic)
    ship(tmp_path, settings)
    assert read_committed(broker.bootstrap, topic) == []

    code, output = finish(forward(tmp_path, settings | {"PIXELCORE_TOPIC": f"{topic}-2"}, "--undeliverable"))
    assert code == 0, output
    assert not (tmp_path / "undeliverable.ndjson").exists()
    check(arrived(broker.bootstrap, f"{topic}-2", sent), sent, sent)
    code, output = finish(forward(tmp_path, settings, "--undeliverable"))
    assert (code, output.count("\n")) == (1, 1)
    assert "there is nothing to ship again" in output


def test_a_budget_that_is_used_up_loses_nothing(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    create(broker.bootstrap, topic, config={"max.message.bytes": "1000"})
    sent = dead_journal(tmp_path, "large", 100, size=2000)
    settings = kafka_settings(broker.bootstrap, topic)
    full = settings | {"PIXELCORE_UNDELIVERABLE_MAX_BYTES": "64KiB"}
    code, output = finish(forward(tmp_path, full))
    assert code == 1
    assert "undeliverable.ndjson has reached PIXELCORE_UNDELIVERABLE_MAX_BYTES" in output
    ship(tmp_path, settings | {"PIXELCORE_TOPIC": f"{topic}-2"})
    lines = tmp_path / "undeliverable.ndjson"
    aside = {json.loads(line)["messageId"] for line in lines.read_bytes().splitlines()} if lines.exists() else set()
    delivered = sent - aside
    check(arrived(broker.bootstrap, f"{topic}-2", delivered), delivered, delivered)


def test_pipelines_have_topics_of_their_own(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    """`topic` in the key file; topics that are missing are made as the settings say."""
    keys = tmp_path / "keys.toml"
    pipelines = [("pip_shop", "dk_live_shop", f"{topic}-shop"), ("pip_blog", "dk_live_blog", None)]
    keys.write_text(
        "".join(
            f'[[pipeline]]\nid = "{identity}"\nkey = "{key}"\n' + (f'topic = "{name}"\n' if name else "")
            for identity, key, name in pipelines
        )
    )
    data = tmp_path / "data"
    lines = {identity: [f"{identity}-{number}" for number in range(50)] for identity, _, _ in pipelines}
    _journal_of_pipelines(data, lines)
    settings = kafka_settings(broker.bootstrap, topic) | {
        "PIXELCORE_KEYS_FILE": str(keys),
        "PIXELCORE_TOPIC_PARTITIONS": "3",
    }
    ship(data, settings)
    for name, identity in ((f"{topic}-shop", "pip_shop"), (topic, "pip_blog")):
        messages = read_committed(broker.bootstrap, name, expect=50)
        assert sorted(message.mid for message in messages) == sorted(lines[identity])
    assert {message.partition for message in read_committed(broker.bootstrap, f"{topic}-shop")} <= {0, 1, 2}


def _journal_of_pipelines(data: Path, lines: dict[str, list[str]]) -> None:
    with pixelcore.Journal(data / "events") as journal:
        for identity, mids in lines.items():
            for mid in mids:
                event = {"type": "track", "event": "E", "messageId": mid, "pipelineId": identity}
                journal.append(json.dumps(event, separators=(",", ":")).encode())


def test_a_topic_that_is_repaired_meanwhile_takes_what_it_refused_before(
    broker: Broker | External, topic: str, tmp_path: Path
) -> None:
    """The gateway looks at the topic again, without a restart."""
    create(broker.bootstrap, topic, config={"max.message.bytes": "2000"})
    settings = load(kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_DATA_DIR": str(tmp_path)})
    large = [pixelcore.event("track", f"wk=dk_1&e=E&mid=large-{number}&p.x={'x' * 4000}") for number in range(2)]
    with pixelcore.Journal(tmp_path / "events") as journal:
        shipper = JournalShipper(JournalDirectory(Path(journal.path)), Destination(settings, "events"))
        try:
            journal.append(large[0])
            assert shipper.claim()
            wait_for(lambda: shipper.step() and _aside(tmp_path) == ["large-0"], 60, "it is refused")
            alter(broker.bootstrap, topic, "max.message.bytes", "1000000")
            shipper._limits_since -= journal_shipper.LIMITS_SECONDS
            journal.append(large[1])
            wait_for(lambda: shipper.step() and journal_committed(shipper) == journal.end, 60, "it is shipped")
        finally:
            shipper.close()
    assert _aside(tmp_path) == ["large-0"]
    assert [message.mid for message in read_committed(broker.bootstrap, topic, expect=1)] == ["large-1"]


def test_a_topic_that_a_pipeline_is_given_meanwhile(
    broker: Broker | External, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is created where it is missing, and gets the events from then on."""
    monkeypatch.setattr(routing, "LOOK_SECONDS", 0.0)
    create(broker.bootstrap, topic)
    keys = tmp_path / "keys.toml"
    shop = '[[pipeline]]\nid = "pip_shop"\nkey = "dk_live_shop"\n'
    keys.write_text(shop)
    data = tmp_path / "data"
    chosen = {"PIXELCORE_DATA_DIR": str(data), "PIXELCORE_KEYS_FILE": str(keys)}
    settings = load(kafka_settings(broker.bootstrap, topic) | chosen)
    with pixelcore.Journal(data / "events") as journal:
        shipper = JournalShipper(JournalDirectory(Path(journal.path)), Destination(settings, "events"))
        try:
            for number, text in enumerate((shop, f'{shop}topic = "{topic}-shop"\n')):
                keys.write_text(text)
                journal.append(b'{"messageId":"m%d","pipelineId":"pip_shop"}' % number)
                assert shipper.claim()
                wait_for(lambda: shipper.step() and journal_committed(shipper) == journal.end, 60, "it is shipped")
        finally:
            shipper.close()
    assert [message.mid for message in read_committed(broker.bootstrap, topic)] == ["m0"]
    assert [message.mid for message in read_committed(broker.bootstrap, f"{topic}-shop")] == ["m1"]


def journal_committed(shipper: JournalShipper) -> int:
    return shipper.journal.committed


def _aside(data_dir: Path) -> list[str]:
    file = data_dir / "undeliverable.ndjson"
    return [json.loads(line)["messageId"] for line in file.read_bytes().splitlines()] if file.exists() else []
