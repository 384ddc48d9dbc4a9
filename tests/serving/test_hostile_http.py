"""Slow, numerous, greedy or broken clients: good requests are answered all the time, in bounded memory."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.servers import PATIENCE, Server
from tests.support.waiting import wait_for
from tests.support.wire import GOOD, ask, assert_pixel, raw, send

IDLE = 10_000
# Of connections that are closed, the allocator keeps a part; what is meant is that nothing grows with every one.
SPARE_BYTES = 48 << 20
BYTES_A_CONNECTION = 24 << 10

# What a client says before it falls silent. Their connections are open from the first test to the last.
SILENT = (b"", b"G", b"P", b"PRI * HTTP/2.0\r\n\r\nSM", raw(GOOD.encode())[:-2], raw(GOOD.encode()))
_silent: list[socket.socket] = []


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server, and this process, that may have so many connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    shared = Server(tmp_path_factory.mktemp("hostile"))
    shared.start()
    with contextlib.ExitStack() as stack:
        for said in SILENT:
            silent = stack.enter_context(connect(shared))
            silent.sendall(said)
            _silent.append(silent)
        yield shared
    shared.kill()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def worker(gateway: Server) -> psutil.Process:
    (pid,) = gateway.workers()
    return psutil.Process(pid)


def connect(gateway: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)


def test_idle_connections(gateway: Server) -> None:
    process = worker(gateway)
    files, memory = process.num_fds(), process.memory_info().rss
    most = 0
    with contextlib.ExitStack() as stack:
        for number in range(IDLE):
            stack.enter_context(connect(gateway))
            if number % 100 == 0:
                most = max(most, process.num_fds() - files)
            if number % 1000 == 0:
                assert_pixel(ask(gateway, GOOD))
        # One that is idle for five seconds is closed, so they are not all there at once.
        assert most > 100, "connections were taken"
        grown = process.memory_info().rss - memory
        assert grown < IDLE * BYTES_A_CONNECTION, f"{grown / IDLE:.0f} bytes a connection"
        for _ in range(20):
            assert_pixel(ask(gateway, GOOD))
    wait_for(lambda: process.num_fds() < files + 50, 60, "descriptors come back")
    assert process.memory_info().rss - memory < SPARE_BYTES + IDLE * BYTES_A_CONNECTION // 2


def test_slow_headers(gateway: Server) -> None:
    """Slowloris: headers that never end. Such a connection may be closed meanwhile, after a few seconds."""
    process = worker(gateway)
    files = process.num_fds()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(gateway)) for _ in range(500)]
        for byte in raw(GOOD.encode())[:-1]:
            for connection in slow:
                with contextlib.suppress(ConnectionError):
                    connection.send(bytes([byte]))
            assert_pixel(ask(gateway, GOOD))
    wait_for(lambda: process.num_fds() < files + 50, 60, "descriptors come back")


def test_pipelining(gateway: Server) -> None:
    """Requests that do not wait for answers get them in order, and so come the events."""
    count = 300
    with connect(gateway) as connection:
        connection.sendall(b"".join(raw(f"{GOOD}&mid=pipelined-{number}".encode()) for number in range(count)))
        received = b""
        while received.count(b"GIF89a") < count:
            more = connection.recv(1 << 16)
            assert more, f"{received.count(b'GIF89a')} answers"
            received += more
    found = [event["messageId"] for event in gateway.events() if event["messageId"].startswith("pipelined-")]
    assert found == [f"pipelined-{number}" for number in range(count)]


def test_half_closed(gateway: Server, token: str) -> None:
    """A client that says at once that it will send nothing more is answered, or hears nothing: its event is there."""
    with connect(gateway) as connection:
        connection.sendall(raw(f"{GOOD}&mid={token}".encode()))
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received == b"" or b"GIF89a" in received
    if received:
        assert [event["messageId"] for event in gateway.events()].count(token) == 1
    for _ in range(200):  # and those that hang up in the middle
        with connect(gateway) as connection:
            connection.sendall(raw(GOOD.encode())[:-5])
    assert_pixel(ask(gateway, GOOD))


GREEDY: list[tuple[str, bytes]] = [
    ("a 64 kB query", raw(GOOD.encode() + b"&p.a=" + b"x" * 64_000)),
    ("64 kB of names", raw(GOOD.encode() + b"".join(b"&p.%d" % number for number in range(9000)))),
    ("64 kB of dots", raw(GOOD.encode() + b"&p" + b"." * 64_000)),
    ("a 100 kB header", raw(GOOD.encode(), b"Referer: " + b"x" * 100_000 + b"\r\n")),
    ("a thousand headers", raw(GOOD.encode(), b"".join(b"X-%d: a\r\n" % number for number in range(1000)))),
    ("64 kB of cookies", raw(GOOD.encode(), b"".join(b"Cookie: %s\r\n" % (b"c" * 640) for _ in range(99)))),
    ("a body that nobody reads", raw(GOOD.encode(), b"Content-Length: 1000000\r\n") + b"x" * 100_000),
    (
        "a body in chunks",
        raw(GOOD.encode(), b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n" * 1000 + b"0\r\n\r\n",
    ),
    ("asking first", raw(GOOD.encode(), b"Expect: 100-continue\r\nContent-Length: 10\r\n")),
    ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
    ("a TLS hello", bytes.fromhex("1603010200010001fc0303") + bytes(100)),
    ("NULs", bytes(10_000)),
]


@pytest.mark.parametrize("request_bytes", [pytest.param(row[1], id=row[0]) for row in GREEDY])
def test_greedy_requests(gateway: Server, request_bytes: bytes) -> None:
    process = worker(gateway)
    for _ in range(20):
        send(gateway, request_bytes)
    memory = process.memory_info().rss
    for _ in range(100):
        with contextlib.suppress(OSError, http.client.HTTPException):
            send(gateway, request_bytes)
    assert_pixel(ask(gateway, GOOD))
    assert process.memory_info().rss - memory < SPARE_BYTES
    assert worker(gateway).pid == process.pid
    assert "Traceback" not in gateway.log()


BROWSERS = raw(
    (GOOD + "&uid=u&p.a.b=1&ts=1740493800000").encode(),
    b"User-Agent: Mozilla/5.0\r\nReferer: https://shop.example/\r\nAccept-Language: de,en;q=0.5\r\n"
    b"Accept: image/avif,image/webp,*/*\r\nSec-GPC: 1\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: keep-alive\r\n",
)
SEEDS = (
    BROWSERS,
    raw(b"/v1/pixel/page.gif?wk=k", b"Content-Length: 3\r\n") + b"abc",
    raw(b"/v1/pixel/identify/?wk=k", b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n",
    raw(b"http://localhost" + GOOD.encode(), b"", b"HEAD") + BROWSERS,
)
TOKENS = st.sampled_from(
    [b"\r\n", b"\n", b":", b" ", b"\0", b"%", b"?", b"/", b"HTTP/1.1", b"GET ", b"Content-Length: 9\r\n", b"\xff"]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A whole exchange of a client's with some of its bytes taken, doubled or replaced."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 1, 1, 2, 8)))
        data[at : at + length] = draw(TOKENS | st.binary(max_size=3) | st.just(bytes(data[at : at + 20])))
    return bytes(data)


@settings(max_examples=400)
@given(exchanges=st.lists(mutated(), min_size=1, max_size=3))
def test_mutated_exchanges(gateway: Server, exchanges: list[bytes]) -> None:
    """After any bytes on the connection, the next request gets its GIF from the same worker."""
    process = worker(gateway)
    for exchange in exchanges:
        with connect(gateway) as connection, contextlib.suppress(OSError):
            connection.sendall(exchange)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.3)
            while connection.recv(1 << 16):
                pass
    assert_pixel(ask(gateway, GOOD))
    assert worker(gateway).pid == process.pid


def test_silent_connections_are_closed(gateway: Server) -> None:
    """After the 30 s that a head may take. So they cannot add up, whatever they began with."""
    for silent in _silent:
        silent.settimeout(PATIENCE)  # which raises
        with contextlib.suppress(ConnectionError):
            while silent.recv(1 << 16):
                pass
    assert ask(gateway, "/healthz").status == 200


def test_what_they_left(gateway: Server) -> None:
    """After all of the above: whole lines, one worker, ready, and nothing in the log that an attacker could fill it with."""
    assert gateway.events()
    assert ask(gateway, "/readyz").status == 200
    assert "Traceback" not in gateway.log()
    assert len(gateway.log()) < 20_000
