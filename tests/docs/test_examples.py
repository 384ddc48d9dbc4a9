"""Every file of examples/ runs, as its own first lines say."""

from __future__ import annotations

import email
import email.policy
import html
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pixelcore._core import Journal

from tests.kafka.broker import Broker, External
from tests.kafka.topics import read_committed
from tests.support.key_files import pipeline
from tests.support.paths import ROOT
from tests.support.servers import Serve, Server, clean_environment, consent_settings, kafka_settings
from tests.support.waiting import wait_for
from tests.support.website import dump_dom, website

EXAMPLES = ROOT / "examples"


def start(name: str, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start an example as its users do."""
    return subprocess.Popen(
        [sys.executable, EXAMPLES / name, *arguments],
        env=clean_environment({}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(name: str, *arguments: str | Path, cwd: Path) -> str:
    process = start(name, *arguments, cwd=cwd)
    printed = process.communicate(timeout=150)[0]
    assert process.returncode == 0, printed
    return printed


def until_landed(consumer: subprocess.Popen[str], count: int) -> None:
    """Return when the consumer has landed so many messages, and kill it."""
    assert consumer.stdout is not None
    said: list[str] = []
    for line in consumer.stdout:
        said.append(line)
        landed = re.fullmatch(r"(\d+) messages landed\n", line)
        if landed is not None and int(landed[1]) >= count:
            break
    else:
        raise AssertionError("".join(said))
    consumer.kill()
    consumer.communicate()
    assert consumer.returncode == -signal.SIGKILL


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as db:
        return db.execute(query).fetchall()


def opened(server: Server, number: int) -> None:
    """One open: of every third a prefetch, over three hours, by seven people."""
    milliseconds = 1_740_493_800_000 + number % 3 * 3_600_000
    headers = {"Sec-Purpose": "prefetch"} if number % 3 == 0 else {}
    query = f"wk=dk_test&e=Email+Opened&uid=user_{number % 7}&mid=open-{number}&ts={milliseconds + number}&p.n={number}"
    assert server.get(f"/v1/pixel/track?{query}", headers).is_pixel


@pytest.mark.kafka
def test_landing_and_plotting(serve: Serve, broker: Broker | External, topic: str, tmp_path: Path) -> None:
    server = serve(kafka_settings(broker.bootstrap, topic))
    database = tmp_path / "events.duckdb"
    flags = ("--brokers", broker.bootstrap, "--topic", topic, "--database", database)
    for number in range(100):
        opened(server, number)
    read_committed(broker.bootstrap, topic, expect=100)

    until_landed(start("land_in_duckdb.py", *flags, cwd=tmp_path), 1)
    ((landed,),) = rows(database, "SELECT count(*) FROM events")
    assert landed > 0
    for number in (*range(100, 150), 7, 8):  # the last two were sent before, with the same messageId
        opened(server, number)
    read_committed(broker.bootstrap, topic, expect=152)
    until_landed(start("land_in_duckdb.py", *flags, cwd=tmp_path), 152 - landed)

    numbers = rows(database, "SELECT (properties->>'n')::INT FROM events")
    assert sorted(number for (number,) in numbers) == list(range(150))
    assert rows(database, "SELECT sum(next) FROM offsets") >= [(152,)], "transactions have markers, which count, too"
    assert run("land_in_duckdb.py", *flags, "--until-idle", "1", cwd=tmp_path) == ""

    printed = run("opens_by_hour.py", "--database", database, "--plot", "opens.svg", cwd=tmp_path)
    naive = Counter((14 + number % 3, number % 3 == 0) for number in range(150))
    expected = [[f"2025-02-25 {hour}:30"[:13] + ":00", naive[hour, False], naive[hour, True]] for hour in (14, 15, 16)]
    table = [line.split() for line in printed.splitlines()[1:]]
    assert [[f"{day} {hour}", int(people), int(machines)] for day, hour, people, machines, _ in table] == expected
    assert [int(line[-1]) for line in table] == [0, 7, 7]
    drawn = (tmp_path / "opens.svg").read_text()
    assert "<svg" in drawn
    assert all(f"{hour}:00" in drawn for hour in (14, 15, 16)), "the labels of the hours"


@pytest.mark.kafka
def test_opens_of_all_kinds(serve: Serve, broker: Broker | External, topic: str, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(
        pipeline("dk_live_news", consent='"uid"', unknown='"individual"')
        + pipeline("dk_live_rate", max='"aggregate"', aggregate_properties='["campaign"]')
        + pipeline("dk_live_reach", max='"deliverability"')
    )
    topics = {"PIXELCORE_LAST_OPEN_TOPIC": f"{topic}-opens", "PIXELCORE_AGGREGATE_TOPIC": f"{topic}-counts"}
    more = {"PIXELCORE_KEYS_FILE": str(tmp_path / "keys.toml"), "PIXELCORE_AGGREGATE_WINDOW": "1d"}
    server = serve(kafka_settings(broker.bootstrap, topic) | topics | more | consent_settings())
    # A window that is over, left by a worker that is gone.
    load = b'{"type":"track","event":"Open","pipelineId":"pip_rate","window":"2025-02-25T00:00:00.000Z","properties":{"campaign":"spring"}}'
    with Journal(server.data_dir / "loads") as journal:
        for line in [load] * 6 + [load.replace(b"spring", b"test")] * 2:
            journal.append(line)
    began = datetime.now(timezone.utc)
    for number in range(6):
        news = f"wk=dk_live_news&e=Open&p.campaign=spring&uid=person-{number % 3}"
        assert server.get(
            f"/v1/pixel/track?{news}",
            {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
        ).is_pixel
        assert server.get(f"/v1/pixel/track?wk=dk_live_reach&e=Open&uid=person-{number % 2}").is_pixel
    assert server.get(f"/v1/pixel/track?{news}", {"Sec-Purpose": "prefetch"}).is_pixel
    read_committed(broker.bootstrap, topic, expect=7)
    read_committed(broker.bootstrap, f"{topic}-counts", expect=2)
    read_committed(broker.bootstrap, f"{topic}-opens", expect=2)
    named = ("--topic", topic, "--counts", f"{topic}-counts", "--last-opens", f"{topic}-opens")
    printed = run("opens_of_all_kinds.py", "--brokers", broker.bootstrap, *named, cwd=tmp_path)
    *tables, first, second = printed.splitlines()
    assert tables == [
        "loads by campaign and hour, of nobody in particular",
        "   spring 2025-02-25T00 6",
        "   the rest 2025-02-25T00 2",
        "unique opens of those who agreed, and machines that said so",
        "   spring 3 1",
        "the last day of each person, for the hygiene of a list",
    ]
    days = {began.date().isoformat(), datetime.now(timezone.utc).date().isoformat()}  # midnight may be in between
    assert first in {f"   pip_reach person-0 {day}" for day in days}
    assert second in {f"   pip_reach person-1 {day}" for day in days}


def test_a_mail(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    printed = run("mail.py", "--gateway", server.url, cwd=tmp_path)
    message = email.message_from_string(printed, policy=email.policy.default)
    part = message.get_body(("html",))
    assert part is not None
    found = re.search(r'<img src="([^"]+)"', part.get_content())
    assert found is not None
    url = html.unescape(found[1])
    assert server.get(url.removeprefix(server.url)).is_pixel
    (event,) = server.events()
    assert (event["event"], event["userId"]) == ("Email Opened", "user_1")
    assert event["properties"] == {"campaign": {"id": "camp_001", "subject": "What's new"}, "variant": "b"}


def test_a_page(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    page = (EXAMPLES / "page.html").read_text()
    with website(page.replace("http://localhost:8080", server.url)) as site:
        dump_dom(f"{site}/page", tmp_path / "profile")
    wait_for(lambda: len(server.events()) == 2, 30)
    found = {event["type"]: event for event in server.events()}
    assert found["page"]["name"] == "Welcome"
    assert found["page"]["properties"] == {"section": "docs"}
    assert found["track"]["properties"] == {"offers": [{"id": "a"}, {"id": "b"}]}


def test_every_example_is_run_here() -> None:
    written = Path(__file__).read_text() + "README.md"
    assert [path.name for path in EXAMPLES.iterdir() if path.is_file() and path.name not in written] == []
    index = (EXAMPLES / "README.md").read_text()
    assert all(f"]({path.name})" in index for path in EXAMPLES.iterdir() if path.is_file() and path.suffix != ".md")
