"""Runs a page of the documentation from top to bottom: its commands, its Python, and what is to be parsed.

A page has a scratch directory that looks like a clone, ports of its own in place of 8080 and the like, and the programs of
one environment, which need not be this one. ``text`` and ``http`` are shown only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tomli
import yaml

from tests.kafka.broker import free_port
from tests.support.paths import ROOT
from tests.support.processes import OWN_GROUP
from tests.support.servers import clean_environment

BROKER = "localhost:9092"
SECONDS = 120.0
# tests/docs/test_signing_page.py and test_consent_page.py run those of programs
SHOWN = ("text", "http", "php", "java", "go", "sql", "properties")
_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVER = re.compile(r"\b(pixelcore serve|granian pixelcore\.app:app)\b")
_FOLLOWER = re.compile(r"\bpixelcore (tail|forward)\b.* (-f|--follow)\b")
_PORT = re.compile(r"(?<=:)(80[89]\d|910[89])\b")
# Reads blocks as JSON lines, and runs them in one namespace. A traceback names the page and its line.
_PYTHON = """
import json, sys
namespace = {"__name__": "__main__"}
for line in sys.stdin:
    page, before, code = json.loads(line)
    exec(compile("\\n" * before + code, page, "exec"), namespace)
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that its title names, its text, and how many lines are before it."""

    kind: str
    title: str | None
    text: str
    before: int

    def commands(self) -> Iterator[tuple[str, str]]:
        """The commands of a console block, each with the output that is shown under it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
            yield command.strip(), output


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text()
    return [Block(m[1], m[2], m[3], text.count("\n", 0, m.start(3))) for m in _FENCE.finditer(text)]


def alike(shown: str, printed: str) -> bool:
    """Whether an output equals the shown one. ``…`` stands for anything, and times, identities and numbers may differ."""

    def plain(text: str) -> str:
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
        return " ".join(re.sub(r"\d[\d.,]*", "N", text).split())

    pattern = ".*".join(re.escape(plain(part)) for part in re.split("…", shown))
    # A space at the edge of a … does not count.
    return re.fullmatch(pattern, plain(printed), re.DOTALL) is not None


@dataclass
class Runner:
    """The run of one page. ``bin_dir`` has the programs, and ``skip`` names the commands that are proved elsewhere."""

    page: Path
    scratch: Path
    bin_dir: Path
    bootstrap: str | None
    skip: Callable[[str], bool]
    path: str = field(default_factory=lambda: os.environ["PATH"])
    ports: defaultdict[str, int] = field(default_factory=lambda: defaultdict(free_port))
    server: subprocess.Popen[bytes] | None = None
    python: subprocess.Popen[str] | None = None

    def run(self) -> None:
        """Run every block in order. Raises `AssertionError` that names the page's line."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        for entry in ROOT.iterdir():
            if entry.name not in (".git", "pixelcore-data", "dist", ".hypothesis"):
                (self.scratch / entry.name).symlink_to(entry)
        kinds = {
            "python": self._python,
            "console": self._console,
            "js": self._js,
            "json": self._json,
            "toml": self._toml,
            "yaml": self._yaml,
        }
        try:
            for block in blocks(self.page):
                where = f"{self.page.name}:{block.before + 1}"
                assert block.kind in {*kinds, *SHOWN}, (
                    f"{where}: nothing checks blocks of {block.kind or 'no language'}"
                )
                if block.kind not in SHOWN:
                    kinds[block.kind](block, where)
        finally:
            self._end_server()
            if self.python is not None:
                self.python.kill()
                with self.python:  # closes its pipes
                    pass

    def _json(self, block: Block, _where: str) -> None:
        decoder, text = json.JSONDecoder(), block.text.strip()
        while text:
            text = text[decoder.raw_decode(text)[1] :].lstrip()

    def _toml(self, block: Block, _where: str) -> None:
        tomli.loads(block.text)
        self._keep(block)

    def _yaml(self, block: Block, _where: str) -> None:
        list(yaml.safe_load_all(block.text))
        self._keep(block)

    def _js(self, block: Block, _where: str) -> None:
        # It may import files next to its page.
        docs = (ROOT / "docs").as_uri()
        source = re.sub(r'"\./([\w-]+\.js)"', rf'"{docs}/\1"', block.text)
        command = [shutil.which("node") or "node", "--input-type=module", "--eval", source]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)

    def _python(self, block: Block, where: str) -> None:
        if self.python is None:
            with (self.scratch / "python.log").open("wb") as log:
                self.python = subprocess.Popen(
                    [self.bin_dir / "python", "-W", "error", "-c", _PYTHON],
                    cwd=self.scratch,
                    env=self._environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        assert self.python.stdin is not None
        assert self.python.stdout is not None
        self.python.stdin.write(json.dumps([self.page.name, block.before, self._here(block.text)]) + "\n")
        self.python.stdin.flush()
        # The block's output comes first.
        while (line := self.python.stdout.readline()) != "done\n":
            assert line, f"{where}:\n{(self.scratch / 'python.log').read_text()}"

    def _console(self, block: Block, where: str) -> None:
        commands = list(block.commands())
        assert commands, f"{where}: no line begins with '$ '"
        for command, shown in commands:
            if not self.skip(command):
                self._command(self._here(command), shown, f"{where}: $ {command}")

    def _command(self, command: str, shown: str, where: str) -> None:
        fails = shown.startswith("Error: ")
        if _SERVER.search(command) and not fails:
            self._serve(command, where)
            return
        output = self.scratch / "output.txt"
        with output.open("wb") as file:
            process = self._start(command, file.fileno())
        if _FOLLOWER.search(command):
            _until(lambda: output.stat().st_size > 0 or process.poll() is not None, where)
            os.killpg(process.pid, signal.SIGINT)
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"{where}: does not end:\n{output.read_text()}") from None
        printed = output.read_text()
        assert (code != 0) == fails, f"{where}: exit code {code}:\n{printed}"
        assert not shown or alike(shown, printed), f"{where}: printed\n{printed}"

    def _serve(self, command: str, where: str) -> None:
        """Start a gateway instead of the previous one, and continue when it is healthy."""
        self._end_server()
        if not re.search(r"--(bind|port)\b", command):
            bind = "--bind 127.0.0.1:{}" if "pixelcore serve" in command else "--port {}"
            command += " " + bind.format(self.ports["8080"])
        log = self.scratch / "server.log"
        with log.open("ab") as file:
            self.server = server = self._start(command, file.fileno())

        def healthy() -> bool:
            assert server.poll() is None, f"{where}: ended with {server.returncode}:\n{log.read_text()}"
            url = f"http://127.0.0.1:{self.ports['8080']}/healthz"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
                return bool(answer.status == 200)
            return False

        _until(healthy, where)

    def _end_server(self) -> None:
        server, self.server = self.server, None
        if server is not None and server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)

    def _start(self, command: str, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.scratch,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **OWN_GROUP,
        )

    def _environment(self) -> dict[str, str]:
        own = {"PATH": f"{self.bin_dir}:{self.path}", "COLUMNS": "200"}
        return clean_environment(own | {"PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{self.ports['9108']}"})

    def _here(self, text: str) -> str:
        """The text with this run's programs, ports and broker. ``make run`` as a whole is in tests/docs/test_readme.py."""
        text = re.sub(r"^make run$", "pixelcore serve", text).replace(".venv/bin/pixelcore", "pixelcore")
        text = _PORT.sub(lambda match: str(self.ports[match[1]]), text)
        if BROKER in text:
            assert self.bootstrap is not None, "a page with a broker is run with one"
            text = text.replace(BROKER, self.bootstrap)
        return text

    def _keep(self, block: Block) -> None:
        if block.title is not None:
            (self.scratch / block.title).write_text(block.text)


def _until(condition: Callable[[], bool], where: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{where}: waited for {SECONDS:.0f} s"
        time.sleep(0.05)
