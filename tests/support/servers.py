"""Real servers: the gateway as a child process, on a free port, with its own data directory."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil
from pixelcore import settings as settings_of_pixelcore

from tests.kafka.broker import free_port
from tests.support.processes import OWN_GROUP
from tests.support.waiting import wait_for

Command = Literal["pixelcore", "granian"]
StartMethod = Literal["fork", "spawn", "forkserver"]
"""The start methods of Python's multiprocessing. None in a `Server` is the default of this version."""

PATIENCE = 60
"""Seconds for an answer. A machine may be busy, and success does not wait."""

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_pixel(self) -> bool:
        """Whether this is the whole pixel."""
        return self.status == 200 and self.headers.get("content-type") == "image/gif" and is_gif(self.body)


def is_gif(body: bytes) -> bool:
    """Whether ``body`` is a 1x1 GIF89a of 43 bytes, with any colours of its invisible pixel."""
    return len(body) == len(GIF) and body[:10] == GIF[:10] and body[-1:] == GIF[-1:]


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the given settings and no others of pixelcore's or Granian's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIXELCORE_", "GRANIAN_"))}
    kept.pop("PORT", None)
    # Several servers run at the same time, and only one could have the default address of the metrics.
    return kept | {"PYTHONUNBUFFERED": "1", "PIXELCORE_METRICS_ADDRESS": ""} | dict(settings)


def kafka_settings(bootstrap: str, topic: str) -> dict[str, str]:
    """The settings that ship events to ``topic``, with checkpoints that no other test shares."""
    return {
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "PIXELCORE_TOPIC": topic,
        "PIXELCORE_CHECKPOINT_TOPIC": f"{topic}-checkpoints",
    }


def consent_settings() -> dict[str, str]:
    """The additional settings of a gateway with Kafka whose pipelines look persons up."""
    secret = {"PIXELCORE_CONSENT_SECRET": "k1:a-secret-of-the-tests-0123456789"}
    return secret if "consent_secret" in settings_of_pixelcore.described() else {}


def journal_lines(directory: Path) -> list[bytes]:
    """The whole lines of all journals under ``directory``, oldest journal first."""
    lines: list[bytes] = []
    for segment in sorted(directory.glob("*/*.ndjson")):
        # A segment may be shipped and deleted between the listing and the reading.
        with contextlib.suppress(FileNotFoundError):
            lines += segment.read_bytes().split(b"\n")[:-1]
    return lines


def forward(data_dir: Path, settings: Mapping[str, str], *flags: str) -> subprocess.Popen[str]:
    """Start ``pixelcore forward`` on a data directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "pixelcore", "forward", *flags],
        env=clean_environment({"PIXELCORE_DATA_DIR": str(data_dir), **settings}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **OWN_GROUP,
    )


_ANSWERS = re.compile(rb"Started worker-[0-9]+ runtime-1\b")


@dataclass
class Server:
    """A gateway; after `kill` or `terminate` it starts again on the same port and data."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    workers_wanted: int = 1
    command: Command = "pixelcore"
    app: str = "pixelcore.app:app"
    port: int = field(default_factory=free_port)
    flags: tuple[str, ...] = ()
    start_method: StartMethod | None = None
    prefix: tuple[str, ...] = ()
    """The prefix of the server's command, such as a program that limits it."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """The directory of the journals."""
        return self.directory / "data"

    def start(self, timeout: float = 90) -> None:
        """Start the server, and return when ``/healthz`` answers 200."""
        if self.process is not None:
            raise RuntimeError("the server runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.command == "pixelcore":
            arguments = ["pixelcore", "serve", "--bind", f"127.0.0.1:{self.port}"]
        else:
            arguments = ["granian", self.app, "--port", str(self.port)]
        with self._log.open("ab") as output:
            printed = output.tell()
            self.process = subprocess.Popen(
                [*self.prefix, *self._python, *arguments, "--workers", str(self.workers_wanted), *self.flags],
                env=clean_environment({"PIXELCORE_DATA_DIR": str(self.data_dir), **self.settings}),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **OWN_GROUP,
            )
        deadline = time.monotonic() + timeout
        while not self._healthy() or (self.workers_wanted > 1 and not self._all_answer(printed)):
            if (code := self.process.poll()) is not None:
                self.kill()
                raise RuntimeError(f"the server ended with {code}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"the server was not healthy in time:\n{self.log()}")
            time.sleep(0.05)

    def restart(self, **settings: str) -> None:
        """Start again with the previous settings and the given ones. If the server runs, end it first."""
        if self.process is not None:
            self.terminate()
        self.settings |= settings
        self.start()

    def kill(self) -> None:
        """``kill -9`` of the whole process group."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        self._wait_for_group(process.pid)

    def terminate(self, timeout: float = 90) -> int:
        """Send SIGTERM to the main process, like an init system, and return its exit code."""
        if self.process is None:
            raise RuntimeError("the server does not run")
        self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"the server did not stop in {timeout} s:\n{self.log()}") from None
        # A process that outlives its parent is a defect of its own, but must not disturb the next test.
        self.kill()
        return code

    def workers(self) -> list[int]:
        """The process ids of the workers, which multiprocessing started for Granian."""
        if self.process is None:
            return []
        found: list[int] = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = " ".join(child.cmdline())
                is_helper = any(
                    name in line for name in ("resource_tracker", "pixelcore.observing.metrics", "pixelcore.inspect")
                )
                if child.status() != psutil.STATUS_ZOMBIE and not is_helper and not child.children():
                    found.append(child.pid)
        return sorted(found)

    def has_replaced(self, before: Iterable[int], staying: int = 0) -> bool:
        """Whether the wanted number of workers runs, and so many of them also ran before."""
        now = self.workers()
        return len(now) == self.workers_wanted and len({*now} & {*before}) == staying

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, received, response.read())
        finally:
            connection.close()

    @property
    def _python(self) -> list[str]:
        """The command that runs a module, without the module's name."""
        if self.start_method is None:
            return [sys.executable, "-m"]
        chosen = f"import multiprocessing, runpy, sys; multiprocessing.set_start_method({self.start_method!r})"
        run = "del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
        return [sys.executable, "-c", f"{chosen}; {run}"]

    def log(self) -> str:
        """The output of the server and its workers so far."""
        try:
            return self._log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def events(self) -> list[dict[str, Any]]:
        """The events in the journals now."""
        return _parsed(journal_lines(self.data_dir / "events"))

    def rejections(self) -> list[dict[str, Any]]:
        """The recorded rejections."""
        return _parsed(journal_lines(self.data_dir / "rejections"))

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"

    def _healthy(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _all_answer(self, printed: int) -> bool:
        """Whether each worker answers, or nobody says; or all connections of a test would be those of the first one.

        ``printed`` is where the log of this life begins.
        """
        says = self.settings.get("PIXELCORE_LOG_LEVEL", "info") in ("info", "debug")
        return not says or len(_ANSWERS.findall(self._log.read_bytes(), printed)) >= self.workers_wanted

    @staticmethod
    def _wait_for_group(group: int) -> None:
        """Wait for dying workers, which hold the port and the journals' locks."""

        def is_gone() -> bool:
            return not any(_lives_in(process, group) for process in psutil.process_iter())

        wait_for(is_gone, PATIENCE, "a killed process lives")


def _lives_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def _parsed(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


class Serve(Protocol):
    """Start a server."""

    def __call__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        workers: int = 1,
        command: Command = "pixelcore",
        start_method: StartMethod | None = None,
    ) -> Server: ...
