"""README's claims: its example byte for byte, its Python, and its commands on a fresh copy of the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixelcore
import pytest
from pixelcore._core import check_keys

from tests.kafka.broker import free_port
from tests.servers import GIF, clean_environment

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line[2:] for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]


def test_the_example_is_what_the_core_makes_of_it() -> None:
    (request,) = (block for kind, block in BLOCKS if kind == "")
    (event,) = (block for kind, block in BLOCKS if kind == "json")
    path, _, query = request.split()[1].partition("?")
    made = pixelcore.event(
        path.rpartition("/")[2], query, ip="203.0.113.7", user_agent="Thunderbird/140.0", received_at=1740493801250
    )
    assert made.decode() + "\n" == event
    shown = README.split("$ make run")[0].splitlines()
    assert len(shown) < 25, "the first screen has the sentence, the URL, its JSON, and how to run it"


def test_the_python_runs() -> None:
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102


def test_the_keys_are_a_key_file() -> None:
    (block,) = (block for kind, block in BLOCKS if kind == "toml")
    assert check_keys(block) == 2


def test_the_reasons_are_in_order() -> None:
    start = README.index("A request is rejected, in this order")
    named = re.findall(r"`([a-z_]+)`", README[start : README.index("It gets its GIF", start)])
    source = (ROOT / "rust" / "core" / "src" / "reason.rs").read_text()
    assert named == re.findall(r'Self::\w+ => "(\w+)"', source)


def test_no_command_is_untested() -> None:
    assert COMMANDS == [
        "make run",
        "curl -s 'http://localhost:8080/v1/pixel/track?wk=dk_test_1&e=Hello' -o pixel.gif",
        ".venv/bin/pixelcore tail",
        "make test",
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS=localhost:9092 pixelcore serve --workers 2",
    ]
    # Running all tests within a test would not end; what the command runs is what CI runs.
    planned = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cargo test" in planned
    assert re.search(r"/pytest --numprocesses", planned)
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    # The command with Kafka is that of tests/test_delivery.py, at another address.


def test_settings_that_readme_names_exist() -> None:
    names = set(re.findall(r"`(PIXELCORE_[A-Z_]+[A-Z])", README)) - {"PIXELCORE_KAFKA_SECURITY_PROTOCOL"}
    from pixelcore import settings

    assert names <= {settings.variable(name) for name in settings.described()}


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=clean_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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


@pytest.mark.timeout(900)
def test_a_fresh_copy_runs_by_the_printed_commands(tmp_path: Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    run, curl, tail = COMMANDS[:3]
    port = free_port()  # the printed one may be taken
    with running([*shlex.split(run), f"BIND=127.0.0.1:{port}"], tmp_path) as process:
        gif = fetch(curl.replace("localhost:8080", f"127.0.0.1:{port}"), tmp_path, process, 600)
        assert (len(gif), gif[:6]) == (len(GIF), b"GIF89a")
        shown = subprocess.run(shlex.split(tail), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    event = json.loads(shown)
    assert (event["type"], event["event"], event["pipelineKey"]) == ("track", "Hello", "dk_test_1")
    log = (tmp_path / "output.log").read_text()
    assert ".venv/bin/pixelcore tail -f" in log, "as it can be typed"
    assert f"http://localhost:{port}/v1/pixel/track?" in log, "the banner prints a URL to try"


@pytest.mark.timeout(900)
def test_wheels_work_in_an_empty_environment(tmp_path: Path) -> None:
    """``pip install .`` and ``maturin build --release``, both of which README names."""
    bin_dir = Path(sys.executable).parent
    pip: list[str | Path] = [bin_dir / "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "pip", ROOT]
    maturin: list[str | Path] = [bin_dir / "maturin", "build", "--quiet", "--release", "--out", tmp_path / "maturin"]
    for command in (pip, maturin):
        subprocess.run(command, cwd=ROOT, check=True)
    wheels = [path for name in ("pip", "maturin") for path in (tmp_path / name).glob("*.whl")]
    assert [re.sub(r"-cp\d+-abi3-.*", "-cp310-abi3", path.name) for path in wheels] == [
        f"pixelcore-{pixelcore.__version__}-cp310-abi3"
    ] * 2

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binary = tmp_path / "venv" / "bin"
    subprocess.run([binary / "pip", "install", "--quiet", "--disable-pip-version-check", wheels[0]], check=True)
    again: list[str | Path] = [
        binary / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--force-reinstall",
    ]
    subprocess.run([*again, wheels[1]], check=True)
    port = free_port()
    with running([str(binary / "pixelcore"), "serve", "--bind", f"127.0.0.1:{port}"], tmp_path) as process:
        curl = COMMANDS[1].replace("localhost:8080", f"127.0.0.1:{port}")
        assert len(fetch(curl, tmp_path, process, 30)) == len(GIF)
        tail: list[str | Path] = [binary / "pixelcore", "tail"]
        assert (
            json.loads(subprocess.run(tail, cwd=tmp_path, capture_output=True, check=True).stdout)["event"] == "Hello"
        )
