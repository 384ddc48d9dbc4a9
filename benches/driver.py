"""The load driver: some keep-alive connections, one request in flight on each, as fast as the server answers.

A process of its own, because its CPU time must not count as the server's and the two must not share a GIL or a core.
Requests are bytes made before the clock starts. Every answer is checked for its status and for the GIF at its end;
more would cost more than the request.

    python -m benches.driver --port 8000 --requests 50000
    python -m benches.driver --port 8000 --requests 50000 --rate 5000    on a schedule, and how late the answers were
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import time
from collections import deque
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Final

from benches.peers.bare import GIF
from benches.queries import KEY

PEOPLE: Final = 512
"""Different requests, so that nothing can learn one by heart, and Kafka's keys fall into all partitions."""

CHROME: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)

HEADERS: Final = (
    "Host: data.example.com",
    "Connection: keep-alive",
    f"User-Agent: {CHROME}",
    "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.7",
    "Referer: https://shop.example/checkout/thanks",
    'sec-ch-ua: "Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    "Sec-Fetch-Dest: image",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Site: cross-site",
)
"""What a browser sends with an image of another site."""


@dataclass(frozen=True)
class Load:
    """What a round was: ``cpu`` is the driver's own, to see whether it was the bottleneck.

    ``latency`` is seconds from when a request was sent to its answer, or from when it was due if the server kept it
    from being sent; ``lag`` seconds from when it was due to when it was sent. Both are empty where nobody wants to know.
    """

    answered: int
    seconds: float
    cpu: float
    latency: list[float]
    lag: list[float]


def target(person: int) -> str:
    """The email example without ``mid`` and ``ts``, as mails have it: the gateway makes a UUIDv7, reads its clock."""
    return (
        f"/v1/pixel/track?{KEY}&e=Email+Opened&uid=user_{person:05}&p.campaign_id=camp_001"
        f"&p.email_subject=February+Newsletter&cb={1_740_493_800 + person}"
    )


def request(person: int, mid: str = "") -> bytes:
    """One request as it goes over the wire."""
    return "\r\n".join((f"GET {target(person)}{mid and f'&mid={mid}'} HTTP/1.1", *HEADERS, "", "")).encode()


class Connections:
    """Keep-alive connections that each wait for one answer at a time; ``awake`` ones without ever sleeping."""

    def __init__(self, port: int, count: int, gif: bytes = GIF, awake: bool = False) -> None:
        self.gif = gif
        self.awake = awake
        self.sockets: dict[int, socket.socket] = {}
        self.partial: dict[int, bytes] = {}
        self.poller = select.epoll()
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[connection.fileno()] = connection
            self.partial[connection.fileno()] = b""
            self.poller.register(connection.fileno(), select.EPOLLIN)

    def ready(self, seconds: float) -> bool:
        """Wait so long at most, to the microsecond, for a part of an answer; epoll's own timeout is milliseconds."""
        return bool(select.select([self.poller], [], [], max(0.0, seconds))[0])

    def answered(self, patience: float) -> list[socket.socket]:
        """The connections whose answer is complete now; waits for at least a part of one."""
        deadline = time.monotonic() + patience
        while not (ready := self.poller.poll(0 if self.awake else patience)):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no answer for {patience} s")
        done = []
        for number, _ in ready:
            connection = self.sockets[number]
            received = connection.recv(65536)
            if not received:
                raise ConnectionError("the server closed a connection")
            answer = self.partial[number] + received
            if not answer.endswith(self.gif):
                self.partial[number] = answer
                continue
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"not an answer: {answer[:200]!r}")
            self.partial[number] = b""
            done.append(connection)
        return done

    def close(self) -> None:
        """Close all of them."""
        self.poller.close()
        for connection in self.sockets.values():
            connection.close()


def drive(pool: Connections, count: int, in_flight: int = 0, timed: bool = False, patience: float = 30.0) -> Load:
    """Send ``count`` requests and wait for all answers. Raises when one is wrong or late.

    With ``in_flight`` so many connections at a time wait for an answer, all of them in turn; without it, or with more than
    there are, all do.
    """
    requests = [request(person) for person in range(PEOPLE)]
    sent_at: dict[int, float] = {}
    latency: list[float] = []
    free = deque(pool.sockets.values())
    at_once = min(in_flight or len(free), len(free))
    began, cpu_began = time.monotonic(), time.process_time()
    sent = answered = 0
    while answered < count:
        for _ in range(min(at_once - (sent - answered), count - sent)):
            connection = free.popleft()
            if timed:
                sent_at[connection.fileno()] = time.monotonic()
            connection.sendall(requests[sent % PEOPLE])
            sent += 1
        done = pool.answered(patience)
        answered += len(done)
        free += done
        if timed:
            now = time.monotonic()
            latency += [now - sent_at[connection.fileno()] for connection in done]
    return Load(answered, time.monotonic() - began, time.process_time() - cpu_began, latency, [])


def drive_at(pool: Connections, count: int, rate: float, stamped: bool, patience: float = 30.0) -> Load:
    """The same on a schedule of ``rate`` requests a second, which no late answer holds up.

    A request that finds no free connection waits for one, and its clock runs from when it was due: a stall of the server
    counts for all requests that fell into it. If only the driver was late, its clock runs from when it was sent.
    ``stamped`` gives each the time when it was due, in nanoseconds of the monotonic clock, as its ``mid``.
    """
    requests = [request(person) for person in range(PEOPLE)]
    load = Load(count, 0.0, 0.0, [], [])
    since: dict[int, float] = {}
    held_up = False
    free = deque(pool.sockets.values())
    began, cpu_began = time.monotonic(), time.process_time()
    sent = 0
    while len(load.latency) < count:
        while free and sent < count and (due := began + sent / rate) <= (now := time.monotonic()):
            connection = free.popleft()
            since[connection.fileno()] = due if held_up else now
            connection.sendall(request(sent, str(int(due * 1e9))) if stamped else requests[sent % PEOPLE])
            load.lag.append(now - due)
            sent += 1
        held_up = not free
        waits_for_answer = held_up or sent == count
        if not pool.ready(patience if waits_for_answer else began + sent / rate - time.monotonic()):
            if waits_for_answer:
                raise TimeoutError(f"no answer for {patience} s")
            continue
        for connection in pool.answered(patience):
            load.latency.append(time.monotonic() - since.pop(connection.fileno()))
            free.append(connection)
    return Load(count, time.monotonic() - began, time.process_time() - cpu_began, load.latency, load.lag)


def hold(hold: bool) -> None:
    """Let whoever started this process look at the server before it goes on."""
    if hold:
        print("holding", flush=True)
        sys.stdin.readline()


def main() -> int:
    """Drive the server that the command line names and print what happened as JSON."""
    parser = argparse.ArgumentParser(description="Send pixel requests over keep-alive connections.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--in-flight", type=int, default=0, help="connections that wait at a time; default: all")
    parser.add_argument("--rate", type=float, help="requests a second, on a schedule; default: as answers come")
    parser.add_argument("--timed", action="store_true", help="without --rate: how long each answer took")
    parser.add_argument("--stamped", action="store_true", help="with --rate: mid is the time when a request was due")
    parser.add_argument("--core", type=int, help="the CPU core to stay on")
    parser.add_argument(
        "--hold", action="store_true", help="wait for a line on stdin once connected, and before leaving"
    )
    parser.add_argument("--awake", action="store_true", help="without --rate: wait for answers without sleeping")
    parser.add_argument("--gif", type=bytes.fromhex, default=GIF, help="what answers end with, in hexadecimal")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    count = arguments.requests
    connections = min(arguments.connections, count)
    with closing(Connections(arguments.port, connections, arguments.gif, arguments.awake)) as pool:
        hold(arguments.hold)
        if arguments.rate:
            load = drive_at(pool, count, arguments.rate, arguments.stamped)
        else:
            load = drive(pool, count, arguments.in_flight, arguments.timed)
        print(json.dumps(asdict(load)), flush=True)
        hold(arguments.hold)
    return 0


if __name__ == "__main__":
    sys.exit(main())
