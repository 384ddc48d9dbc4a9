"""Section 5 of the contract: rate limits are the gateway's, whichever of its workers are asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixelcore import Journal
from pixelcore._core import Collector
from pixelcore.serving.rate_limits import RateShares

from tests.conftest import Serve
from tests.load import Load
from tests.servers import Server
from tests.test_pipelines import Judged, judged, pipeline, put
from tests.test_worker import wait_for

KEY = "dk_live_limited"
LIMIT = 100


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    """Two workers that know of each other."""
    put(file := tmp_path / "keys.toml", pipeline(KEY, rate_limit_rps=LIMIT))
    server = serve({"PIXELCORE_KEYS_FILE": str(file)}, workers=2)
    wait_for(lambda: len(list((server.data_dir / "rates").glob("*.json"))) == 2)
    time.sleep(1.1)
    return server


def judged_under_load(server: Server, *, connections: int, rate: float, seconds: float) -> list[Judged]:
    with Load(server.port, rate=rate, connections=connections, key=KEY) as load:
        time.sleep(seconds)
    found = judged(server)
    assert found.keys() >= load.answered
    assert not load.failures
    assert {request.outcome for request in found.values()} <= {"accepted", "rate_limited"}
    return sorted(found[mid] for mid in load.answered)


def accepted(requests: list[Judged], start: float, end: float) -> int:
    return sum(request.outcome == "accepted" and start <= request.at < end for request in requests)


def test_two_workers_under_load(server: Server) -> None:
    requests = judged_under_load(server, connections=24, rate=500, seconds=5.2)
    start, end = requests[0].at, requests[-1].at
    assert len({request.journal for request in requests if request.outcome == "accepted"}) == 2
    # What `pixelcore::rate` states, and a round more, in which the workers had not yet heard of each other's demand.
    assert accepted(requests, start, end) <= 1.05 * LIMIT * (end - start + 2)
    for second in range(2, 5):
        count = accepted(requests, start + second, start + second + 1)
        assert 0.8 * LIMIT <= count <= 1.1 * LIMIT, second


def test_one_worker_alone_gets_the_whole_limit(server: Server) -> None:
    """A connection stays with its worker."""
    requests = judged_under_load(server, connections=1, rate=300, seconds=5.5)
    start = requests[0].at
    assert len({request.journal for request in requests if request.outcome == "accepted"}) == 1
    assert accepted(requests, start, start + 5) <= 1.05 * LIMIT * 7
    # Its share follows its demand within a round or two.
    assert accepted(requests, start + 2.2, start + 5.2) >= 0.9 * 3 * LIMIT


def test_files_of_the_workers(server: Server) -> None:
    rates = server.data_dir / "rates"
    files = {int(path.stem): path for path in rates.glob("*.json")}
    assert sorted(files) == server.workers()
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}, "there are keys in them"
    with Load(server.port, rate=50, connections=2, key=KEY, seconds=3):
        wait_for(lambda: any(KEY in path.read_text() for path in files.values()))
    assert server.terminate() == 0
    assert list(rates.iterdir()) == []


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with Journal(tmp_path / "events") as events, Journal(tmp_path / "rejections") as rejections:
        yield Collector(events, rejections)


def accepted_at_once(collector: Collector) -> int:
    """How many tokens there are."""
    count = 0
    while collector.collect("page", f"wk={KEY}", "unix:", ()) is None:
        count += 1
    return count


def told(seconds: float, **demand: int) -> str:
    return json.dumps({"seconds": seconds, "demand": demand})


@pytest.fixture
def alive() -> Iterator[int]:
    """A process id that is somebody's, as another worker's is."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def gone() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_who_counts_as_a_worker(collector: Collector, tmp_path: Path, alive: int, gone: int) -> None:
    def write(name: str, age: float, text: str = told(1)) -> Path:
        (path := rates / name).write_text(text)
        os.utime(path, (time.time() - age,) * 2)
        return path

    (rates := tmp_path / "rates").mkdir()
    others = {
        "a worker": (write(f"{alive}.json", 0.5), True),
        "one that is silent": (write(f"0{alive}.json", 4), True),
        "one that is gone": (write(f"{gone}.json", 0.5), True),
        "no number": (write("x.json", 0.5), True),
        "no JSON": (write(f"00{alive}.json", 0.5, "{"), True),
        "being written": (write(f"{alive}.new", 0.5), True),
        "old": (write(f"0{gone}.json", 61), False),
        "old, and never finished": (write(f"{gone}.new", 61), False),
    }
    assert RateShares(rates, collector).share == 1 / 2
    assert {name: path.exists() for name, (path, _) in others.items()} == {name: row[1] for name, row in others.items()}


def test_shares_follow_demand_and_even_out(collector: Collector, tmp_path: Path, alive: int) -> None:
    (directory := tmp_path / "rates").mkdir()
    rates = RateShares(directory, collector)
    assert rates.share == 1
    collector.set_keys(pipeline(KEY, rate_limit_rps=1000) + pipeline("dk_live_idle"), rates.share)
    other = directory / f"{alive}.json"
    # what the other worker tells, and how many tokens fit into this one's bucket then
    for name, demand, expected in (
        ("another worker, and nobody asked", {}, 500),
        ("all ask the other one", {KEY: 5000}, 25),
        ("no demand any more: even again", {}, 500),
    ):
        other.write_text(told(1, **demand))
        assert accepted_at_once(collector) >= 0
        collector.demand()
        time.sleep(0.6)
        rates.exchange()
        other.write_text(told(1))
        time.sleep(1.0)
        assert accepted_at_once(collector) == pytest.approx(expected, rel=0.1), name
        collector.demand()
    rates.leave()
    assert list(directory.iterdir()) == [other]


def test_a_disk_that_takes_no_files(collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limits hold as well as they can, and the log says so once."""
    (tmp_path / "rates").write_text("a file")
    with caplog.at_level("ERROR", "pixelcore"):
        rates = RateShares(tmp_path / "rates", collector)
        for _ in range(2):
            time.sleep(0.6)
            rates.exchange()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "rate limits are not shared with other workers"
    ]
    rates.leave()
