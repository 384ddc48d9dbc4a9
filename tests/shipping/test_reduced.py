"""Section 9 of the contract: reduced records reach their topic, and no other data of these requests is anywhere."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pixelcore._core import Journal
from pixelcore.journals import LOADS, OPENINGS
from pixelcore.shipping import topics

from tests.kafka.broker import Broker, External
from tests.kafka.topics import Message, alter, create, read_committed, sizes
from tests.support.delivery import finish, says, ship
from tests.support.key_files import pipeline
from tests.support.servers import Serve, consent_settings, forward, kafka_settings
from tests.support.waiting import wait_for

pytestmark = pytest.mark.kafka

KEYS = "\n".join(
    [
        pipeline("dk_live_all"),
        pipeline("dk_live_day", max='"deliverability"'),
        pipeline("dk_live_sum", max='"aggregate"', aggregate_properties='["campaign"]', aggregate_minimum=3),
        pipeline("dk_live_asks", consent='"uid"', unknown='"deliverability"'),
        pipeline("dk_live_none", max='"none"'),
    ]
)
SECRETS = (
    *("secret-user", "secret-visitor", "secret-mail", "secret-group", "secret-prop", "secret-trait", "secret-agent"),
    *("secret-page", "secret-name", "secret-language", "secret-campaign", "203.0.113.77"),
)
HEADERS = {
    "User-Agent": "secret-agent/1",
    "Referer": "https://secret-page.example/?a=secret-page",
    "Accept-Language": "secret-language",
    "X-Forwarded-For": "203.0.113.77",
}
MORE = "aid=secret-visitor&mid=secret-mail&gid=secret-group&p.x=secret-prop&t.y=secret-trait&secret-name=1&utm_source=secret-campaign"


def settings_of(broker: Broker | External, topic: str) -> dict[str, str]:
    more = {"PIXELCORE_LAST_OPEN_TOPIC": f"{topic}-opens", "PIXELCORE_AGGREGATE_TOPIC": f"{topic}-counts"}
    more |= consent_settings()
    return kafka_settings(broker.bootstrap, topic) | more | {"PIXELCORE_KAFKA_REJECTED_TOPIC": f"{topic}-rejected"}


def left_behind(data_dir: Path, kind: str, *lines: bytes) -> None:
    """A journal of a worker that is gone."""
    (data_dir / "events").mkdir(exist_ok=True)
    with Journal(data_dir / kind) as journal:
        for line in lines:
            journal.append(line)


def found_in(directory: Path, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Which of the texts are in the names and the bytes of files."""
    files = [(str(path), path.read_bytes() if path.is_file() else b"") for path in directory.rglob("*")]
    return [(name, text) for name, content in files for text in texts if text in name or text.encode() in content]


def check_days(opens: list[Message], begun: datetime) -> None:
    """Assert that days of openings have nothing but the person and the day, which is one of this test."""
    days = {moment.date().isoformat() for moment in (begun, datetime.now(timezone.utc))}
    for one in opens:
        pipeline_id, kind, person = (one.key or b"").decode().split("/")
        day = one.event["day"]
        assert day in days
        assert one.event == {"pipelineId": pipeline_id, "userId": person, "day": day}
        midnight = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000)
        assert (kind, one.timestamp, one.headers) == ("uid", midnight, ())


def test_what_a_mode_leaves_out_is_nowhere(serve: Serve, broker: Broker | External, topic: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    server = serve(
        settings_of(broker, topic)
        | {
            "PIXELCORE_KEYS_FILE": str(keys),
            "PIXELCORE_AGGREGATE_WINDOW": "2s",
            "PIXELCORE_TRUSTED_PROXIES": "loopback",
        },
        workers=2,
    )
    begun = datetime.now(timezone.utc)
    for number in range(40):
        asked = [
            f"track?wk=dk_live_day&e=Open&uid=person-{number % 4}&{MORE}",
            f"track?wk=dk_live_asks&e=Open&uid=person-{number % 2}&{MORE}",
            f"track?wk=dk_live_all&e=Open&uid=secret-user&{MORE}&m=n",
            f"track?wk=dk_live_none&e=Open&uid=secret-user&{MORE}",
            "track?wk=dk_live_sum&e=Open&p.campaign=spring&p.x=secret-prop&secret-name=1&utm_source=secret-campaign",
            f"track?wk=dk_live_sum&e=Rare-{number % 20}&p.x=secret-prop",
            # Faults and rejections, of which nothing is kept either.
            f"track?wk=dk_live_sum&e=Open&uid=secret-user&{MORE}",
            f"identify?wk=dk_live_day&uid=secret-user&{MORE}",
            f"group?wk=dk_live_sum&gid=secret-group&{MORE}",
            f"track?wk=dk_live_day&uid=secret-user&{MORE}",
            f"track?wk=dk_live_dya&uid=secret-user&{MORE}",
            f"nothing?wk=dk_live_all&m=d&uid=secret-user&{MORE}",
            f"track?wk=dk_live_day&e=Open&uid=secret-user&s=AAAA&{MORE}&p.{'a.' * 40}=1",
        ]
        for path in asked:
            assert server.get(f"/v1/pixel/{path}", headers=HEADERS).is_pixel
    assert server.get("/v1/pixel/track?wk=dk_live_all&e=Open&mid=whole").is_pixel
    assert [one.mid for one in read_committed(broker.bootstrap, topic, expect=1)] == ["whole"]

    counted: Counter[str] = Counter()
    windows: set[str] = set()

    def all_counted() -> bool:
        counted.clear()
        for one in read_committed(broker.bootstrap, f"{topic}-counts"):
            counted["rest" if one.event.get("rest") else one.event["event"]] += one.event["count"]
            windows.add(one.event["window"])
        return counted.total() == 80

    def opens() -> list[Message]:
        return read_committed(broker.bootstrap, f"{topic}-opens")

    persons = {
        *(f"pip_day/uid/person-{number}".encode() for number in range(4)),
        *(f"pip_asks/uid/person-{number}".encode() for number in range(2)),
    }
    wait_for(all_counted, 120, "all counts")
    assert 40 - 2 * len(windows) <= counted["Open"] <= 40, "a window may have one or two, which are too few"
    wait_for(lambda: {one.key for one in opens()} >= persons, 120, "all days")
    wait_for(
        lambda: not any(server.data_dir.glob("openings/*")) and not any(server.data_dir.glob("last-opens/*")),
        120,
        "erased",
    )
    server.terminate()

    assert {one.key for one in opens()} == persons
    check_days(opens(), begun)
    for one in read_committed(broker.bootstrap, f"{topic}-counts"):
        window = datetime.fromisoformat(one.event["window"].replace("Z", "+00:00")).timestamp() * 1000
        assert (one.key, one.headers, one.timestamp) == (None, (), window)
        assert window % 2000 == 0
        if "event" in one.event:
            assert set(one.event) <= {"type", "event", "pipelineId", "window", "properties", "count"}
            assert one.event["count"] >= 3 or one.event.get("rest")

    there = found_in(server.data_dir, SECRETS)
    assert there == []
    assert [text for text in SECRETS if text in server.log()] == []
    for name in sizes(broker.bootstrap):
        if name.startswith(topic):
            assert [text for text in SECRETS if text in repr(read_committed(broker.bootstrap, name))] == [], name
    assert f"{topic}-rejected" not in sizes(broker.bootstrap), "nothing was recorded"


def test_the_topic_of_days_is_compacted_soon(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    settings = settings_of(broker, topic)
    left_behind(tmp_path, OPENINGS, b'{"pipelineId":"pip_a","userId":"a","day":"2025-02-25"}')
    ship(tmp_path, settings)
    assert [one.event["day"] for one in read_committed(broker.bootstrap, f"{topic}-opens", expect=1)] == ["2025-02-25"]
    assert topics.LAST_OPEN_CONFIG["cleanup.policy"] == "compact"
    assert [list((tmp_path / kind).glob("*")) for kind in ("openings", "last-opens")] == [[], []]


def test_a_topic_that_would_keep_each_day_is_refused(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    create(broker.bootstrap, f"{topic}-opens")
    left_behind(tmp_path, OPENINGS, b'{"pipelineId":"pip_a","userId":"a","day":"2025-02-25"}')
    process = forward(tmp_path, settings_of(broker, topic), "--follow")
    try:
        says(process, "cleanup.policy is not compact: it would keep all days of a person")
        assert read_committed(broker.bootstrap, f"{topic}-opens") == []
        alter(broker.bootstrap, f"{topic}-opens", "cleanup.policy", "compact")
        assert len(read_committed(broker.bootstrap, f"{topic}-opens", expect=1)) == 1
    finally:
        process.terminate()
        finish(process)


def test_counts_are_shipped_once_whoever_is_killed(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    settings = settings_of(broker, topic)
    for hour in range(6):
        window = f"2025-02-25T{hour:02}:00:00.000Z"
        lines = [
            {"type": "track", "event": f"E{n % 300}", "pipelineId": "pip_a", "window": window} for n in range(3000)
        ]
        left_behind(tmp_path, LOADS, *(json.dumps(line).encode() for line in lines))
    for tenths in (5, 7, 9, 11):
        process = forward(tmp_path, settings)
        time.sleep(tenths / 10)
        process.kill()
        process.communicate()
    ship(tmp_path, settings)
    rows = [one.event for one in read_committed(broker.bootstrap, f"{topic}-counts")]
    assert sum(row["count"] for row in rows) == 6 * 3000
    assert len(rows) == 6 * 300
    assert [list((tmp_path / kind).glob("*")) for kind in ("loads", "counts")] == [[], []]
