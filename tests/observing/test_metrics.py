"""The metrics of `pixelcore serve`: exact sums across workers and their ends, lag, and stable names."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.kafka.broker import Broker, External, free_port
from tests.support.load import Load
from tests.support.metrics import Scrape, with_metrics
from tests.support.servers import Serve, Server, clean_environment, kafka_settings
from tests.support.waiting import wait_for
from tests.support.wire import ask, assert_pixel

EVENT_BYTES = 1000
"""More than an event of the tests has."""

REQUESTS: list[tuple[str, str, str, str]] = [
    # path, type, outcome, reason
    ("track?wk=dk_1&e=E", "track", "accepted", ""),
    ("track?wk=dk_1&e=E&ts=1", "track", "accepted", ""),
    ("page?wk=dk_1", "page", "accepted", ""),
    ("identify?wk=dk_1&uid=u", "identify", "accepted", ""),
    ("group.gif?wk=dk_1&gid=g", "group", "accepted", ""),
    ("group?gid=g", "group", "rejected", "missing_key"),
    ("track?wk=dk_1", "track", "rejected", "missing_event"),
    ("page?wk=!", "page", "rejected", "malformed_key"),
    ("page?wk=a&" + "&".join("x" * 300), "page", "rejected", "too_many_parameters"),
    ("identify?wk=a&x=" + "y" * 9000, "identify", "rejected", "query_too_long"),
    ("identify?wk=a&p." + "." * 40, "identify", "rejected", "too_deep"),
    ("no,such type=1\n".replace("\n", "%0A").replace(" ", "%20"), "unknown", "rejected", "unknown_type"),
]


def send(server: Server, rounds: int, counted: Counter[tuple[str, ...]]) -> None:
    """Ask for pixels, and count the answers as a client would."""
    for _ in range(rounds):
        for path, kind, outcome, reason in REQUESTS:
            assert_pixel(ask(server, f"/v1/pixel/{path}"))
            counted["requests_total", kind, outcome] += 1
            if reason:
                counted["rejections_total", reason] += 1
            if "&ts=1" in path:
                counted["repairs_total", "ts"] += 1


def kill_the_older(server: Server) -> None:
    """``kill -9`` of one of two workers, and its respawn; Granian gives up on one that is killed again within 5.5 s."""
    before = server.workers()
    os.kill(min(before, key=lambda pid: psutil.Process(pid).create_time()), signal.SIGKILL)
    wait_for(lambda: len(server.workers()) == 2 and server.workers() != before, 60)


def assert_sums(found: Scrape, server: Server, killed: int = 0) -> None:
    """The sums are those of the lines on the disk.

    Of each worker that was killed while it answered, the last event may be whole or in part on the disk, and not counted.
    """
    rejections = server.rejections()
    assert 0 <= len(server.events()) - found.sum("requests_total", "accepted") <= killed
    assert found.sum("requests_total", "rejected") == found.sum("rejections_total") == len(rejections)
    for reason, count in Counter(rejection["reason"] for rejection in rejections).items():
        assert found.of("rejections_total", reason) == count
    for journal in ("events", "rejections"):
        size = sum(path.stat().st_size for path in server.data_dir.glob(f"{journal}/*/*.ndjson"))
        assert found.of("journal_bytes", journal) == size
        assert 0 <= size - found.of("appended_bytes_total", journal) <= killed * EVENT_BYTES
    assert found.of("lost_total") == 0


def test_sums_are_exactly_what_the_client_counted(serve: Serve) -> None:
    """Over two workers. Each is killed and comes back."""
    port, environment = with_metrics()
    server = serve(environment, workers=2)
    wait_for(lambda: Scrape(port).of("workers") == 2)
    counted: Counter[tuple[str, ...]] = Counter()
    for _ in range(2):
        send(server, 5, counted)
        kill_the_older(server)
        wait_for(lambda: Scrape(port).of("workers") == 2)
    send(server, 5, counted)
    found = Scrape(port)
    assert {key: found.of(*key) for key in counted} == counted
    assert found.sum("requests_total") == 15 * len(REQUESTS)
    assert_sums(found, server)
    assert len(list((server.data_dir / "metrics").iterdir())) == 2, "files of the dead are folded"

    server.restart()
    assert Scrape(port).sum("requests_total") == 0, "counters start again with the gateway"


def test_sums_are_exact_where_workers_are_killed_under_load(serve: Serve) -> None:
    port, environment = with_metrics()
    server = serve(environment, workers=2)
    seen = 0.0
    kills = 2
    with Load(server.port, rate=800, connections=16) as load:
        for _ in range(kills):
            load.wait(400)
            kill_the_older(server)
            now = Scrape(port).sum("requests_total")
            assert now >= seen, "a counter never falls"
            seen = now
        load.wait(400)
    found = Scrape(port)
    # A request that was under way at the kill may or may not have been journaled; each that was answered is counted.
    assert len(load.answered) <= found.of("requests_total", "track", "accepted") <= len(load.sent)
    assert len(load.sent) - len(load.answered) <= 16 * kills
    assert_sums(found, server, kills)


def test_losses_and_readiness(serve: Serve) -> None:
    port, environment = with_metrics(PIXELCORE_JOURNAL_MAX_BYTES="1MiB", PIXELCORE_JOURNAL_SEGMENT_BYTES="64KiB")
    server = serve(environment)
    assert Scrape(port).of("unready_workers") == 0
    sent = 0
    while ask(server, "/readyz").status == 200:
        assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=E&p.a={'x' * 7000}"))
        sent += 1
    found = Scrape(port)
    assert found.of("unready_workers") == 1
    assert found.of("lost_total") == found.of("requests_total", "track", "lost") == sent - len(server.events()) > 0
    assert found.of("journal_bytes", "events") > 0.9 * found.of("journal_max_bytes", "events") == 0.9 * 2**20
    # A dead worker is not unready any more, and its losses stay.
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: Scrape(port).of("unready_workers") == 0)
    assert Scrape(port).of("lost_total") == found.of("lost_total")


@pytest.mark.kafka
def test_lag_and_deliveries(serve: Serve, broker: Broker | External, topic: str) -> None:
    port, environment = with_metrics(
        **kafka_settings("127.0.0.1:1", topic),
        PIXELCORE_KAFKA_REJECTED_TOPIC=f"{topic}-rejected",
        PIXELCORE_DRAIN_SECONDS="1",
    )
    server = serve(environment, workers=2)
    for _ in range(3):
        assert_pixel(ask(server, "/v1/pixel/track?wk=dk_1"))
    with Load(server.port, rate=500) as load:
        load.wait(300)
    asked, found, answered = time.time(), Scrape(port), time.time()
    total = len(load.answered)
    assert (found.of("lag_events", "events"), found.of("lag_bytes", "events")) == (
        total,
        found.of("appended_bytes_total", "events"),
    )
    assert found.of("lag_events", "rejections") == 3
    assert found.of("lag_bytes", "rejections") == found.of("journal_bytes", "rejections")
    for journal, records in (("events", server.events()), ("rejections", server.rejections())):
        oldest = min(datetime.fromisoformat(record["receivedAt"].replace("Z", "+00:00")) for record in records)
        begun = oldest.timestamp() - 0.001  # times are shown in milliseconds
        assert asked - begun - 0.002 <= found.of("lag_seconds", journal) <= answered - begun, "that of the oldest"
    assert found.sum("batches_total") == found.of("transaction_seconds_count") == 0

    # The journals of the past are shipped, too, and so is what comes.
    began = time.monotonic()
    server.restart(**kafka_settings(broker.bootstrap, topic))
    with Load(server.port, rate=500) as load:
        load.wait(300)
    total += len(load.answered)
    wait_for(lambda: Scrape(port).of("shipped_events_total", "events") == total, 60)
    wait_for(lambda: Scrape(port).of("shipped_events_total", "rejections") == 3, 60)
    wait_for(lambda: Scrape(port).sum("lag_events") == 0)
    found = Scrape(port)
    assert found.sum("lag_bytes") == found.sum("lag_seconds") == 0
    assert 0 < found.sum("batches_total") == found.of("transaction_seconds_count") <= total
    # Two workers, and in each: own and orphaned journals of two kinds, and folded ones of two.
    assert 0 < found.of("transaction_seconds_sum") < 2 * 6 * (time.monotonic() - began)
    assert found.of("transaction_seconds_bucket", "+Inf") == found.of("transaction_seconds_count")
    wait_for(lambda: Scrape(port).of("fsync_seconds_count") > 0)  # each second, and all was shipped in less


@pytest.mark.kafka
def test_delivery_errors(serve: Serve, broker: Broker | External, topic: str) -> None:
    """An event that no broker takes: refused, set aside, and counted as both."""
    port, environment = with_metrics(
        **kafka_settings(broker.bootstrap, topic), PIXELCORE_KAFKA_MESSAGE_MAX_BYTES="2000"
    )
    server = serve(environment)
    assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=E&p.a={'x' * 7000}"))
    assert_pixel(ask(server, "/v1/pixel/track?wk=dk_1&e=E"))
    wait_for(lambda: Scrape(port).of("lag_bytes", "events") == 0, 60)
    found = Scrape(port)
    assert found.of("undeliverable_total") == found.of("shipped_events_total", "events") == 1
    assert found.of("delivery_errors_total", "MSG_SIZE_TOO_LARGE") >= 1
    assert found.of("delivery_errors_total", "other") == 0


def test_the_off_switch(serve: Serve) -> None:
    server = serve({"PIXELCORE_METRICS_ADDRESS": ""})
    assert_pixel(ask(server, "/v1/pixel/track?wk=dk_1&e=E"))
    assert not (server.data_dir / "metrics").exists()
    assert re.search(r"metrics +off", server.log())


def test_the_server_does_not_import_prometheus_client() -> None:
    """It is worth its memory in a process of its own only, and workers are forks of the server's."""
    imports = "import sys, pixelcore.app, pixelcore.serving.worker, pixelcore.shipping.forwarder, pixelcore.commands.main, pixelcore.observing.metrics_process"
    subprocess.run([sys.executable, "-c", f"{imports}; assert 'prometheus_client' not in sys.modules"], check=True)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, "-m", "pixelcore", "serve", "--bind", f"127.0.0.1:{free_port()}"],
            env=clean_environment({"PIXELCORE_METRICS_ADDRESS": address}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode != 0
    assert ended.stderr.splitlines() == [
        f"Error: PIXELCORE_METRICS_ADDRESS: {address}: another server or gateway already listens there: stop it, or choose another port"
    ]


def exporters(server: Server) -> list[psutil.Process]:
    """The processes that serve metrics for a server."""
    assert server.process is not None
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "pixelcore.observing.metrics" in child.cmdline()]


def test_metrics_end_with_the_server_however_it_ends(serve: Serve) -> None:
    """They end with the server, also after ``kill -9`` and before its workers, because the next server uses the address again."""
    port, environment = with_metrics()
    server = serve(environment, workers=2)
    (exporter,) = exporters(server)
    for worker in server.workers():
        os.kill(worker, signal.SIGSTOP)
    assert server.process is not None
    server.process.kill()
    exporter.wait(60)
    server.kill()
    server.start()
    wait_for(lambda: Scrape(port).of("workers") == 2)


def test_requests_go_on_without_the_process_of_the_metrics(serve: Serve) -> None:
    _, environment = with_metrics()
    server = serve(environment)
    (exporter,) = exporters(server)
    exporter.kill()
    wait_for(lambda: exporter.status() == psutil.STATUS_ZOMBIE)
    assert_pixel(ask(server, "/v1/pixel/track?wk=dk_1&e=E"))
    assert server.terminate() == 0
