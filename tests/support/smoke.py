"""A wheel in an empty environment: it is installed, serves a pixel, and shows the event. Needs nothing but Python.

python tests/support/smoke.py dist          the wheel of dist/ that fits this machine, with all that it depends on
python tests/support/smoke.py dist --core   the extension alone, where a dependency has no wheel (confluent-kafka on musl)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

NAME = "pixelcore-gateway"
SECONDS = 120
CORE = "import json, pixelcore; print(json.loads(pixelcore.event('track', 'wk=k&e=Hello'))['event'])"


def without_rust() -> dict[str, str]:
    """This process's environment, but for the directories with a Rust toolchain and for pixelcore's settings."""
    tools = ("cargo", "rustc", "maturin")
    kept = [each for each in os.environ["PATH"].split(os.pathsep) if not any(shutil.which(t, path=each) for t in tools)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PIXELCORE_", "GRANIAN_"))}
    return {**ours, "PATH": os.pathsep.join(kept), "PIXELCORE_METRICS_ADDRESS": ""}


def install(dist: Path, directory: Path, *, core: bool = False) -> Path:
    """Make an environment in ``directory`` with the fitting wheel of ``dist``. Returns the path of its programs."""
    venv.create(directory, with_pip=True)
    bin_dir = directory / "bin"
    pip = [str(bin_dir / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ours = ["--no-index", "--no-deps", "--only-binary=:all:", "--find-links", str(dist), NAME]
    others = ["crawler-user-agents", "crawlerdetect", "typing-extensions"] if core else ["--prefer-binary", NAME]
    for what in (ours, others):
        subprocess.run([*pip, *what], check=True, env=without_rust())
    return bin_dir


def serve(bin_dir: Path, directory: Path) -> None:
    """Serve a pixel, and check that ``pixelcore tail`` shows its event."""
    port = free_port()
    command = [str(bin_dir / "pixelcore"), "serve", "--bind", f"127.0.0.1:{port}"]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=directory, env=without_rust(), stdout=log, stderr=log)
    try:
        assert get(f"http://127.0.0.1:{port}/v1/pixel/track?wk=k&e=Hello")[:6] == b"GIF89a"
    finally:
        server.terminate()
        server.wait(SECONDS)
    tail = [str(bin_dir / "pixelcore"), "tail"]
    shown = subprocess.run(tail, cwd=directory, env=without_rust(), check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(shown)["event"] == "Hello"


def free_port() -> int:
    """A free port below those that the kernel gives to outgoing connections, one of which could take it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def get(url: str) -> bytes:
    """The answer, as soon as there is one."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def main() -> int:
    """Try the wheels in the directory on the command line."""
    parser = argparse.ArgumentParser(description="Try a wheel in an empty environment.")
    parser.add_argument("dist", type=Path)
    parser.add_argument("--core", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bin_dir = install(arguments.dist.resolve(), Path(name, "venv"), core=arguments.core)
        if arguments.core:
            subprocess.run([bin_dir / "python", "-c", CORE], check=True)
        else:
            serve(bin_dir, Path(name))
    print("smoke: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
