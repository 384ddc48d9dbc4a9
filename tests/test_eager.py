"""Requests are answered in the thread that Granian hands them over in, and through the event loop where that cannot be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Server
from tests.telling_apps import THREAD
from tests.wire import GOOD, UPGRADE, ask, assert_pixel, raw, records, send

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, LOOP = "runtime", "loop"

WAYS: list[tuple[str, tuple[str, ...], dict[str, str], str, str]] = [
    ("Granian's defaults", (), {}, RUNTIME, ""),
    ("uvloop", ("--loop", "uvloop"), {}, RUNTIME, ""),
    ("asyncio's loop", ("--loop", "asyncio"), {}, RUNTIME, ""),
    ("a runtime of several threads", ("--runtime-mode", "mt", "--runtime-threads", "2"), {}, RUNTIME, ""),
    ("answers that wait for a flush", (), {"PIXELCORE_FSYNC": "always"}, RUNTIME, ""),
    ("an access log", ("--access-log",), {}, LOOP, "something stands between Granian and the handler"),
    ("Granian's own tasks", ("--task-impl", "rust"), {}, LOOP, ""),
    ("another Granian", (), {"OTHER_GRANIAN": "1"}, LOOP, "this Granian is made otherwise"),
    ("the same, and answers that wait", (), {"OTHER_GRANIAN": "1", "PIXELCORE_FSYNC": "always"}, LOOP, "otherwise"),
]


@pytest.fixture(params=WAYS, ids=[name for name, *_ in WAYS])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, str, str]]:
    """A server, which thread is to answer, and what the log says of it."""
    _, flags, settings, thread, told = request.param
    settings = {"PYTHONPATH": str(ROOT), **settings}
    server = Server(tmp_path, settings, command="granian", app="tests.telling_apps:app", flags=flags)
    server.start()
    yield server, thread, told
    server.kill()
    print(server.log()[-5000:])


def test_the_thread_and_the_receipts(way: tuple[Server, str, str], token: str) -> None:
    """Whoever answers, each GIF is a receipt, also for requests that come at once."""
    server, thread, told = way
    assert ask(server, THREAD).body.decode() == thread
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
    assert_pixel(ask(server, f"/v1/pixel/track?e=E&mid={token}"))
    assert [record["reason"] for record in records(server, token)[1]] == ["missing_key"]
    assert ask(server, "/v1/pixel/track", method="OPTIONS").status == 204
    assert ask(server, "/nowhere").status == 404
    assert server.terminate() == 0
    assert told in server.log()
    assert ("through the event loop" in server.log()) == bool(told)
    assert "Traceback" not in server.log()
    assert "never awaited" not in server.log()


def test_a_websocket_is_refused(way: tuple[Server, str, str]) -> None:
    server, *_ = way
    reply = send(server, raw(b"/v1/pixel/track?wk=dk_1&e=E", UPGRADE))
    assert reply is not None
    assert reply.status == 403
    assert_pixel(ask(server, GOOD))
