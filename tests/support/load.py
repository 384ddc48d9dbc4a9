"""A load generator: keep-alive HTTP/1.1 connections that remember which requests were answered with the whole pixel."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping

from typing_extensions import Self

from tests.support.servers import is_gif

REQUEST_SECONDS = 30
"""The patience for a connection, and for an answer."""


class Load:
    """``rate`` requests a second with ``key`` over ``connections`` connections, from `start` to `stop` or ``seconds`` later.

    No request is repeated. After an error, a new connection is made, and the next request has its own messageId.
    The outcome of a request without an answer is open: ``sent`` has its messageId, ``answered`` does not.
    """

    def __init__(
        self, port: int, *, rate: float = 300, connections: int = 6, seconds: float = 600, key: str = "dk_test_load"
    ) -> None:
        self.port = port
        self.rate = rate
        self.connections = connections
        self.seconds = seconds
        self.key = key
        self.requests_per_connection = 0  # no limit
        self.sent: set[str] = set()
        self.answered: set[str] = set()
        self.failures: Counter[str] = Counter()
        self._run = uuid.uuid4().hex[:8]
        self._numbers = itertools.count()
        self._streams = itertools.count()
        self._stopping = threading.Event()
        self._pausing = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="load", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start to send, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Wait until the current requests have ended."""
        self._stopping.set()
        self._thread.join(3 * REQUEST_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError("the load generator did not stop")

    def pause(self) -> None:
        """Send nothing until `resume`; connections stay."""
        self._pausing.set()

    def resume(self) -> None:
        """Go on at the same rate."""
        self._pausing.clear()

    def wait(self, answers: int, timeout: float = 60) -> None:
        """Return after ``answers`` further requests were answered."""
        wanted = len(self.answered) + answers
        deadline = time.monotonic() + timeout
        while len(self.answered) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.answered)} of {wanted} answers, failures: {dict(self.failures)}")
            time.sleep(0.02)

    async def _main(self) -> None:
        deadline = time.monotonic() + self.seconds
        await asyncio.gather(*(self._connection(index, deadline) for index in range(self.connections)))

    async def _connection(self, index: int, deadline: float) -> None:
        interval = self.connections / self.rate
        due = time.monotonic() + interval * index / self.connections
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        number = requests = 0
        while not self._stopping.is_set() and (now := time.monotonic()) < deadline:
            await asyncio.sleep(max(0, due - now))
            if self._pausing.is_set():
                due = time.monotonic() + interval
                continue
            # After a pause of the server, the rate is the same as before. There is no burst to catch up.
            due = max(due, now - interval) + interval
            mid: str | None = None
            try:
                if stream is None:
                    stream = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), REQUEST_SECONDS)
                    number, requests = next(self._streams), 0
                mid = self._mid(next(self._numbers))
                self.sent.add(mid)
                headers = await asyncio.wait_for(self._request(mid, self._user(mid, number), *stream), REQUEST_SECONDS)
                self._note(mid, headers)
                requests += 1
                if requests == self.requests_per_connection or headers.get("connection") == "close":
                    stream[1].close()
                    stream = None
            except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
                # A refused connection carried no request. It is counted separately from broken ones.
                self.failures[f"{'connect' if mid is None else 'request'}: {type(error).__name__}: {error}"] += 1
                if stream is not None:
                    stream[1].close()
                    stream = None
                await asyncio.sleep(0.05)
        if stream is not None:
            stream[1].close()
            with contextlib.suppress(OSError):
                await stream[1].wait_closed()

    def _mid(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _user(self, mid: str, stream: int) -> str:  # noqa: ARG002
        return f"user_{hash(mid) % 50}"

    def _note(self, mid: str, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        self.answered.add(mid)

    async def _request(
        self, mid: str, user: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Mapping[str, str]:
        writer.write(
            f"GET /v1/pixel/track?wk={self.key}&e=Load&mid={mid}&uid={user} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nUser-Agent: load\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if not status.startswith("HTTP/1.1 200 ") or not is_gif(body):
            raise ValueError(status)
        return headers
