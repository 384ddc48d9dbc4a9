"""Section 5 of the contract: rate limits apply to the gateway as a whole, whichever workers answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pixelcore import Journal
from pixelcore._core import Buckets, Collector
from pixelcore.serving import rate_limits
from pixelcore.serving.rate_limits import RateLimits

from tests.support.key_files import Judged, judged, pipeline, put
from tests.support.load import Load
from tests.support.servers import Serve, Server

KEY = "dk_live_limited"
LIMIT = 100


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    put(file := tmp_path / "keys.toml", pipeline(KEY, rate_limit_rps=LIMIT))
    return serve({"PIXELCORE_KEYS_FILE": str(file)}, workers=2)


def judged_under_load(server: Server, *, connections: int, rate: float, seconds: float) -> list[Judged]:
    with Load(server.port, rate=rate, connections=connections, key=KEY) as load:
        load.wait(round(rate * seconds), timeout=120)
    found = judged(server)
    assert found.keys() >= load.answered
    assert not load.failures
    assert {request.outcome for request in found.values()} <= {"accepted", "rate_limited"}
    return sorted(found[mid] for mid in load.answered)


def admitted(requests: list[Judged]) -> int:
    """How many of these requests a full bucket of one second admits: a busy machine may ask below the limit for a while."""
    tokens, before, count = float(LIMIT), requests[0].at, 0
    for request in requests:
        tokens = min(LIMIT, tokens + LIMIT * (request.at - before))
        before = request.at
        if tokens >= 1:
            tokens -= 1
            count += 1
    return count


def test_two_workers_beyond_the_limit(server: Server) -> None:
    """The limits of `pixelcore::keys::rate`, from the first request on."""
    began = time.time()
    requests = judged_under_load(server, connections=24, rate=500, seconds=4)
    seconds = time.time() - began
    accepted = [request for request in requests if request.outcome == "accepted"]
    assert len({request.journal for request in accepted}) == 2
    # A worker may be interrupted between the time of receipt and the look into the bucket.
    assert admitted(requests) - LIMIT / 4 <= len(accepted) <= LIMIT * (seconds + 1) + 1


def test_nothing_below_the_limit_is_refused(server: Server) -> None:
    """However the requests fall upon the workers: each connection stays with its own, and they take turns."""
    for connections in (1, 2, 1):
        requests = judged_under_load(server, connections=connections, rate=0.8 * LIMIT, seconds=1.5)
        assert {request.outcome for request in requests} == {"accepted"}


def test_the_file_of_a_gateway(server: Server) -> None:
    """One file, whose name says whose it is, and no key is in it."""
    (file,) = (server.data_dir / "rates").iterdir()
    assert server.process is not None
    assert file.name.startswith(f"{server.process.pid}-")
    assert file.stat().st_mode & 0o777 == 0o600
    judged_under_load(server, connections=2, rate=50, seconds=0.5)
    assert any(content := file.read_bytes())
    assert KEY.encode() not in content
    server.terminate()
    server.restart()
    (successor,) = (server.data_dir / "rates").iterdir()
    assert successor != file, "what servers left is removed"


def collector_in(directory: Path) -> Collector:
    return Collector(Journal(directory / "events"), Journal(directory / "rejections"))


def accepted_at_once(collector: Collector, key: str = KEY) -> int:
    """How many tokens there are."""
    count = 0
    while collector.collect("page", f"wk={key}", "unix:", ()) is None:
        count += 1
    return count


SLOW = pipeline(KEY, rate_limit_rps=0.01)


def test_collectors_share_a_file(tmp_path: Path) -> None:
    one, two, apart = (collector_in(tmp_path / name) for name in ("one", "two", "apart"))
    path = tmp_path / "rates"
    for collector, buckets in ((one, Buckets(16, path)), (two, Buckets(16, path)), (apart, Buckets(16))):
        assert collector.set_keys(SLOW, buckets) == 1
    assert [accepted_at_once(collector) for collector in (one, two, apart)] == [1, 0, 1]


def test_more_keys_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "KEYS", 1)
    many = "".join(pipeline(f"dk_live_{number}", rate_limit_rps=0.01) for number in range(7))
    limits, collector = RateLimits(tmp_path / "rates"), collector_in(tmp_path)
    assert collector.set_keys(SLOW, limits.buckets) == 1
    assert accepted_at_once(collector) == 1
    assert collector.set_keys(SLOW + many, limits.buckets) is None
    assert accepted_at_once(collector) == 0, "nothing changes"
    limits.grow(8)
    assert collector.set_keys(SLOW + many, limits.buckets) == 8
    assert [accepted_at_once(collector, f"dk_live_{number}") for number in range(7)] == [1] * 7
    assert sorted(file.stat().st_size for file in (tmp_path / "rates").iterdir()) == [32, 8 * 32]


def test_a_disk_that_takes_no_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limits hold in each worker, and the log says so."""
    (tmp_path / "rates").write_text("a file")
    with caplog.at_level("ERROR", "pixelcore"):
        limits = RateLimits(tmp_path / "rates")
    (record,) = caplog.records
    assert record.message.startswith(f"rate limits are not shared with other workers: {tmp_path}/rates: ")
    assert os.strerror(20) in record.message
    collector = collector_in(tmp_path)
    assert collector.set_keys(SLOW, limits.buckets) == 1
    assert accepted_at_once(collector) == 1
