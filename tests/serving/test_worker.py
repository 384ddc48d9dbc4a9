"""Sections 1 and 6 of the contract: a used-up byte budget, and the end of a worker."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import get_args

import psutil
import pytest

from tests.support.servers import Command, Serve, Server, StartMethod
from tests.support.waiting import wait_for
from tests.support.wire import COMMANDS, GOOD, ask, assert_pixel, records


def test_a_full_budget(serve: Serve) -> None:
    """Section 6: the GIF is still answered, /readyz says why not, and nothing that was accepted gives way."""
    server = serve({"PIXELCORE_JOURNAL_MAX_BYTES": "1MiB", "PIXELCORE_JOURNAL_SEGMENT_BYTES": "64KiB"})
    sent: list[str] = []
    while (ready := ask(server, "/readyz")).status == 200:
        assert len(sent) < 400, "1 MiB holds no 400 events of 7 kB"
        sent.append(f"m{len(sent)}")
        assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=E&mid={sent[-1]}&p.a={'x' * 7000}"))
    assert ready.status == 503
    assert ready.body.decode() == "events are being lost: there is no room\n", "why, without a path"
    assert "of 1048576 bytes are used" in server.log(), "the log has the rest"
    assert ask(server, "/healthz").status == 200, "starting it again would help nobody"
    # The first loss is what /readyz tells: all but the last were accepted, in order.
    kept = [event["messageId"] for event in server.events()]
    assert kept == sent[:-1]
    assert sum(path.stat().st_size for path in server.data_dir.glob("events/*/*.ndjson")) <= 2**20
    assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=E&mid=late&p.a={'x' * 7000}"))
    assert [event["messageId"] for event in server.events()] == kept

    server.restart(PIXELCORE_JOURNAL_MAX_BYTES="8MiB")
    assert "lost" in server.log()
    assert ask(server, "/readyz").status == 200
    assert_pixel(ask(server, GOOD + "&mid=after"))
    assert [event["messageId"] for event in server.events()] == [*kept, "after"]


def test_room_makes_ready_again(serve: Serve) -> None:
    """Where the journals shrink, as when they are shipped, the running server takes note."""
    server = serve({"PIXELCORE_JOURNAL_MAX_BYTES": "3MiB"})
    old = server.data_dir / "events" / "00000000-0000-7000-8000-000000000000" / f"{0:020}.ndjson"
    old.parent.mkdir()
    old.write_bytes((b"{" + b" " * 1021 + b"}\n") * 3072)
    wait_for(lambda: ask(server, GOOD).status == 200 and ask(server, "/readyz").status == 503)
    old.unlink()
    wait_for(lambda: ask(server, "/readyz").status == 200)


def test_fsync_always_answers_and_records(serve: Serve, token: str) -> None:
    server = serve({"PIXELCORE_FSYNC": "always"})
    for number in range(20):
        assert_pixel(ask(server, GOOD + f"&mid={token}{number}"))
        assert len(records(server, f"{token}{number}")[0]) == 1
    assert server.terminate() == 0
    assert "ERROR" not in server.log()


@pytest.mark.parametrize("start_method", get_args(StartMethod))
@pytest.mark.parametrize(("command", "workers"), COMMANDS)
def test_workers_go_when_their_server_is_killed(
    serve: Serve, command: Command, workers: int, start_method: StartMethod
) -> None:
    """Otherwise they would keep the port, with old settings."""
    server = serve(command=command, workers=workers, start_method=start_method)
    # The health check is answered by the first worker that is up.
    wait_for(lambda: all(f"Started worker-{number + 1}" in server.log() for number in range(workers)))
    kill_server(server, workers)


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
def test_workers_that_are_still_starting_go_with_their_server(serve: Serve, command: Command) -> None:
    """When they first look for their parent, it may be gone already."""
    kill_server(serve(command=command, workers=4), 4)


def kill_server(server: Server, workers: int) -> None:
    """SIGKILL for the main process alone; the workers have to notice."""
    wait_for(lambda: len(server.workers()) == workers)
    pids = server.workers()
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, pids)))


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_an_idle_server_leaves_nothing(serve: Serve) -> None:
    server = serve()
    assert server.terminate() == 0
    assert [path for path in Path(server.data_dir).rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
def test_the_data_directory_is_the_owners(serve: Serve, command: Command) -> None:
    """Addresses and ids of people are in it."""
    server = serve(command=command)
    assert server.get("/v1/pixel/page?wk=k").is_pixel
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
