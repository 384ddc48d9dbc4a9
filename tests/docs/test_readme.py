"""README's first commands on a fresh copy of the project. Its blocks run in tests/deploy/test_packaging.py."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kafka.broker import free_port
from tests.support.builds import building
from tests.support.pages import blocks
from tests.support.paths import ROOT
from tests.support.processes import OWN_GROUP
from tests.support.servers import GIF, clean_environment

NO_MAKE = {"MAKEFLAGS": "", "DEPENDENCIES": ""}
COMMANDS = [
    command for block in blocks(ROOT / "README.md") if block.kind == "console" for command, _ in block.commands()
]


def test_the_first_commands_are_those_that_are_tried() -> None:
    assert COMMANDS[:4] == [
        "make run",
        "curl -s 'http://localhost:8080/v1/pixel/track?wk=dk_test_1&e=Hello' -o pixel.gif",
        ".venv/bin/pixelcore tail",
        "make test",
    ]
    # Running all tests within a test would not end; what the command runs is what CI runs.
    planned = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cargo test" in planned
    assert re.search(r"/pytest --numprocesses", planned)
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    # A newcomer has no pixelcore yet; whoever runs this in an activated environment has.
    path = (place for place in os.environ["PATH"].split(os.pathsep) if not (Path(place) / "pixelcore").exists())
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            # What this checkout has compiled of others' crates need not be compiled again.
            # Nor has a newcomer a make around this one that chose other versions of the dependencies.
            env=clean_environment({"CARGO_TARGET_DIR": str(ROOT / "target"), "PATH": os.pathsep.join(path), **NO_MAKE}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **OWN_GROUP,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def fetch(command: str, directory: Path, process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Repeat a curl command until there is a server to answer it; the file that it wrote."""
    deadline = time.monotonic() + seconds
    while subprocess.run(shlex.split(command), cwd=directory, check=False).returncode != 0:
        log = (directory / "output.log").read_text(errors="replace")
        assert process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.5)
    return (directory / "pixel.gif").read_bytes()


@pytest.mark.timeout(1800)
def test_a_fresh_copy_runs_by_the_printed_commands(tmp_path: Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    run, curl, tail = COMMANDS[:3]
    port = free_port()  # the printed one may be taken
    with building(), running([*shlex.split(run), f"BIND=127.0.0.1:{port}"], tmp_path) as process:
        gif = fetch(curl.replace("localhost:8080", f"127.0.0.1:{port}"), tmp_path, process, 600)
        assert (len(gif), gif[:6]) == (len(GIF), b"GIF89a")
        shown = subprocess.run(shlex.split(tail), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    event = json.loads(shown)
    assert (event["type"], event["event"], event["pipelineKey"]) == ("track", "Hello", "dk_test_1")
    log = (tmp_path / "output.log").read_text()
    assert ".venv/bin/pixelcore tail -f" in log, "as it can be typed"
    assert f"http://localhost:{port}/v1/pixel/track?" in log, "the banner prints a URL to try"
