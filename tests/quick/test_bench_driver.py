"""The benches' load driver keeps to the load that it is told."""

from __future__ import annotations

import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from benches.driver import Connections, drive
from benches.peers.bare import GIF


class Counting(socketserver.ThreadingTCPServer):
    """Answers the GIF when so many have asked, and counts who asked, and how many did at once."""

    daemon_threads = True
    gif = GIF

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: Counter[int] = Counter()
        self.waiting = 0
        self.most = 0
        self.expected = threading.Barrier(1)


class Handler(socketserver.StreamRequestHandler):
    server: Counting

    def handle(self) -> None:
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            with self.server.lock:
                self.server.asked[self.client_address[1]] += 1
                self.server.waiting += 1
                self.server.most = max(self.server.most, self.server.waiting)
            self.server.expected.wait(60)
            time.sleep(0.02)  # for more than that
            with self.server.lock:
                self.server.waiting -= 1
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + self.server.gif)


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as counting:
        threading.Thread(target=counting.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield counting
        counting.shutdown()


@pytest.mark.parametrize("awake", [False, True])
@pytest.mark.parametrize(("in_flight", "at_once"), [(0, 6), (2, 2), (6, 6), (7, 6)])
def test_so_many_are_in_flight_and_all_have_their_turn(
    server: Counting, in_flight: int, at_once: int, awake: bool
) -> None:
    server.expected = threading.Barrier(at_once)
    with closing(Connections(server.server_address[1], 6, awake=awake)) as pool:
        assert drive(pool, 18, in_flight, timed=True).answered == 18
    assert server.most == at_once
    assert len(server.asked) == 6
    assert sum(server.asked.values()) == 18


@pytest.mark.parametrize("awake", [False, True])
def test_an_answer_that_does_not_come_is_an_error(server: Counting, awake: bool) -> None:
    server.gif = b"no GIF"
    with closing(Connections(server.server_address[1], 1, awake=awake)) as pool, pytest.raises(TimeoutError):
        drive(pool, 1, patience=0.2)
