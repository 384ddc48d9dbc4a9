"""``make attack``: attacks of hostile senders and mistakes of operators, against real servers. Prints a table: tried, expected, happened.

Each row is the smallest input of its kind. SECURITY.md names the tests with the complete tables.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pixelcore
from msgspec import ValidationError, convert
from pixelcore import Journal

from tests.kafka.broker import free_port
from tests.support.processes import OWN_GROUP
from tests.support.servers import Server, clean_environment
from tests.support.wire import GOOD, raw, send

KEYS = '[[pipeline]]\nid = "pip_x"\nkey = "dk_test_x"\ndomain_allowlist = ["shop.example"]\n'
Attack = Callable[[Path], str]
ATTACKS: list[tuple[str, str, Attack]] = []


def attack(tried: str, expected: str) -> Callable[[Attack], Attack]:
    """A row of the table."""

    def add(run: Attack) -> Attack:
        ATTACKS.append((tried, expected, run))
        return run

    return add


@contextlib.contextmanager
def serving(directory: Path, prefix: tuple[str, ...] = (), **settings: str) -> Iterator[Server]:
    """A gateway with these settings."""
    server = Server(directory / "gateway", settings, prefix=prefix)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def command(*arguments: str, cwd: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """The result of a command, as an operator would type it."""
    program = Path(sys.executable).with_name("pixelcore")
    environment = clean_environment(settings)
    return subprocess.run([program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def context(server: Server, headers: bytes, key: str = "dk_test_x") -> dict[str, Any]:
    """The context of the event or the rejection of a request with these headers."""
    send(server, raw(f"/v1/pixel/page?wk={key}".encode(), headers))
    (record,) = [*server.events(), *server.rejections()]
    found: dict[str, Any] = record["context"] | {"reason": record.get("reason")}
    return found


@attack("pixelcore.py, json.py, granian.py in the working directory; serve", "none of them runs")
def _(directory: Path) -> str:
    for name in ("pixelcore", "json", "granian", "uvloop", "prometheus_client", "multiprocessing"):
        (directory / f"{name}.py").write_text(f"open({str(directory / 'RAN')!r}, 'a').write({name!r})\n")
    address = f"127.0.0.1:{free_port()}"
    program = [str(Path(sys.executable).with_name("pixelcore")), "serve", "--bind", address]
    settings = {"PIXELCORE_DATA_DIR": str(directory / "data"), "PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}"}
    environment = clean_environment(settings)
    with subprocess.Popen(program, cwd=directory, env=environment, stderr=subprocess.DEVNULL, **OWN_GROUP) as process:
        host, port = address.split(":")
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=60):
                break
            time.sleep(0.05)
        process.terminate()
    return (directory / "RAN").read_text() + " ran" if (directory / "RAN").exists() else "none of them runs"


@attack("a file of the operator's in each folder of the data directory; serve", "all are there afterwards")
def _(directory: Path) -> str:
    folders = ("events", "rejections", "keys", "rates", "metrics", "replay")
    for name in folders:
        (directory / "gateway/data" / name).mkdir(parents=True)
        (directory / "gateway/data" / name / "notes.toml").touch()
        os.utime(directory / "gateway/data" / name / "notes.toml", (0, 0))
    keys = directory / "keys.toml"
    keys.write_text(KEYS)
    with serving(
        directory, PIXELCORE_KEYS_FILE=str(keys), PIXELCORE_METRICS_ADDRESS=f"127.0.0.1:{free_port()}"
    ) as server:
        server.terminate()
        lost = [name for name in folders if not (server.data_dir / name / "notes.toml").exists()]
    return f"lost: {lost}" if lost else "all are there afterwards"


@attack("gateway.lock is a symbolic link to a file; serve", "refused in one line, the file stays")
def _(directory: Path) -> str:
    (directory / "precious").write_text("precious")
    (directory / "data").mkdir()
    (directory / "data/gateway.lock").symlink_to(directory / "precious")
    done = command("serve", "--data-dir", str(directory / "data"))
    kept = (directory / "precious").read_text() == "precious"
    refused = done.returncode == 1 and "is a symbolic link" in done.stderr and len(done.stderr.splitlines()) == 1
    return "refused in one line, the file stays" if refused and kept else done.stderr


@attack("--keys-file data/keys/keys.toml", "refused in one line, the file stays")
def _(directory: Path) -> str:
    keys = directory / "data/keys/keys.toml"
    keys.parent.mkdir(parents=True)
    keys.write_text(KEYS)
    done = command("serve", "--data-dir", str(directory / "data"), "--keys-file", str(keys))
    refused = done.returncode == 1 and len(done.stderr.splitlines()) == 1 and keys.exists()
    return "refused in one line, the file stays" if refused else done.stderr


@attack("a data directory with mode 0777, made by somebody else", "nothing in it is readable for others")
def _(directory: Path) -> str:
    root = directory / "gateway/data"
    root.mkdir(parents=True)
    root.chmod(0o777)
    with serving(directory) as server:
        server.get(GOOD)
        readable = [path for path in root.rglob("*") if path.stat().st_mode & 0o077]
        open_to_all = root.stat().st_mode & 0o022
    return f"{readable} {open_to_all}" if readable or open_to_all else "nothing in it is readable for others"


@attack(r"X-Forwarded-For: \xff and Forwarded: for=6.6.6.6 behind a proxy", "ip 127.0.0.1, ['x-forwarded-for']")
def _(directory: Path) -> str:
    with serving(directory, PIXELCORE_TRUSTED_PROXIES="loopback") as server:
        found = context(server, b"X-Forwarded-For: \xff\r\nForwarded: for=6.6.6.6\r\n")
    return f"ip {found['ip']}, {found.get('unreadable')}"


@attack(r"Referer: https://evil.example/caf\xe9, where domains count", "domain_not_allowed, ['referer']")
def _(directory: Path) -> str:
    keys = directory / "keys.toml"
    keys.write_text(KEYS)
    with serving(directory, PIXELCORE_KEYS_FILE=str(keys)) as server:
        found = context(server, b"Referer: https://evil.example/caf\xe9\r\n")
    return f"{found['reason']}, {found.get('unreadable')}"


@attack(r"User-Agent: Googlebot/2.1 \xff", "None, ['user-agent']")
def _(directory: Path) -> str:
    with serving(directory, PIXELCORE_AUTOMATED="reject") as server:
        found = context(server, b"User-Agent: Googlebot/2.1 \xff\r\n")
    return f"{found['reason']}, {found.get('unreadable')}"


@attack("a connection that has sent G; SIGTERM", "ends with 0, no worker is killed")
def _(directory: Path) -> str:
    with serving(directory) as server, socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(b"G")
        code = server.terminate()
        killed = "refused to gracefully stop" in server.log()
    return f"ends with {code}, {'a' if killed else 'no'} worker is killed"


@attack("140 keyless requests of 120 kB after a genuine rejection", "the genuine one is there")
def _(directory: Path) -> str:
    with serving(directory, PIXELCORE_REJECTED_MAX_BYTES=str(1 << 20)) as server:
        send(server, raw(b"/v1/pixel/track?wk=dk_1&p.genuine=1"))
        for _ in range(140):
            send(server, raw(b"/v1/pixel/track?e=x", b"User-Agent: " + b"x" * 120_000 + b"\r\n"))
        there = any("genuine" in record["query"] for record in server.rejections())
    return f"the genuine one is {'there' if there else 'gone'}"


@attack("the largest event", "82,304 bytes at most")
def _(directory: Path) -> str:
    del directory
    sizes = [
        len(
            pixelcore.event(
                "track", b"wk=k&e=x&" + part * (8000 // len(part)), user_agent="\x01" * 9999, max_parameters=9999
            )
        )
        for part in (b"\x01", b"\xff", b'"', b"p.&", b"p..........=&", b"p.a=&t.b=&")
    ]
    return "82,304 bytes at most" if max(sizes) <= 82_304 else f"{max(sizes)} bytes"


@attack("e=%C2%9D52;c;Zm9v%C2%9C, right-to-left, invisible; tail on a terminal", "all is printable")
def _(directory: Path) -> str:
    with Journal(directory / "events") as journal:
        journal.append(pixelcore.event("track", "wk=k&e=%C2%9D52;c;Zm9v%C2%9C%7F%E2%80%AE%E2%80%8B%E3%85%A4"))
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "pixelcore", "tail", "--data-dir", str(directory)]
    with subprocess.Popen(program, stdout=theirs, env=clean_environment({"NO_COLOR": "1", "TERM": "dumb"})):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 1 << 16):
                shown += chunk
    os.close(ours)
    bad = [char for char in shown.decode() if unicodedata.category(char)[0] == "C" and char not in "\r\n"]
    return "all is printable" if not bad and b"9d52" in shown else repr(bad)


@attack("context.library=x with PIXELCORE_COMPAT, a member twice", "fits the schema, a name once")
def _(directory: Path) -> str:
    del directory
    event = pixelcore.event("track", "wk=k&event=E&context.library=x&context.page=1", compat=["segment", "rudderstack"])
    try:
        convert(json.loads(event), pixelcore.Event)
    except ValidationError as error:
        return str(error)
    return "fits the schema, a name once" if event.count(b'"library"') == 1 else repr(event)


@attack("300 connections with ulimit -n 150", "300 answers, 300 events")
def _(directory: Path) -> str:
    with serving(directory, prefix=("prlimit", "--nofile=150:150")) as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        taken = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(300)]
        for connection in taken:
            connection.sendall(f"GET {GOOD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answers = sum(connection.recv(12) == b"HTTP/1.1 200" for connection in taken)
        return f"{answers} answers, {len(server.events())} events"


@attack("the metrics port, by another site's name", "HTTP/1.0 403")
def _(directory: Path) -> str:
    port = free_port()
    with (
        serving(directory, PIXELCORE_METRICS_ADDRESS=f"127.0.0.1:{port}"),
        socket.create_connection(("127.0.0.1", port), timeout=60) as page,
    ):
        page.sendall(b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        return page.recv(12).decode()


def main() -> None:
    """Try all rows, and print the table. Exits 1 if any result was not expected."""
    failed = False
    for tried, expected, run in ATTACKS:
        with tempfile.TemporaryDirectory() as directory:
            try:
                happened = run(Path(directory))
            except Exception as error:  # noqa: BLE001 the others are tried all the same
                happened = repr(error)
        failed |= happened != expected
        print(f"{'ok  ' if happened == expected else 'FAIL'}  {tried:75}  {expected:40}  {happened}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
