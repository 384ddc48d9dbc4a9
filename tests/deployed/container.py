"""A Debian that boots systemd in a container, with the network of this process."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kafka.broker import unavailable
from tests.support.deployments import DEPLOY, tool
from tests.support.paths import ROOT

ROOTFS = ROOT / ".deploy" / "rootfs.tar"
WHEELS = ROOT / ".deploy" / "wheels"


@dataclass
class Container:
    """A running one."""

    leader: int
    root: Path

    def run(self, command: str, *, check: bool = True) -> str:
        """The output of a shell command in it, as root in its home directory."""
        entered = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--pid"]
        environment = [
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin",
            "HOME=/root",
            "PIP_NO_INDEX=1",
            "PIP_FIND_LINKS=/root/wheels",
        ]
        ended = subprocess.run(
            [*entered, *environment, "sh", "-c", f"cd /root; {command}"], capture_output=True, text=True, check=False
        )
        assert not check or ended.returncode == 0, (command, ended.stdout, ended.stderr)
        return ended.stdout


@contextmanager
def booted(directory: Path) -> Iterator[Container]:
    """A new container from `ROOTFS`, with the wheels and deploy/ in /root; `make deploy-systemd` makes what it needs."""
    if not ROOTFS.exists():
        unavailable("no .deploy/rootfs.tar: `make deploy-systemd` makes it, as root on Debian")
    root = directory / "root"
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", ROOTFS, "--directory", root], check=True)
    for wheel in WHEELS.glob("pixelcore_gateway-*.whl"):
        shutil.copy(wheel, root / "root")
    command = [tool("systemd-nspawn", "systemd-container"), "--keep-unit", "--register=no", f"--directory={root}"]
    command += [
        "--machine=pixelcore-test",
        f"--bind-ro={WHEELS}:/root/wheels",
        f"--bind-ro={DEPLOY}:/root/deploy",
        "--boot",
    ]
    with (directory / "console.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Container(_leader(process, directory), root)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _leader(process: subprocess.Popen[bytes], directory: Path) -> int:
    """The container's process 1, once its system is up."""
    deadline = time.monotonic() + 120
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < deadline:
        assert process.poll() is None, (directory / "console.log").read_text(errors="replace")
        for pid in map(int, children.read_text().split()):
            container = Container(pid, directory)
            if container.run("systemctl is-system-running", check=False).strip() in ("running", "degraded"):
                return pid
        time.sleep(0.5)
    raise TimeoutError((directory / "console.log").read_text(errors="replace"))


def steps(section: str) -> list[str]:
    """The commands of a section of deploy/README.md."""
    text = (DEPLOY / "README.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE)


def settings_file(settings: dict[str, str]) -> str:
    """A command that adds settings to the unit's file."""
    lines = "".join(f"{name}={value}\\n" for name, value in settings.items())
    return f"printf %b {shlex.quote(lines)} >> /etc/pixelcore/pixelcore.env"
