"""deploy/compose.yaml, brought up by podman-compose: each answered request is an event of its Kafka, also after a kill of the gateway."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployed.conftest import IMAGE, Report, version
from tests.deployed.container import steps
from tests.support.deployments import COMPOSE, DEPLOY
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

PODMAN_COMPOSE = str(Path(sys.executable).with_name("podman-compose"))
# Limits that a container within a container may give, and what runs without a systemd.
ENGINE = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=10000:10000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""


class Project:
    """The project of compose.yaml, with the limits of this machine where they are below those of the file."""

    def __init__(self, directory: Path) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        engine = directory / "containers.conf"
        engine.write_text(ENGINE.format(files=files))
        limits = directory / "limits.yaml"
        wanted = {"nofile": min(COMPOSE["pixelcore"]["ulimits"]["nofile"], files), "nproc": 10000}
        limits.write_text(json.dumps({"services": {"pixelcore": {"ulimits": wanted}}}))
        self._environment = os.environ | {"CONTAINERS_CONF": str(engine)}
        self._files = ("--file", str(DEPLOY / "compose.yaml"), "--file", str(limits))

    def run(self, *command: str) -> str:
        """The output of a command."""
        ended = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
        return ended.stdout

    def compose(self, *arguments: str) -> str:
        """The output of a subcommand of podman-compose."""
        return self.run(PODMAN_COMPOSE, *self._files, *arguments)

    def gateway(self, template: str) -> str:
        """What podman says of the gateway's container."""
        return self.run("podman", "inspect", "--format", template, "pixelcore_pixelcore_1").strip()

    def consumed(self) -> Counter[str]:
        """The ids of the events, by the command of deploy/README.md, which stops here when nothing comes for 20 s."""
        (command,) = (step for step in steps("Docker") if " exec " in step)
        within = shlex.split(command.replace("\\\n", " ").split(" exec ")[1])
        printed = self.compose("exec", "-T", *within, "--timeout-ms", "20000")
        return Counter(json.loads(line)["messageId"] for line in printed.splitlines() if line.startswith("{"))


def status(path: str, port: int = 8080) -> int:
    """The code of the gateway's answer; 0 without one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def is_ready() -> bool:
    return status("/readyz") == 200


def send(first: int, count: int) -> None:
    for number in range(first, first + count):
        assert status(f"/v1/pixel/track?wk=dk_test_1&e=Hello&mid={number}") == 200


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The project, up until the test ends, with the image of `make deploy-image`."""
    project = Project(tmp_path)
    project.run("podman", "tag", IMAGE, f"localhost/{COMPOSE['pixelcore']['image']}")
    try:
        project.compose("up", "--detach")
        yield project
    finally:
        print(project.compose("logs"))
        project.compose("down", "--volumes")


@pytest.mark.timeout(900)
def test_compose_brings_a_gateway_and_its_kafka_up(project: Project, report: Report) -> None:
    wait_for(is_ready, 120)
    send(0, 200)
    process = project.gateway("{{.State.Pid}}")
    os.kill(int(process), signal.SIGKILL)
    wait_for(lambda: project.gateway("{{.State.Pid}}") not in ("0", process) and is_ready(), 60)
    send(200, 100)
    project.compose("restart", "pixelcore")
    wait_for(is_ready, 60)
    send(300, 100)
    found = project.consumed()
    name = f"{version(PODMAN_COMPOSE, '--version')}, {version('podman', '--version')}"
    report("compose", name, sent=400, arrived=found.total(), lost=400 - len(found))
    assert set(found.values()) == {1}
    assert status("/metrics", 9108) == 200
    for service in COMPOSE:  # as the engine asks by itself, where it has a systemd
        project.run("podman", "healthcheck", "run", f"pixelcore_{service}_1")
    assert project.gateway("{{.HostConfig.ReadonlyRootfs}} {{.EffectiveCaps}}") == "true []"
