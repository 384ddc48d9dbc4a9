"""The live page's process: its access control, its messages, and the gateway's independence of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pixelcore
import psutil
import pytest
from pixelcore.inspect.feed import BURST, FEW, LINES_A_SECOND
from pixelcore.inspect.server import PAGES, TICK_SECONDS
from typing_extensions import Self

from tests.kafka.broker import free_port
from tests.support.live_page import page_url, with_page
from tests.support.servers import PATIENCE, Server, clean_environment
from tests.support.waiting import wait_for
from tests.support.wire import ask, assert_pixel


class StartPage(Protocol):
    """Start a gateway with a live page, or with other flags."""

    def __call__(
        self, *, flags: tuple[str, ...] = ("--inspect",), workers: int = 1, **settings: str
    ) -> tuple[Server, int]: ...


@pytest.fixture
def start_page(tmp_path: Path) -> Iterator[StartPage]:
    """A factory of a running gateway, and the port of its page; killed afterwards."""
    with contextlib.ExitStack() as stack:

        def start(*, flags: tuple[str, ...] = ("--inspect",), workers: int = 1, **settings: str) -> tuple[Server, int]:
            server, port = with_page(tmp_path, **settings)
            server.flags, server.workers_wanted = flags, workers
            stack.callback(server.kill)
            server.start()
            return server, port

        yield start


def token_of(server: Server) -> str:
    return page_url(server).partition("#token=")[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """One gateway for all tests that leave it as it was."""
    server, port = with_page(tmp_path_factory.mktemp("inspect"))
    server.start()
    yield server, port
    server.kill()
    print(f"--- output of {server.url}\n{server.log()[-5000:]}")


def request(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request, whose headers are named with ``_`` for ``-``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        # A body that is refused may be cut off by the answer.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


class Stream:
    """An open page, as its EventSource sees it."""

    def __init__(self, port: int, token: str, past: bool = True) -> None:
        self.port, self.token = port, token
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", f"/feed?token={token}" + ("" if past else "&past=no"))
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.getheader("content-type") == "text/event-stream"
        name, self.hello = self.next()
        assert name == "hello"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        self._connection.close()

    def next(self) -> tuple[str, Any]:
        """The next message: its name, and its JSON."""
        event, data, end = (self._answer.readline().decode() for _ in range(3))
        assert (event[:7], data[:6], end) == ("event: ", "data: ", "\n")
        return event[7:-1], json.loads(data[6:])

    def until(
        self, accepted: int, rejected: int = 0
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
        """Events and rejections until so many were counted, and the counts."""
        found: dict[str, list[dict[str, Any]]] = {"accepted": [], "rejected": [], "counts": []}
        while not found["counts"] or any(
            found["counts"][-1][kind] < wanted for kind, wanted in (("accepted", accepted), ("rejected", rejected))
        ):
            name, value = self.next()
            found[name].append(value)
        assert (found["counts"][-1]["accepted"], found["counts"][-1]["rejected"]) == (accepted, rejected)
        return found["accepted"], found["rejected"], found["counts"][-1]

    def want(self, contains: list[str], watched: list[str] = []) -> None:  # noqa: B006
        body = json.dumps({"stream": self.hello["stream"], "contains": contains, "watched": watched}).encode()
        assert request(self.port, "POST", "/want", body, Authorization=f"Bearer {self.token}")[0] == 204


def processes(server: Server) -> list[psutil.Process]:
    """The live page's."""
    assert server.process is not None
    return [child for child in psutil.Process(server.process.pid).children() if "pixelcore.inspect" in child.cmdline()]


def open_journals(process: psutil.Process) -> list[str]:
    return [file.path for file in process.open_files() if file.path.endswith(".ndjson")]


ALLOWED: list[tuple[str, str, str, dict[str, str], int]] = [
    # name, method, path, headers (TOKEN and PORT are filled in), status
    ("the page needs no token", "GET", "/", {}, 200),
    ("its script neither", "GET", "/app.js", {}, 200),
    ("nothing else is a file", "GET", "/../server.py", {}, 404),
    ("nothing else is a file, encoded", "GET", "/..%2fserver.py", {}, 404),
    ("the feed without a token", "GET", "/feed", {}, 401),
    ("the feed with another token", "GET", "/feed?token=guess", {}, 401),
    ("the feed with a token that is no ASCII", "GET", "/feed?token=%C3%A9", {}, 401),
    ("the lag without a token", "GET", "/lag", {}, 401),
    ("the lag with half a token", "GET", "/lag", {"Authorization": "Bearer HALF"}, 401),
    ("the lag", "GET", "/lag", {"Authorization": "Bearer TOKEN"}, 200),
    ("a token in the URL is for the feed only", "GET", "/lag?token=TOKEN", {}, 401),
    ("a URL without a token", "POST", "/url", {}, 401),
    ("a URL", "POST", "/url", {"Authorization": "Bearer TOKEN"}, 200),
    ("other lines without a token", "POST", "/want", {}, 401),
    ("other lines of no page", "POST", "/want", {"Authorization": "Bearer TOKEN"}, 400),
    ("another method", "DELETE", "/", {}, 501),
    ("the name localhost", "GET", "/", {"Host": "localhost:PORT"}, 200),
    ("the port of a tunnel", "GET", "/", {"Host": "localhost:1234"}, 200),
    ("IPv6's loopback", "GET", "/", {"Host": "[::1]:PORT"}, 200),
    ("another name for this address", "GET", "/", {"Host": "rebound.example.com:PORT"}, 403),
    ("a name that only begins like it", "GET", "/", {"Host": "127.0.0.1.example.com"}, 403),
    ("no name", "GET", "/", {"Host": ""}, 403),
    ("no name at all", "GET", "/", {"Host": "["}, 403),
    ("another name, with the token", "GET", "/lag", {"Host": "a.example", "Authorization": "Bearer TOKEN"}, 403),
    ("our own script", "POST", "/url", {"Origin": "http://127.0.0.1:PORT", "Authorization": "Bearer TOKEN"}, 200),
    ("another site's script", "POST", "/url", {"Origin": "http://a.example", "Authorization": "Bearer TOKEN"}, 403),
    ("another port's script", "POST", "/url", {"Origin": "http://127.0.0.1:1", "Authorization": "Bearer TOKEN"}, 403),
    ("a sandboxed script", "GET", "/lag", {"Origin": "null", "Authorization": "Bearer TOKEN"}, 403),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"), [pytest.param(*row[1:], id=row[0]) for row in ALLOWED]
)
def test_who_may_ask(page: tuple[Server, int], method: str, path: str, headers: dict[str, str], status: int) -> None:
    server, port = page
    token = token_of(server)
    filled = {
        name: value.replace("TOKEN", token).replace("HALF", token[:16]).replace("PORT", str(port))
        for name, value in {"Host": "127.0.0.1:PORT", **headers}.items()
    }
    body = json.dumps({"base": server.url, "type": "page", "key": "dk_1"}).encode() if method == "POST" else None
    answered, sent, _ = request(port, method, path.replace("TOKEN", token), body, **filled)
    assert answered == status
    if status != 501:
        assert "default-src 'none'; script-src 'self'" in sent["content-security-policy"]
        assert (sent["x-frame-options"], sent["referrer-policy"]) == ("DENY", "no-referrer")
        assert sent["cache-control"] == "no-store"


def test_bodies_that_are_none(page: tuple[Server, int]) -> None:
    server, port = page
    headers = {"Authorization": f"Bearer {token_of(server)}"}
    for body in (b"", b"{", b"[]", b'"x"', b"\xff", b'{"stream":[]}', b'{"stream":"","contains":1}'):
        assert request(port, "POST", "/want", body, **headers)[0] in (400, 404), body
    assert request(port, "POST", "/url", b"x" * 70_000, **headers)[0] == 413


def test_the_token_is_in_no_argument_and_no_variable(page: tuple[Server, int]) -> None:
    """Other users and programs can see command lines and environments, so these must not contain the token."""
    server, _ = page
    (process,) = processes(server)
    assert len(token_of(server)) >= 32
    for shown in (*process.cmdline(), *process.environ().values()):
        assert token_of(server) not in shown


def test_each_start_has_a_token_of_its_own(start_page: StartPage) -> None:
    server, port = start_page()
    first = token_of(server)
    server.restart()
    second = token_of(server)
    assert first != second
    assert request(port, "GET", "/lag", Authorization=f"Bearer {first}")[0] == 401
    assert request(port, "GET", "/lag", Authorization=f"Bearer {second}")[0] == 200


def serve_and_fail(tmp_path: Path, address: str, *flags: str) -> list[str]:
    """The output of a server that does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "pixelcore", "serve", "--bind", f"127.0.0.1:{free_port()}", *flags],
        env=clean_environment({"PIXELCORE_INSPECT_ADDRESS": address}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    return ended.stderr.splitlines()


def test_only_a_loopback_address_will_do(tmp_path: Path) -> None:
    (line,) = serve_and_fail(tmp_path, "0.0.0.0:9109")
    assert line.startswith("Error: PIXELCORE_INSPECT_ADDRESS: must be HOST:PORT with a loopback address")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        lines = serve_and_fail(tmp_path, address, "--inspect")
    assert lines == [
        f"Error: PIXELCORE_INSPECT_ADDRESS: {address}: another server or gateway already listens there: stop it, or choose another port"
    ]


def test_it_is_off_unless_asked_for(start_page: StartPage) -> None:
    server, port = start_page(flags=())
    assert processes(server) == []
    assert "off: start with --inspect" in server.log()
    with pytest.raises(ConnectionError):
        request(port, "GET", "/")


def test_events_and_rejections_as_they_come(start_page: StartPage) -> None:
    """The very lines, with some of the past first, and exact counts of what came since."""
    server, port = start_page()
    for number in range(30):
        assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=Before&mid=before-{number}"))
    with Stream(port, token_of(server)) as stream:
        accepted, rejected, _ = stream.until(0)
        assert [event["messageId"] for event in accepted] == [f"before-{number}" for number in range(10, 30)]
        assert rejected == []
        assert_pixel(ask(server, "/v1/pixel/page?wk=dk_1&e=Home&mid=m1&p.a=%3C/script%3E"))
        assert_pixel(ask(server, "/v1/pixel/track?wk=dk_1&mid=m2"))
        accepted, rejected, counts = stream.until(1, 1)
        assert accepted == server.events()[30:]
        assert rejected == server.rejections()
        assert counts["every"] == {"accepted": 1, "rejected": 1}
    with Stream(port, token_of(server), past=False) as stream:
        assert stream.until(0)[0] == [], "a page that comes back knows the past"


def test_nothing_is_read_where_nobody_looks(start_page: StartPage) -> None:
    server, port = start_page()
    (process,) = processes(server)
    assert_pixel(ask(server, "/v1/pixel/page?wk=dk_1"))
    (before,) = {process.num_threads()}
    assert open_journals(process) == []

    def rests() -> bool:
        used = process.cpu_times()
        time.sleep(1)
        return process.cpu_times() == used

    wait_for(rests)  # not at once: what its start took is counted in ticks, and may be late
    with Stream(port, token_of(server)) as stream:
        stream.until(0)
        assert len(open_journals(process)) == 1
        assert process.num_threads() == before + 1
    wait_for(lambda: open_journals(process) == [] and process.num_threads() == before)


def test_too_much_is_sampled_and_counted(start_page: StartPage) -> None:
    """Under a load that no page can show, rejections stay visible, and watched lines are never left out."""
    server, port = start_page()
    with Stream(port, token_of(server)) as stream, pixelcore.Journal(server.data_dir / "events") as journal:
        stream.until(0)
        stream.want([], ["needle"])
        assert_pixel(ask(server, "/v1/pixel/page?mid=lost"))
        for number in range(40_000):
            name = "needle" if number == 31_234 else f"m{number}"
            journal.append(pixelcore.event("page", f"wk=dk_1&mid={name}"))
        accepted, rejected, counts = stream.until(40_000, 1)
        assert len(accepted) <= BURST + (LINES_A_SECOND + FEW / TICK_SECONDS) * (counts["seconds"] + 1)
        assert "needle" in {event["messageId"] for event in accepted}
        assert len(rejected) == 1

        stream.want(["m3999"])
        for number in range(40_000):
            journal.append(pixelcore.event("page", f"wk=dk_1&mid=M{number}"))
        accepted, _, counts = stream.until(80_000, 1)
        assert {event["messageId"] for event in accepted} <= {"M3999", *(f"M3999{digit}" for digit in range(10))}
        assert accepted, "what matches is not lost among what does not"
        assert counts["every"]["accepted"] < 4


def test_a_slow_page_costs_no_memory(start_page: StartPage) -> None:
    """Lines for a slow page are sampled and not queued."""
    server, port = start_page()
    (process,) = processes(server)
    with Stream(port, token_of(server)) as stream, pixelcore.Journal(server.data_dir / "events") as journal:
        stream.until(0)
        before = most = process.memory_info().rss
        line = pixelcore.event("page", f"wk=dk_1&p.a={'x' * 6000}")
        for number in range(12_000):
            journal.append(line)
            if number % 100 == 0:
                most = max(most, process.memory_info().rss)
        accepted, _, _ = stream.until(12_000)
        assert len(accepted) < 6_000
        assert most - before < 30 << 20, "72 MB were journaled"


def test_pages_are_not_endless(page: tuple[Server, int]) -> None:
    server, port = page
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Stream(port, token_of(server))) for _ in range(PAGES)]
        assert request(port, "GET", f"/feed?token={token_of(server)}")[0] == 503
        assert len({stream.hello["stream"] for stream in streams}) == PAGES


def test_the_lag_of_a_gateway_without_kafka(page: tuple[Server, int]) -> None:
    server, port = page
    assert_pixel(ask(server, "/v1/pixel/page?wk=dk_1"))
    found = json.loads(request(port, "GET", "/lag", Authorization=f"Bearer {token_of(server)}")[2])
    size = sum(path.stat().st_size for path in server.data_dir.glob("events/*/*.ndjson"))
    assert found == {"lag": None, "journalBytes": {"events": size, "rejections": 0}, "stall": ""}


def test_the_lag_of_a_gateway_whose_kafka_is_down(start_page: StartPage) -> None:
    server, port = start_page(PIXELCORE_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", PIXELCORE_DRAIN_SECONDS="0")
    for _ in range(3):
        assert_pixel(ask(server, "/v1/pixel/page?wk=dk_1"))
    found = json.loads(request(port, "GET", "/lag", Authorization=f"Bearer {token_of(server)}")[2])
    assert found["lag"]["events"] == 3
    assert found["lag"]["bytes"] == found["journalBytes"]["events"] > 0
    assert found["lag"]["seconds"] >= 0


def test_it_ends_with_the_server_however_that_ends(start_page: StartPage) -> None:
    """It ends with the server, also with an open page and before the workers, because the next server uses the address again."""
    server, port = start_page(workers=2)
    (process,) = processes(server)
    with Stream(port, token_of(server)) as stream:
        stream.until(0)
        for worker in server.workers():
            os.kill(worker, signal.SIGSTOP)
        assert server.process is not None
        server.process.kill()
        process.wait(60)
    server.kill()
    server.start()
    (process,) = processes(server)
    with Stream(port, token_of(server)) as stream:
        stream.until(0)
        assert server.terminate() == 0
    process.wait(60)


def test_requests_go_on_without_it(start_page: StartPage) -> None:
    server, port = start_page()
    (process,) = processes(server)
    with Stream(port, token_of(server)) as stream:
        stream.until(0)
        process.kill()
        wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert_pixel(ask(server, "/v1/pixel/page?wk=dk_1&mid=m"))
    assert [event["messageId"] for event in server.events()] == ["m"]
    assert server.terminate() == 0
