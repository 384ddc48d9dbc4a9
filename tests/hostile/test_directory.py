"""A working directory with foreign files: neither a command nor its child processes run code from it."""

from __future__ import annotations

import http.client
import importlib.metadata
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kafka.broker import free_port
from tests.support.processes import OWN_GROUP
from tests.support.servers import clean_environment

PIXELCORE = Path(sys.executable).with_name("pixelcore")
KEYS = '[[pipeline]]\nid = "pip_x"\nkey = "dk_test_x"\n'
NOWHERE = "127.0.0.1:9"

# command line, what else it is told, whether it ends by itself
COMMANDS: dict[str, tuple[list[str], dict[str, str], bool]] = {
    "help": (["--help"], {}, True),
    "schema": (["schema"], {}, True),
    "url": (["url", "track", "--key", "dk_test_1", "--event", "x", "--base", "http://localhost"], {}, True),
    "tail": (["tail"], {}, True),
    "replay": (["replay", "--dry-run"], {}, True),
    "check": (["check", "--timeout", "1"], {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, True),
    "forward": (["forward", "--follow"], {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, False),
    "serve": (["serve", "--inspect", "--workers", "2"], {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, False),
}


def plant(directory: Path) -> Path:
    """A module for every name that might be imported. An import leaves a trace file next to it."""
    directory.mkdir()
    installed = {name for names in (importlib.metadata.packages_distributions(),) for name in names}
    for name in installed | sys.stdlib_module_names | {"sitecustomize", "usercustomize"}:
        if name.isidentifier():
            (directory / f"{name}.py").write_text(f"open({str(directory / 'RAN')!r}, 'a').write({name!r} + ' ')\n")
    return directory


def wait_until_healthy(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/v1/pixel/track?wk=dk_test_x&e=Hello")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise AssertionError("the server did not answer")


def run(command: str, tmp_path: Path, environment: dict[str, str]) -> str:
    """Run a command in a planted directory, a server until it has answered; what it printed."""
    arguments, settings, ends = COMMANDS[command]
    directory, port = plant(tmp_path / "planted"), free_port()
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    settings = settings | environment
    if command == "serve":
        arguments = [*arguments, "--bind", f"127.0.0.1:{port}"]
        settings |= {
            "PIXELCORE_KEYS_FILE": str(keys),
            "PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
            "PIXELCORE_INSPECT_ADDRESS": f"127.0.0.1:{free_port()}",
            "PIXELCORE_DRAIN_SECONDS": "0",
        }
    process = subprocess.Popen(
        [str(PIXELCORE), *arguments],
        cwd=directory,
        env=clean_environment(settings | {"PIXELCORE_DATA_DIR": str(tmp_path / "data")}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **OWN_GROUP,
    )
    if command == "serve":
        wait_until_healthy(process, port)
    if not ends:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)  # whatever it imports once it runs
        process.terminate()
    output: str = process.communicate(timeout=150)[0]
    ran = directory / "RAN"
    assert not ran.exists(), f"code of the working directory ran: {ran.read_text()}"
    return output


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_code_of_the_working_directory(tmp_path: Path, command: str) -> None:
    output = run(command, tmp_path, {})
    assert "Traceback" not in output


# Python 3.10 cannot keep such children from it, which SECURITY.md says.
@pytest.mark.parametrize("start", ["spawn"] if sys.version_info >= (3, 11) else [])
def test_workers_that_are_no_forks_run_no_code_of_it_either(tmp_path: Path, start: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import multiprocessing; multiprocessing.set_start_method({start!r})")
    run("serve", tmp_path, {"PYTHONPATH": str(site)})
