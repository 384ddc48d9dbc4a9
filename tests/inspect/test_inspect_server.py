"""The live page's server in this process: its address, its access control, and its lag."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pixelcore import Journal
from pixelcore.inspect.feed import Wanted
from pixelcore.inspect.server import MAX_BODY, Server
from pixelcore.journals import JournalDirectory
from pixelcore.settings import Settings

from tests.kafka.broker import free_port
from tests.support.servers import PATIENCE

KAFKA = {"bootstrap.servers": "127.0.0.1:1"}


@contextmanager
def serving(
    data_dir: Path, host: str = "127.0.0.1", **settings: Any
) -> Iterator[tuple[Server, http.client.HTTPConnection]]:
    port = free_port()
    chosen = Settings(data_dir=data_dir, inspect_address=f"{host}:{port}", **settings)
    server = Server(chosen, "http://127.0.0.1:8080")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=PATIENCE)
    try:
        yield server, connection
    finally:
        connection.close()
        server.shutdown()
        server.server_close()
        thread.join()


HOSTS: list[tuple[str, socket.AddressFamily]] = [
    ("127.0.0.1", socket.AF_INET),
    ("localhost", socket.AF_INET),
    ("[::1]", socket.AF_INET6),
]


@pytest.mark.parametrize(("host", "family"), HOSTS)
def test_it_listens_where_it_is_told(tmp_path: Path, host: str, family: socket.AddressFamily) -> None:
    if host == "[::1]" and not socket.has_ipv6:
        pytest.fail("this test needs IPv6 on the loopback interface")
    with serving(tmp_path, host) as (server, connection):
        assert server.socket.family == family
        assert server.url.startswith(f"http://{host}:")
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
        assert answer.getheader("Connection") is None, "the next request may use it, too"
        answer.read()


ASKED: list[tuple[str, str, str, dict[str, str], bytes, int]] = [
    # name, method, path, headers beside a right Host, what is sent, the status; TOKEN is the token
    ("a file", "GET", "/index.html", {}, b"", 200),
    ("none of its files", "GET", "/server.py", {}, b"", 404),
    ("another site's name", "GET", "/", {"Host": "evil.example"}, b"", 403),
    ("another site's name at its port", "GET", "/", {"Host": "evil.example:80"}, b"", 403),
    ("a tunnel's port", "GET", "/", {"Host": "localhost:9999"}, b"", 200),
    ("no name", "GET", "/", {"Host": "[::1"}, b"", 403),
    ("another origin", "GET", "/", {"Host": "localhost:9999", "Origin": "http://evil.example"}, b"", 403),
    ("its own origin", "GET", "/", {"Host": "localhost:9999", "Origin": "http://localhost:9999"}, b"", 200),
    ("the lag without the token", "GET", "/lag", {}, b"", 401),
    ("the lag with another one", "GET", "/lag", {"Authorization": "Bearer x"}, b"", 401),
    ("the lag", "GET", "/lag", {"Authorization": "Bearer TOKEN"}, b"", 200),
    ("the feed without the token", "GET", "/feed", {}, b"", 401),
    ("a URL without the token", "POST", "/url", {}, b"{}", 401),
    ("a URL", "POST", "/url", {"Authorization": "Bearer TOKEN"}, b"{}", 200),
    ("no form", "POST", "/url", {"Authorization": "Bearer TOKEN"}, b"[]", 400),
    ("no JSON", "POST", "/url", {"Authorization": "Bearer TOKEN"}, b"{", 400),
    ("JSON too deep", "POST", "/url", {"Authorization": "Bearer TOKEN"}, b"[" * 60_000, 400),
    ("a stream that is not there", "POST", "/want", {"Authorization": "Bearer TOKEN"}, b'{"stream":"x"}', 404),
    ("nothing asked for", "POST", "/want", {"Authorization": "Bearer TOKEN"}, b"{}", 400),
    ("as much as it takes", "POST", "/url", {"Authorization": "Bearer TOKEN"}, b"{}" + b" " * (MAX_BODY - 2), 200),
    ("more", "POST", "/url", {"Authorization": "Bearer TOKEN"}, b"{}" + b" " * (MAX_BODY - 1), 413),
    ("another site's POST", "POST", "/url", {"Authorization": "Bearer TOKEN", "Host": "evil.example"}, b"{}", 403),
    ("nobody knows how much", "POST", "/url", {"Authorization": "Bearer TOKEN", "Content-Length": "x"}, b"", 413),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"), [pytest.param(*row[1:], id=row[0]) for row in ASKED]
)
def test_whom_it_answers(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    with serving(tmp_path) as (server, connection):
        sent = {name: value.replace("TOKEN", server.token) for name, value in headers.items()}
        # A body that is refused may be cut off by the answer.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.request(method, path, body or None, sent)
        answer = connection.getresponse()
        assert answer.status == status
        assert {name: answer.getheader(name) for name in server.policy} == server.policy
        assert answer.getheader("Connection") == ("close" if status >= 400 else None), "a body may be left unread"
        assert answer.getheader("Server", "").startswith("pixelcore")
        told = answer.read()
        assert told == f"{http.HTTPStatus(status).phrase}\n".encode() or status < 400


def test_as_many_pages_as_there_may_be(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, connection):
        server.feeds.update({str(number): None for number in range(8)})  # type: ignore[misc]
        connection.request("GET", f"/feed?token={server.token}")
        assert connection.getresponse().status == 503
        connection.close()
        server.feeds.popitem()
        connection.request("GET", f"/feed?token={server.token}")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
        hello = answer.fp.readline() + answer.fp.readline()
        assert hello.startswith(b'event: hello\ndata: {"stream": ')
        told = json.loads(hello.partition(b"data: ")[2])
        assert (told["keys"], told["destination"], told["gateway"]) == (False, None, "http://127.0.0.1:8080")
        other = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
        wanted = json.dumps({"stream": told["stream"], "contains": ["A b"], "watched": ["m1", ""]})
        other.request("POST", "/want", wanted, {"Authorization": f"Bearer {server.token}"})
        answered = other.getresponse()
        assert (answered.status, answered.getheader("Content-Length"), answered.read()) == (204, "0", b"")
        assert answered.getheader("Connection") is None
        other.close()
        assert server.feeds[told["stream"]].wanted == Wanted(("a b",), (b"m1",))
        server.feeds.clear()


def test_the_page_is_told_where_events_go(tmp_path: Path) -> None:
    with serving(tmp_path, kafka=KAFKA, topic="opens") as (server, connection):
        connection.request("GET", f"/feed?token={server.token}")
        answer = connection.getresponse()
        hello = answer.fp.readline() + answer.fp.readline()
        assert json.loads(hello.partition(b"data: ")[2])["destination"] == "opens"


ERRORS: list[tuple[Exception, bool]] = [
    (ConnectionResetError("gone"), False),
    (BrokenPipeError("gone"), False),
    (TimeoutError("gone"), False),
    (ValueError("a defect"), True),
]


@pytest.mark.parametrize(("error", "is_told"), ERRORS)
def test_pages_come_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, is_told: bool) -> None:
    with serving(tmp_path) as (server, _), caplog.at_level("ERROR", "pixelcore"):
        try:
            raise error
        except type(error):
            server.handle_error(None, None)
    assert bool(caplog.messages) == is_told


LAGS: list[tuple[str, dict[str, str], list[int], float]] = [
    # name, Kafka, how many seconds ago each event came that is not shipped, and how far behind that is
    ("nothing ships", {}, [9], 0.0),
    ("nothing is left", KAFKA, [], 0.0),
    ("the oldest counts", KAFKA, [90, 5], 90.0),
    ("a clock that was set back", KAFKA, [-90], 0.0),
]


@pytest.mark.parametrize(("kafka", "ages", "seconds"), [pytest.param(*row[1:], id=row[0]) for row in LAGS])
def test_how_far_behind_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka: dict[str, str], ages: list[int], seconds: float
) -> None:
    now = 1_767_225_600.0
    monkeypatch.setattr("pixelcore.inspect.server.time.time", lambda: now)
    journals = []
    for age in ages:
        journals.append(Journal(tmp_path / "events"))
        received_at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now - age))
        journals[-1].append(json.dumps({"receivedAt": received_at}).encode())
    with Journal(tmp_path / "events") as shipped, serving(tmp_path, kafka=kafka) as (server, _):
        shipped.append(b'{"receivedAt":"2001-01-01T00:00:00.000Z"}')
        JournalDirectory(Path(shipped.path)).commit(shipped.end)
        told = server.lag()
        size = sum(journal.end for journal in journals)
        expected = {"events": len(ages), "bytes": size, "seconds": seconds} if kafka else None
        assert told["lag"] == expected
        assert told["journalBytes"] == {"events": size + shipped.end, "rejections": 0}
        assert told["stall"] == ""
