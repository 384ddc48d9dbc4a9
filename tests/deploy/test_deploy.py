"""deploy/: each file is read by its own tool, unless that needs a daemon, and pixelcore accepts its settings."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import pixelcore
import pytest
import tomli
from packaging.requirements import Requirement
from pixelcore import settings
from pixelcore.commands.main import main
from pixelcore.shipping import kafka

from tests.kafka.broker import CLUSTER_ID, Broker, kafka_jars
from tests.kafka.topics import Reader
from tests.support.deployments import (
    COMPOSE,
    CONTAINER,
    DEPLOY,
    IMAGE,
    IMAGE_ENV,
    OBJECTS,
    POD,
    STATEFUL_SET,
    objects,
    stages,
    tool,
)
from tests.support.paths import ROOT
from tests.support.servers import Serve, clean_environment, kafka_settings

DATA_DIR = "/var/lib/pixelcore"
UID = 10001
# What a worker gets beside PIXELCORE_DRAIN_SECONDS: workers_kill_timeout in cli_serve.py.
KILL_SECONDS = 10


UNIT_TEXT = (DEPLOY / "pixelcore.service").read_text()


def unit() -> dict[str, list[str]]:
    """The values of the section [Service], each name's in order; configparser takes a repeated name once."""
    service = UNIT_TEXT.split("[Service]")[1].split("[Install]")[0]
    found: dict[str, list[str]] = {}
    for line in service.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


UNIT = unit()


def env_file(*, examples: bool) -> dict[str, str]:
    """The variables of pixelcore.env, or those with its examples."""
    text = (DEPLOY / "pixelcore.env").read_text()
    return dict(re.findall(rf"^{'#?' if examples else ''}(PIXELCORE_[A-Z_]+)=(.*)$", text, re.MULTILINE))


@dataclass(frozen=True)
class Deployment:
    """The way in which one of the files runs pixelcore."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    grace_seconds: float


DEPLOYMENTS = [
    Deployment("docker run", json.loads(IMAGE["CMD"][0]), IMAGE_ENV, float("inf")),
    Deployment(
        "compose",
        COMPOSE["pixelcore"]["command"],
        IMAGE_ENV | COMPOSE["pixelcore"]["environment"],
        compose_spec.parse_duration(COMPOSE["pixelcore"]["stop_grace_period"]),
    ),
    *(
        Deployment(
            f"systemd, {name}",
            shlex.split(UNIT["ExecStart"][0])[1:],
            dict([UNIT["Environment"][0].split("=", 1)]) | env_file(examples=examples),
            float(UNIT["TimeoutStopSec"][0]),
        )
        for name, examples in (("as it is", False), ("all examples", True))
    ),
    Deployment(
        "Kubernetes",
        CONTAINER["args"],
        IMAGE_ENV | objects("ConfigMap")[0]["data"],
        POD["terminationGracePeriodSeconds"],
    ),
]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)
def test_pixelcore_takes_the_settings_and_flags(deployment: Deployment) -> None:
    ours = {name: value for name, value in deployment.environment.items() if name.startswith(settings.PREFIX)}
    chosen = settings.load(ours)
    assert str(chosen.data_dir) == DATA_DIR
    assert deployment.grace_seconds > chosen.handover_seconds + chosen.drain_seconds + KILL_SECONDS
    if chosen.ships:
        kafka.producer(chosen)  # raises for what librdkafka does not know
    command, *flags = deployment.arguments
    context = main.commands[command].make_context(command, flags)  # raises for a flag that is unknown or wrong
    assert (context.params["bind"] or chosen.bind).endswith(":8080"), "the port of the probes"


def test_images_are_pinned() -> None:
    toolchain = re.search(r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert toolchain is not None
    bases = [stage["FROM"][0] for stage in stages()]
    assert bases == [f"rust:{toolchain[1]}-slim-bookworm AS wheel", "python:3.13-slim-bookworm"]
    assert re.fullmatch(r"apache/kafka:4\.\d+\.\d+", COMPOSE["kafka"]["image"])
    assert COMPOSE["pixelcore"]["image"] == f"pixelcore:{pixelcore.__version__}"
    assert CONTAINER["image"].endswith(f"/pixelcore:{pixelcore.__version__}")


def test_the_dockerfile_has_no_lint() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    ended = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ended.stdout + ended.stderr, ended.returncode) == ("", 0)


def test_the_image_runs_as_a_user_with_a_number() -> None:
    assert IMAGE["USER"] == [f"{UID}:{UID}"]
    assert IMAGE["VOLUME"] == [DATA_DIR]
    assert IMAGE["STOPSIGNAL"] == ["SIGTERM"]
    assert json.loads(IMAGE["ENTRYPOINT"][0]) == ["pixelcore"], "no shell between the signal and Granian"


def health_check(data_dir: Path) -> tuple[int, str]:
    """The exit code of the image's HEALTHCHECK and what it says, with a proxy that answers nobody."""
    program = json.loads(IMAGE["HEALTHCHECK"][0].split(" CMD ")[1])
    assert program[0] == "pixelcore"
    environment = clean_environment({"http_proxy": "http://127.0.0.1:1", "PIXELCORE_DATA_DIR": str(data_dir)})
    command = [sys.executable, "-m", *program]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_the_health_check_asks_what_runs(serve: Serve) -> None:
    server = serve()
    assert server.process is not None
    assert health_check(server.data_dir) == (0, "ok\n")
    # A server that is there and does not answer.
    processes = [server.process.pid, *server.workers()]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    code, said = health_check(server.data_dir)
    assert (code, said) == (1, f"Error: {server.url}/healthz: timed out\n")
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    nothing = (0, "no gateway serves with this data directory\n")
    server.kill()
    assert (server.data_dir / "gateway.url").exists(), "left by the kill"
    assert health_check(server.data_dir) == nothing
    server.start()
    assert server.terminate() == 0
    assert not (server.data_dir / "gateway.url").exists()
    assert health_check(server.data_dir) == nothing
    assert health_check(server.data_dir / "nothing") == nothing


def test_the_context_has_what_the_wheel_is_made_of() -> None:
    """The allow list of .dockerignore is what Cargo and maturin read."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {
        *("Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "pyproject.toml", "python", "rust"),
        "deploy/requirements.txt",
    }
    assert all((ROOT / name).exists() for name in allowed)


def test_compose_follows_its_specification() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    parsed = compose_spec.PyCompose.from_yaml(text)
    assert sorted(parsed.service_names()) == ["kafka", "pixelcore"]
    with pytest.raises(ValueError, match="readonly"):
        compose_spec.PyCompose.from_yaml(text.replace("read_only:", "readonly:"))


def test_compose_gives_no_rights_away() -> None:
    gateway = COMPOSE["pixelcore"]
    assert gateway["read_only"] is True
    assert gateway["volumes"] == [f"journal:{DATA_DIR}"]
    for service in COMPOSE.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    environment = COMPOSE["kafka"]["environment"]
    bootstrap = gateway["environment"]["PIXELCORE_KAFKA_BOOTSTRAP_SERVERS"]
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{bootstrap}"
    assert COMPOSE["kafka"]["volumes"] == [f"kafka:{environment['KAFKA_LOG_DIRS']}"]


def compose_broker(directory: Path) -> Broker:
    """A broker with the properties of compose.yaml and no others, as the image makes them, but local addresses."""
    broker = Broker(directory)
    variables = COMPOSE["kafka"]["environment"].items()
    properties = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in variables
        if name.startswith("KAFKA_")
    }
    properties |= {
        "listeners": f"PLAINTEXT://{broker.bootstrap},CONTROLLER://127.0.0.1:{broker.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{broker.bootstrap}",
        "controller.quorum.voters": f"1@127.0.0.1:{broker.controller_port}",
        "log.dirs": str(directory / "data"),
    }
    directory.mkdir()
    path = directory / "server.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    java = ("java", "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_jars()}/*")
    storage = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(path))
    subprocess.run([*java, *storage], check=True, capture_output=True)
    return broker


@pytest.mark.kafka
def test_composes_kafka_takes_events(tmp_path: Path, serve: Serve) -> None:
    mid, topic = uuid.uuid4().hex, "raw-events"
    with compose_broker(tmp_path / "kafka") as broker:
        server = serve(kafka_settings(broker.bootstrap, topic))
        assert server.get(f"/v1/pixel/track?wk=dk_test_1&e=Hello&mid={mid}").is_pixel
        with Reader(broker.bootstrap, topic) as reader:
            assert reader.until(lambda messages: [message.mid for message in messages] == [mid], 60)
        server.kill()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    path = tmp_path / "pixelcore.service"
    # The program must exist where the unit says.
    path.write_text(UNIT_TEXT.replace("/opt/pixelcore/bin/pixelcore", str(Path(sys.executable).with_name("pixelcore"))))
    verified = subprocess.run([analyze, "verify", path], capture_output=True, text=True, check=False)
    assert (verified.stdout + verified.stderr, verified.returncode) == ("", 0)
    # On systemd's scale from 0, locked up, to 100, unprotected.
    flags = ("--offline=true", "--threshold=20")
    rated = subprocess.run([analyze, "security", *flags, path], capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout + rated.stderr


def test_the_unit_writes_to_its_state_directory_alone() -> None:
    assert UNIT["StateDirectory"] == ["pixelcore"]
    assert UNIT["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in UNIT
    assert UNIT["KillMode"] == ["mixed"]
    assert UNIT["EnvironmentFile"] == ["-/etc/pixelcore/pixelcore.env"]


# The oldest version with a schema that the file claims to suit, and the newest there is.
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: f"{thing['kind']} {thing['metadata']['name']}")
def test_kubernetes_takes_the_objects(thing: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(thing, version, strict=True)


def test_the_names_within_kubernetes_fit() -> None:
    selectors = [service["spec"]["selector"] for service in objects("Service")]
    selectors += [thing["spec"]["selector"]["matchLabels"] for thing in OBJECTS if "PodD" in thing["kind"]]
    selectors += [STATEFUL_SET["selector"]["matchLabels"]]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in POD["topologySpreadConstraints"]]
    assert all(selector == STATEFUL_SET["template"]["metadata"]["labels"] for selector in selectors)
    headless = [service["metadata"]["name"] for service in objects("Service") if service["spec"].get("clusterIP")]
    assert [STATEFUL_SET["serviceName"]] == headless
    assert CONTAINER["envFrom"][0]["configMapRef"]["name"] == objects("ConfigMap")[0]["metadata"]["name"]
    volumes = {volume["name"] for volume in POD["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in STATEFUL_SET["volumeClaimTemplates"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == volumes
    assert CONTAINER["volumeMounts"][0]["mountPath"] == DATA_DIR


def test_the_pod_security_standard_is_the_restricted_one() -> None:
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert (pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) == (UID, UID, UID)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_the_volume_is_larger_than_the_budgets() -> None:
    chosen = settings.load(objects("ConfigMap")[0]["data"])
    claim = STATEFUL_SET["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    # A tenth for the file system, and for events that no broker takes.
    assert int(claim.removesuffix("Gi")) * 2**30 * 0.9 > chosen.journal_max_bytes + chosen.rejected_max_bytes


def test_the_images_dependencies_are_those_of_the_wheel() -> None:
    """Each is pinned, and within what pyproject.toml allows."""
    pinned = dict(re.findall(r"^([a-z-]+)==(\S+) \\$", (DEPLOY / "requirements.txt").read_text(), re.MULTILINE))
    for requirement in map(Requirement, tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
