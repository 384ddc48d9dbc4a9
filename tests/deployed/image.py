"""An image, run as deploy/ has it: read-only, without capabilities, as its user, with a volume. Needs nothing but Python.

python tests/deployed/image.py docker pixelcore
python tests/deployed/image.py 'podman --runtime runc --cgroup-manager cgroupfs' pixelcore
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
import uuid
from typing import NamedTuple

DATA = "/var/lib/pixelcore"
SEND = """
import sys, urllib.request
for number in range(int(sys.argv[2])):
    url = f"http://127.0.0.1:8080/v1/pixel/track?wk=k&e=E&mid={sys.argv[1]}-{number}"
    assert urllib.request.urlopen(url, timeout=10).read()[:6] == b"GIF89a"
"""
RIGHTS = "import os; print(os.getuid(), [line for line in open('/proc/self/status') if line.startswith('CapEff')][0].split()[1])"


class Sum(NamedTuple):
    """The answered requests, and the journal."""

    sent: int
    arrived: int


class Image:
    """An image of an engine, with a volume and a container at a time."""

    def __init__(self, engine: str, image: str) -> None:
        self._engine = shlex.split(engine)
        self._image = image
        self._name = f"pixelcore-{uuid.uuid4().hex[:8]}"

    def engine(self, *arguments: str, code: int = 0) -> str:
        """The engine's output for a command that ends with ``code``."""
        ended = subprocess.run([*self._engine, *arguments], capture_output=True, text=True, check=False)
        if ended.returncode != code:
            raise AssertionError(f"{arguments}: {ended.returncode}\n{ended.stdout}{ended.stderr}")
        return ended.stdout + ended.stderr

    def run(self, *arguments: str, background: bool = False, code: int = 0) -> str:
        """Run the image with these arguments, to its end or until `end`."""
        rights = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
        # Its check is asked for below; podman wants systemd to ask by itself. Its default limits are more than a container may give.
        rights += ["--no-healthcheck", "--ulimit=nofile=4096:4096", "--ulimit=nproc=1000:1000"]
        how = ["--detach", f"--name={self._name}"] if background else ["--rm"]
        return self.engine("run", *how, *rights, f"--volume={self._name}:{DATA}", self._image, *arguments, code=code)

    def execute(self, *command: str) -> str:
        """The output of a command in the running container."""
        return self.engine("exec", self._name, *command)

    def wait(self, said: str) -> None:
        """Wait until the image's health check says so."""
        deadline = time.monotonic() + 120
        while True:
            try:
                if self.execute("pixelcore", "health") == f"{said}\n":
                    return
            except AssertionError:
                if time.monotonic() > deadline:
                    print(self.engine("logs", self._name))
                    raise
            time.sleep(0.5)

    def end(self, *how: str) -> None:
        """End the container, and remove it but not its volume."""
        self.engine(*how, self._name)
        if how[0] == "stop":
            state = self.engine("inspect", "--format", "{{.State.ExitCode}}", self._name).strip()
            assert state == "0", (state, self.engine("logs", self._name))
        self.engine("rm", "--force", self._name)

    def events(self) -> int:
        """How many events are in the journals."""
        return self.run("tail", "--lines=100000").count('"messageId"')

    def remove(self) -> None:
        """Leave nothing."""
        subprocess.run([*self._engine, "rm", "--force", self._name], capture_output=True, check=False)
        subprocess.run([*self._engine, "volume", "rm", "--force", self._name], capture_output=True, check=False)


def check(engine: str, name: str) -> Sum:
    """Health, rights, a kill and a restart on the volume, a stop in order, another address, and forward."""
    image = Image(engine, name)
    try:
        image.run("serve", "--workers", "2", background=True)
        image.wait("ok")
        assert image.execute("python", "-c", RIGHTS).split() == ["10001", "0000000000000000"]
        image.execute("python", "-c", SEND, "first", "200")
        image.end("kill", "--signal=KILL")
        assert image.events() == 200

        image.run("serve", "--workers", "2", background=True)
        image.wait("ok")
        image.execute("python", "-c", SEND, "second", "100")
        image.end("stop", "-t", "30")
        arrived = image.events()

        image.run("serve", "--bind", "127.0.0.1:9000", background=True)
        image.wait("ok")
        image.end("stop", "-t", "30")
        assert image.run("forward", code=1).count("\n") == 1
        image.run("forward", "-f", "-X", "bootstrap.servers=127.0.0.1:1", background=True)
        image.wait("no gateway serves with this data directory")
        image.end("kill", "--signal=KILL")
        return Sum(300, arrived)
    finally:
        image.remove()


if __name__ == "__main__":
    found = check(*sys.argv[1:3])
    print(f"image: {found.arrived} of {found.sent} events")
    sys.exit(found.sent != found.arrived)
