"""The address of ``pixelcore serve``: resolved by name, held by one gateway alone, and free again for the next."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.kafka.broker import free_port
from tests.support.processes import OWN_GROUP
from tests.support.servers import Serve, Server, clean_environment

TAKEN = "another server or gateway already listens there: stop it, or choose another port"


def start(data_dir: Path, *flags: str, **environment: str) -> subprocess.Popen[str]:
    """``pixelcore serve`` with nothing but these flags and variables."""
    return subprocess.Popen(
        [sys.executable, "-m", "pixelcore", "serve", "--data-dir", str(data_dir), *flags],
        env=clean_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **OWN_GROUP,
    )


@contextlib.contextmanager
def started(data_dir: Path, *flags: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with start(data_dir, *flags, **environment) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_it_answers(port: int, process: subprocess.Popen[str], host: str = "127.0.0.1") -> None:
    deadline = time.monotonic() + 60
    while not answers(port, host):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refusal(data_dir: Path, *flags: str, **environment: str) -> str:
    """The one line with which a start is refused."""
    process = start(data_dir, *flags, **environment)
    _, complaint = process.communicate(timeout=150)
    assert process.returncode == 1, complaint
    (line,) = complaint.splitlines()
    return line


OVERLAPPING: list[tuple[str, str, str]] = [
    # name, the address of the first, that of the second
    ("the very same", "127.0.0.1", "127.0.0.1"),
    ("all addresses, and one of them", "0.0.0.0", "127.0.0.1"),
    ("one, and all addresses", "127.0.0.1", "0.0.0.0"),
    ("all of IPv4, and all of both", "0.0.0.0", "[::]"),
    ("all of both, and one of IPv4", "[::]", "127.0.0.1"),
    ("a name", "127.0.0.1", "localhost"),
]


@pytest.mark.parametrize(("first", "second"), [pytest.param(*row[1:], id=row[0]) for row in OVERLAPPING])
def test_two_gateways_do_not_share_a_port(tmp_path: Path, first: str, second: str) -> None:
    """Without the hold they could: workers have ``SO_REUSEPORT``, and each gateway would get some of the requests."""
    port = free_port()
    with started(tmp_path / "first", "--bind", f"{first}:{port}") as process:
        wait_until_it_answers(port, process)
        line = refusal(tmp_path / "second", "--bind", f"{second}:{port}")
        shown = second.replace("localhost", "127.0.0.1")
        assert line == f"Error: PIXELCORE_BIND: {shown}:{port}: {TAKEN}"
        assert not (tmp_path / "second").exists(), "what is refused makes nothing"
        assert answers(port)


def test_a_port_is_refused_that_any_server_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(tmp_path / "data", "--bind", f"127.0.0.1:{port}").endswith(TAKEN)


def test_of_gateways_that_start_together_one_has_the_port(tmp_path: Path) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        starting = [
            stack.enter_context(started(tmp_path / str(number), "--bind", f"127.0.0.1:{port}")) for number in range(3)
        ]
        deadline = time.monotonic() + 60
        while len(left := [process for process in starting if process.poll() is None]) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (winner,) = left
        wait_until_it_answers(port, winner)
        for process in starting:
            if process is not winner:
                assert process.communicate()[1].strip().endswith(TAKEN)


def test_two_gateways_have_different_addresses_of_one_port(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path / "first", "--bind", f"127.0.0.1:{port}") as process:
        wait_until_it_answers(port, process)
        with started(tmp_path / "second", "--bind", f"127.0.0.2:{port}") as other:
            wait_until_it_answers(port, other, "127.0.0.2")


def be_hung_up_on(server: Server) -> None:
    """Let the server close a connection first, whose end then lingers in the kernel and occupies the port."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: connection.recv(4096), b"")).startswith(b"HTTP/1.1 200")


def test_a_gateway_starts_again_on_its_port(serve: Serve) -> None:
    server = serve(workers=2)
    be_hung_up_on(server)
    server.restart()
    be_hung_up_on(server)
    server.kill()
    server.start()


def test_a_gateway_starts_again_while_its_orphans_leave_the_port(serve: Serve) -> None:
    """Only the server was killed, and the workers notice within a second."""
    server = serve(workers=2)
    killed, server.process = server.process, None
    assert killed is not None
    killed.kill()
    killed.wait(60)
    try:
        server.start()
        deadline = time.monotonic() + 60
        while server.log().count("Started worker-2 runtime") < 2:
            assert server.process is not None
            assert server.process.poll() is None, server.log()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    assert answers(server.port)


def test_a_worker_that_died_comes_back_to_the_port(serve: Serve) -> None:
    server = serve()
    (first,) = server.workers()
    psutil.Process(first).kill()
    deadline = time.monotonic() + 60
    while not (server.workers() not in ([], [first]) and answers(server.port)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


PORTS: list[tuple[str, dict[str, str], tuple[str, ...]]] = [
    # name, environment, flags: where it says {port}, there it listens
    ("a platform's port", {"PORT": "{port}"}, ()),
    ("the setting", {"PIXELCORE_BIND": "127.0.0.1:{port}"}, ()),
    ("the setting goes before the platform", {"PIXELCORE_BIND": "127.0.0.1:{port}", "PORT": "1"}, ()),
    ("and what the platform says may be nonsense then", {"PIXELCORE_BIND": "127.0.0.1:{port}", "PORT": "tcp"}, ()),
    ("the flag goes before both", {"PIXELCORE_BIND": "127.0.0.1:1", "PORT": "1"}, ("--bind", "localhost:{port}")),
    ("an empty one is none", {"PORT": ""}, ("--bind", "localhost:{port}")),
]


@pytest.mark.parametrize(("environment", "flags"), [pytest.param(*row[1:], id=row[0]) for row in PORTS])
def test_where_it_listens(tmp_path: Path, environment: Mapping[str, str], flags: tuple[str, ...]) -> None:
    port = free_port()
    environment = {name: text.format(port=port) for name, text in environment.items()}
    with started(tmp_path, *(flag.format(port=port) for flag in flags), **environment) as process:
        wait_until_it_answers(port, process)


def test_the_number_of_workers_is_a_setting(tmp_path: Path) -> None:
    port = free_port()
    bind = f"127.0.0.1:{port}"
    with started(tmp_path, PIXELCORE_BIND=bind, PIXELCORE_WORKERS="2") as process:
        wait_until_it_answers(port, process)
        deadline = time.monotonic() + 60
        while len(psutil.Process(process.pid).children()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
