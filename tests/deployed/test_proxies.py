"""Two gateways behind the proxies of deploy/: a rolling restart breaks no image, a kill loses no event, and targets arrive unchanged."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.deployed.conftest import Report, version
from tests.deployed.proxies import haproxy
from tests.support.deployments import tool
from tests.support.load import Load
from tests.support.nginx import nginx
from tests.support.paths import ROOT
from tests.support.servers import Serve, Server
from tests.support.waiting import wait_for

IMAGES = 10_000
RATE = 400
HANDOVER = {"PIXELCORE_HANDOVER_SECONDS": "5", "PIXELCORE_TRUSTED_PROXIES": "loopback"}

Proxy = Callable[..., AbstractContextManager[int]]
PROXIES = [
    pytest.param(partial(nginx, workers=2), ("nginx", "-v"), id="nginx"),
    pytest.param(haproxy, ("haproxy", "-v"), id="haproxy"),
]


def events(servers: list[Server]) -> Counter[str]:
    return Counter(event["messageId"] for server in servers for event in server.events())


def is_ready(server: Server) -> bool:
    return server.get("/readyz").status == 200


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("proxy", "command"), PROXIES)
def test_a_rolling_restart_costs_no_image(
    proxy: Proxy, command: tuple[str, ...], tmp_path: Path, serve: Serve, report: Report
) -> None:
    """Each gateway when the last one's /readyz says 200, as deploy/README.md says, again and again."""
    servers = [serve(HANDOVER, workers=2), serve(HANDOVER, workers=2)]
    restarts = 0
    with proxy(tmp_path, *(server.port for server in servers)) as port:
        wait_for(lambda: listens(port))
        with Load(port, rate=RATE, connections=16, seconds=600) as load:
            load.wait(RATE)
            while len(load.answered) < IMAGES:
                server = servers[restarts % 2]
                server.restart()
                wait_for(partial(is_ready, server))
                restarts += 1
    found = events(servers)
    program_name = f"{version(tool(command[0], command[0]), *command[1:])}, {restarts} restarts"
    report(
        "a rolling restart",
        program_name,
        sent=len(load.sent),
        arrived=found.total(),
        lost=len(load.sent - load.answered),
    )
    assert not load.failures
    assert found == Counter(load.answered), "answered is journaled, once"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("proxy", "command"), PROXIES)
def test_a_kill_costs_no_event(
    proxy: Proxy, command: tuple[str, ...], tmp_path: Path, serve: Serve, report: Report
) -> None:
    """Some images break together with their gateway. Every answered request is an event, and no event is repeated."""
    servers = [serve(HANDOVER, workers=2), serve(HANDOVER, workers=2)]
    with proxy(tmp_path, *(server.port for server in servers)) as port:
        wait_for(lambda: listens(port))
        with Load(port, rate=RATE, connections=16, seconds=300) as load:
            for server in servers * 2:
                load.wait(RATE)
                server.kill()
                load.wait(RATE)
                server.start()
                wait_for(partial(is_ready, server))
            load.wait(RATE)
    found = events(servers)
    name = version(tool(command[0], command[0]), *command[1:])
    report("kill -9", name, sent=len(load.sent), arrived=found.total(), lost=len(load.answered - found.keys()))
    assert not found.keys() - load.sent
    assert found.total() == len(found), "repeated"


@pytest.mark.parametrize(("proxy", "command"), PROXIES)
def test_the_target_arrives_as_it_is_with_the_clients_address(
    proxy: Proxy, command: tuple[str, ...], tmp_path: Path, serve: Serve, report: Report
) -> None:
    """Bytes that a URL must not have, a query of 8 kB, and an address that only the proxy knows."""
    server = serve(HANDOVER)
    long = "x" * (8192 - len("wk=k&e=Long&p.a="))
    targets = [b"/v1/pixel/track?wk=k&amp;e=Caf\xc3\xa9&p.x=%2f%zz", f"/v1/pixel/track?wk=k&e=Long&p.a={long}".encode()]
    with proxy(tmp_path, server.port) as port:
        wait_for(lambda: listens(port))
        for target in targets:
            head = (
                b"Host: localhost\r\nX-Forwarded-For: 203.0.113.7\r\nForwarded: for=198.51.100.1\r\nConnection: close"
            )
            assert exchange(port, b"GET " + target + b" HTTP/1.1\r\n" + head + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        log = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    cafe, longest = sorted(server.events(), key=lambda event: str(event["event"]))
    assert (cafe["event"], cafe["properties"]["x"], cafe["context"]["ip"]) == ("Café", "/%zz", "203.0.113.7")
    assert longest["properties"]["a"] == long
    assert "xxx" not in log
    assert "Caf" not in log
    report(
        "bytes, 8 kB, address",
        version(tool(command[0], command[0]), *command[1:]),
        sent=2,
        arrived=len(server.events()),
        lost=0,
    )


RULE = re.search(r"^    http-request set-query .*\n", (ROOT / "docs" / "pixel-urls.md").read_text(), re.MULTILINE)
ENCODABLE = {b'"': '"', b"<": "<", b">": ">", b"\xfc": "\ufffd"}
"""What Granian refuses in a target and a proxy can encode, and its value."""
NEVER = (b" ", b"\t", b"\x01")


@pytest.mark.parametrize(
    ("proxy", "accepts"),
    [
        pytest.param(nginx, False, id="nginx"),
        pytest.param(haproxy, False, id="haproxy"),
        pytest.param(partial(haproxy, rule=RULE[0] if RULE else ""), True, id="haproxy with the rule"),
    ],
)
def test_what_becomes_of_targets_that_granian_refuses(
    proxy: Proxy, accepts: bool, tmp_path: Path, serve: Serve
) -> None:
    """The table of docs/pixel-urls.md. What is refused is in the proxy's log."""
    server = serve(HANDOVER)
    with proxy(tmp_path, server.port) as port:
        wait_for(lambda: listens(port))
        for raw in (*ENCODABLE, *NEVER):
            target = b"/v1/pixel/track?wk=k&e=Raw&p.a=%26%3D%2B%25+%zz" + raw + b"z"
            answer = exchange(port, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status = b"200" if accepts and raw in ENCODABLE else b"400"
            assert answer.startswith(b"HTTP/1.1 " + status), raw
        refused = len(NEVER) if accepts else len(ENCODABLE) + len(NEVER)
        logged = re.compile(r" 400 | PR--")
        wait_for(lambda: len(logged.findall("".join(path.read_text() for path in tmp_path.glob("*.log")))) == refused)
    values = [event["properties"]["a"] for event in server.events()]
    assert values == [f"&=+% %zz{value}z" for value in ENCODABLE.values() if accepts]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def exchange(port: int, request: bytes) -> bytes:
    """The answer to one request, to its end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def test_a_second_sigterm_changes_nothing(serve: Serve) -> None:
    """During its handover, a gateway announces the stop, answers, and closes each connection after its answer."""
    server = serve({"PIXELCORE_HANDOVER_SECONDS": "3"}, workers=2)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGTERM)
    wait_for(lambda: server.get("/readyz").status == 503)
    os.kill(server.process.pid, signal.SIGTERM)
    answer = server.get("/v1/pixel/track?wk=k&e=Late")
    assert (answer.is_pixel, answer.headers["connection"]) == (True, "close")
    assert server.get("/healthz").status == 200
    assert server.terminate() == 0
    assert [event["event"] for event in server.events()] == ["Late"]
