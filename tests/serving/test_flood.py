"""A flood of requests without a key: it is bounded on the disk and in the log, and does not harm good requests (contract, section 5)."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from pathlib import Path

from tests.support.load import Load
from tests.support.servers import GIF, PATIENCE, Serve

FLOOD = int(os.environ.get("PIXELCORE_TEST_FLOOD", "100000"))
BUDGET = 2 << 20
PIPELINED = 100
REQUESTS = b"GET /v1/pixel/track?e=Flood&uid=jane@example.com HTTP/1.1\r\nHost: localhost\r\n\r\n" * PIPELINED


def flood(port: int, requests: int) -> None:
    """Send requests in pipelines over one connection, and wait for the pixel of each."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        for _ in range(requests // PIPELINED):
            connection.sendall(REQUESTS)
            pixels, tail = 0, b""
            while pixels < PIPELINED:
                received = connection.recv(1 << 16)
                assert received, "the gateway closed the connection"
                tail += received
                pixels += tail.count(GIF[:6])
                tail = tail[-5:]


def sizes(directory: Path) -> dict[Path, int]:
    found = {}
    for path in directory.glob("[0-9a-f]*/*.ndjson"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_size
    return found


def used(directory: Path) -> int:
    """The bytes that were there at one moment, at least: files come, grow and go while they are looked at one by one."""
    before, after = sizes(directory), sizes(directory)
    return sum(size for path, size in before.items() if path in after)


def test_a_flood(serve: Serve) -> None:
    began = time.monotonic()
    server = serve({"PIXELCORE_REJECTED_MAX_BYTES": str(BUDGET)}, workers=2)
    floods = [threading.Thread(target=flood, args=(server.port, FLOOD // 4)) for _ in range(4)]
    with Load(server.port, rate=200) as load:
        load.wait(50)
        for thread in floods:
            thread.start()
        largest = 0
        while any(thread.is_alive() for thread in floods):
            largest = max(largest, used(server.data_dir / "rejections"))
            time.sleep(0.05)
        load.wait(50)
    assert not load.failures
    assert load.answered == {event["messageId"] for event in server.events()}
    # A sibling may go on with its segment, an eighth of the budget, while a worker makes room for its own.
    assert 0 < largest <= BUDGET * 9 // 8
    assert {record["reason"] for record in server.rejections()} == {"missing_key"}
    server.terminate()
    log = server.log()
    counted = sum(int(count) for count in re.findall(r"(\d+) missing_key", log))
    assert counted == FLOOD // 4 // PIPELINED * PIPELINED * 4, "each is counted"
    assert log.count("missing_key") <= 2 * (2 + (time.monotonic() - began) // 60), (
        "a flood is a line a minute for each worker"
    )
    assert "jane" not in log
