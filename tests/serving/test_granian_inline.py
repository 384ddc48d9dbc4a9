"""Requests are answered inline, in Granian's thread, and through the event loop as a fallback."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
from pixelcore.serving import scheduling

from tests.support.metrics import Scrape, with_metrics
from tests.support.paths import ROOT
from tests.support.reporting_app import RENAMED_MAKER, THREAD, VARIANTS
from tests.support.servers import Serve, Server
from tests.support.waiting import wait_for
from tests.support.wire import GOOD, UPGRADE, ask, assert_pixel, raw, records, send

RUNTIME, LOOP = "runtime", "loop"
# From CPython 3.12 on Granian takes asyncio's tasks, whatever it is told.
OWN_TASKS = LOOP if sys.version_info < (3, 12) else RUNTIME
ALWAYS = {"PIXELCORE_FSYNC": "always"}

WAYS: list[tuple[str, tuple[str, ...], dict[str, str], str, str]] = [
    # name, Granian's flags, settings, the thread that answers in the end, what the log says once
    ("Granian's defaults", (), {}, RUNTIME, ""),
    ("uvloop", ("--loop", "uvloop"), {}, RUNTIME, ""),
    ("asyncio's loop", ("--loop", "asyncio"), {}, RUNTIME, ""),
    ("a runtime of several threads", ("--runtime-mode", "mt", "--runtime-threads", "2"), {}, RUNTIME, ""),
    ("answers that wait for a flush", (), ALWAYS, RUNTIME, ""),
    ("switched off", (), {"PIXELCORE_INLINE": "off"}, LOOP, ""),
    ("switched off, and answers that wait", (), {"PIXELCORE_INLINE": "off", **ALWAYS}, LOOP, ""),
    ("an access log", ("--access-log",), {}, LOOP, "something is between it and the handler"),
    ("Granian's own tasks", ("--task-impl", "rust"), {}, OWN_TASKS, ""),
    (RENAMED_MAKER, (), {"OTHER_GRANIAN": RENAMED_MAKER}, LOOP, "makes its scheduler in another way"),
    *((name, (), {"OTHER_GRANIAN": name}, LOOP, "is not as expected") for name in VARIANTS),
    *(
        (f"{name}, and answers that wait", (), {"OTHER_GRANIAN": name, **ALWAYS}, LOOP, "is not as expected")
        for name in list(VARIANTS)[:1]
    ),
]


@pytest.fixture(params=WAYS, ids=[name for name, *_ in WAYS])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, str, str]]:
    """A server, which thread is to answer, and what the log says of it."""
    _, flags, settings, thread, told = request.param
    settings = {"PYTHONPATH": str(ROOT), **settings}
    server = Server(tmp_path, settings, command="granian", app="tests.support.reporting_app:app", flags=flags)
    server.start()
    yield server, thread, told
    server.kill()
    print(server.log()[-5000:])


def test_the_thread_and_the_receipts(way: tuple[Server, str, str], token: str) -> None:
    """In any thread, each GIF is a receipt, also for concurrent requests, and for the first ones."""
    server, thread, told = way
    begin = threading.Barrier(8)

    def some(client: int) -> list[str]:
        begin.wait()
        mids = [f"{token}-{client}-{number}" for number in range(25)]
        for mid in mids:
            assert_pixel(ask(server, f"{GOOD}&mid={mid}"))
        return mids

    with ThreadPoolExecutor(8) as clients:
        answered = [mid for mids in clients.map(some, range(8)) for mid in mids]
    assert sorted(event["messageId"] for event in server.events()) == sorted(answered)
    assert ask(server, THREAD).body.decode() == thread
    assert_pixel(ask(server, f"/v1/pixel/track?e=E&mid={token}"))
    assert [record["reason"] for record in records(server, token)[1]] == ["missing_key"]
    assert ask(server, "/v1/pixel/track", method="OPTIONS").status == 204
    assert ask(server, "/nowhere").status == 404
    assert ask(server, "/readyz").status == 200
    assert server.terminate() == 0
    lines = [line for line in server.log().splitlines() if "in the event loop" in line]
    assert len(lines) == bool(told), "it is said once"
    assert all(told in line and f"Granian {version('granian')}" in line for line in lines)
    assert "Traceback" not in server.log()
    assert "never awaited" not in server.log()


def test_a_websocket_is_refused(way: tuple[Server, str, str]) -> None:
    """Granian says so of a handler that fails, too; that the application does is in ``tests/quick/test_serving.py``."""
    server, *_ = way
    reply = send(server, raw(b"/v1/pixel/track?wk=dk_1&e=E", UPGRADE))
    assert reply is not None
    assert reply.status == 403
    assert_pixel(ask(server, GOOD))


@pytest.mark.parametrize(("inline", "expected"), [("auto", 2), ("off", 0)])
def test_a_metric_says_which_way_requests_go(serve: Serve, inline: str, expected: int) -> None:
    port, settings = with_metrics(PIXELCORE_INLINE=inline)
    serve(settings, workers=2)

    def counted() -> tuple[float, float]:
        scrape = Scrape(port)
        return scrape.of("workers"), scrape.of("inline_workers")

    wait_for(lambda: counted() == (2, expected))


def slices(worker: int) -> dict[str, int]:
    """The slice of each of a process's threads, in nanoseconds, by the thread's number."""
    found = {}
    for task in Path(f"/proc/{worker}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread may end meanwhile
            if (line := re.search(r"^se\.slice\s*:\s*(\d+)$", (task / "sched").read_text(), re.MULTILINE)) is not None:
                found[task.name] = int(line[1])
    return found


@pytest.mark.parametrize("inline", ["auto", "off"])
def test_the_thread_that_answers_has_short_turns(serve: Serve, inline: str) -> None:
    """Linux 6.12 and later heed it; earlier ones show no slice, or one that is the same for all."""
    server = serve({"PIXELCORE_INLINE": inline})
    (worker,) = server.workers()
    assert_pixel(ask(server, GOOD))
    short = [thread for thread, length in slices(worker).items() if length == scheduling.SLICE_NS]
    heeds = tuple(map(int, platform.release().split(".")[:2])) >= (6, 12)
    assert len(short) == (1 if inline == "auto" and heeds else 0)
    assert "scheduling slice" not in server.log()


def test_a_kernel_that_refuses_short_turns(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(scheduling, "set_slice", refuse)
    scheduling.take_short_turns()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "answers take more CPU, because this process may not set its scheduling slice: Operation not permitted;"
        " under systemd, SystemCallFilter= must allow sched_setattr"
    )
