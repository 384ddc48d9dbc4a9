"""No command prints a traceback, whatever its arguments, environment and directory (contract, section 7)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import pixelcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixelcore import settings as pixelcore_settings
from pixelcore.commands.main import main

from tests.support.forking import GONE
from tests.support.paths import ROOT
from tests.support.processes import WITHOUT_RIGHTS
from tests.support.servers import clean_environment

# Commands that wait for ever, or for a broker, are left to their own tests.
WAITS = {"-f", "--follow"}
VARIABLES = [
    *(pixelcore_settings.variable(name) for name in pixelcore_settings.described() if name != "kafka"),
    *("PORT", "PIXELCORE_NO_SUCH", "PIXELCORE_KAFKA_CLIENT_ID", "PIXELCORE_KAFKA_", "PIXELCORE_KAFKA_TRANSACTIONAL_ID"),
    *("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "HOME", "PATH", "TMPDIR", "TZ", "_PIXELCORE_COMPLETE"),
]
WORDS = [
    *("", " ", "-", "--", "=", "a=b", "true", "0", "-1", "1e999", "nan", "10MiB", "1s", "never", "2025-01-01", "🐦", "é", "\udcff"),
    *("localhost:80", "127.0.0.1:TAKEN", "no-such.invalid:1", "[::1]:x", "[fe80::1%lo]:1", "loopback", "10.0.0.1/8"),
    *("data", "file", "empty", "locked", "secret", "typo", "locked/x", "file/x", "/dev/null", "/dev/full", "/proc/self/mem", "."),
    *("{}", "[]", '{"a":{"":null}}', "{", "p.0=1", "a..=", "x" * 5000, "a\nb", "\x1b[31m", "%d %s {0}", "track", "event"),
    *("bash_source", "bash_complete", "zsh_source", "nonsense"),
]  # fmt: skip


class Case(NamedTuple):
    arguments: list[str]
    environment: dict[str, str]
    directory: str


texts = st.sampled_from(WORDS) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), max_size=20
)


@st.composite
def flags(draw: st.DrawFn, command: click.Command) -> list[str]:
    """Flags of a command and values for them, or for others."""
    drawn: list[str] = []
    for param in draw(st.lists(st.sampled_from(command.params), max_size=5) if command.params else st.just([])):
        if isinstance(param, click.Argument):
            drawn.append(draw(texts))
        elif not WAITS.intersection(param.opts):
            name, kind = draw(st.sampled_from(param.opts)), draw(st.integers(0, 3))
            drawn += [name] if kind == 0 else [f"{name}={draw(texts)}"] if kind == 1 else [name, draw(texts)]
    return drawn


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(sorted(main.commands)))
    arguments = (
        [name, *draw(flags(main.commands[name]))] if draw(st.integers(0, 9)) else draw(st.lists(texts, max_size=4))
    )
    if "serve" in arguments:
        arguments += ["--bind", "127.0.0.1:TAKEN"]  # or it would serve
    environment = draw(st.dictionaries(st.sampled_from(VARIABLES), texts, max_size=4))
    return Case(arguments, environment, draw(st.sampled_from([".", ".", ".", "empty", "readonly", GONE])))


@dataclass
class Runner:
    """A directory with all kinds of things, a port that is taken, and what forks."""

    here: Path
    taken: int
    process: subprocess.Popen[str]

    def run(self, case: Case) -> tuple[int, bytes, bytes]:
        """The exit code, stdout and stderr of a command."""
        files = {name: str(self.here / name) for name in ("stdout", "stderr")}
        environment = clean_environment({}) | case.environment
        if "_PIXELCORE_COMPLETE" in environment:
            environment |= {"COMP_WORDS": "pixelcore serve --ip ", "COMP_CWORD": "3"}
        request = json.dumps({**case._asdict(), "environment": environment, **files}).replace("TAKEN", str(self.taken))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, Path(files["stdout"]).read_bytes(), Path(files["stderr"]).read_bytes()


@pytest.fixture(scope="module", params=["utf-8", "ascii"])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One that prints in the encoding that is said."""
    here = tmp_path_factory.mktemp("anything")
    (here / "file").write_text("[[pipeline]]\nid = 1\n")
    for name in ("empty", "locked", "readonly", "secret/events"):
        (here / name).mkdir(parents=True)
    closed = {here / "locked": 0, here / "secret" / "events": 0, here / "readonly": 0o500}
    for directory, mode in closed.items():
        directory.chmod(mode)
    with pixelcore.Journal(here / "data" / "events") as journal:
        journal.append(pixelcore.event("track", "wk=dk_1&e=%F0%9F%90%A6%1B[31m&uid=u"))
        journal.append(b'{"receivedAt":[]}')
        journal.append(b"\xff" * 100)
    with pixelcore.Journal(here / "data" / "rejections") as journal:
        journal.append(
            b'{"reason":"too_deep","type":"track","query":"wk=k&e=e","receivedAt":"2025-01-01T00:00:00.000Z","context":{}}'
        )
        journal.append(b'{"reason":{},"type":[],"query":0,"receivedAt":null}')
    environment = clean_environment({"PYTHONIOENCODING": request.param, "PYTHONPATH": str(ROOT)})
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(
            [*WITHOUT_RIGHTS, sys.executable, "-m", "tests.support.forking"],
            env=environment,
            cwd=here,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        yield Runner(here, server.getsockname()[1], process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    for directory in closed:
        directory.chmod(0o700)


@pytest.mark.timeout(600)
@settings(max_examples=int(os.environ.get("PIXELCORE_TEST_COMMANDS", "100")))
@given(case=cases())
def test_no_traceback(runner: Runner, case: Case) -> None:
    """With any arguments, a command has a documented exit code, and prints one line if it fails."""
    code, _, complaints = runner.run(case)
    assert b"Traceback" not in complaints, complaints.decode()
    assert b"Exception ignored" not in complaints, complaints.decode()
    assert code in (0, 1, 2, 3), (code, complaints)
    lines = complaints.decode(errors="replace").splitlines()
    if code == 1 and "check" not in case.arguments[:1] and "_PIXELCORE_COMPLETE" not in case.environment:
        assert lines[-1].startswith("Error: ")
        assert len([line for line in lines if not line.startswith("Warning: ")]) == 1, lines
    if code == 2:
        assert lines[0].startswith(("Usage: ", "Error: ")), lines
