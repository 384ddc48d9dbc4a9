"""deploy/ on a real API server with its controllers: everything is taken as it is, and a rollout spares all pods but one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployed.cluster import Cluster, Thing, cluster
from tests.deployed.container import steps
from tests.support.deployments import DEPLOY, STATEFUL_SET
from tests.support.waiting import wait_for

STRICT = ("--validate=strict", "--warnings-as-errors")
NAMES = [f"pixelcore-{number}" for number in range(STATEFUL_SET["replicas"])]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


def ready(running: Cluster) -> list[str]:
    """The pods that are ready, by name."""
    return sorted(pod["metadata"]["name"] for pod in running.get("pods") if is_ready(pod))


def is_ready(pod: Thing) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "what",
    [
        ("--kustomize=deploy/",),
        ("--filename=deploy/pixelcore.yaml",),
        ("--filename=deploy/kubernetes/ship-claim.yaml",),
    ],
)
def test_the_server_takes_the_objects_without_a_warning(running: Cluster, what: tuple[str, ...]) -> None:
    assert "created (server dry run)" in running.kubectl("apply", *STRICT, "--dry-run=server", *what)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("terminationGracePeriodSeconds", "terminationGraceSeconds", "unknown field"),
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "would violate PodSecurity"),
    ],
)
def test_the_server_refuses_what_is_wrong(running: Cluster, tmp_path: Path, old: str, new: str, says: str) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((DEPLOY / "pixelcore.yaml").read_text().replace(old, new))
    assert says in running.kubectl("apply", *STRICT, "--dry-run=server", f"--filename={wrong}", code=1)


@pytest.mark.timeout(900)
def test_the_steps_of_the_page(running: Cluster) -> None:
    commands = [shlex.split(step.replace("\\\n", " "))[1:] for step in steps("Kubernetes")]
    secret, apply, grow, orphan, again = commands
    running.kubectl(*secret)
    running.kubectl(*apply, *STRICT)
    wait_for(lambda: ready(running) == NAMES, 120)
    assert {pod["spec"]["nodeName"] for pod in running.get("pods")} == {"a", "b", "c"}, "one on each node"

    wait_for(lambda: running.get("poddisruptionbudgets")[0]["status"].get("disruptionsAllowed") == 1, 30)
    wait_for(lambda: running.get("statefulsets")[0]["status"].get("availableReplicas") == len(NAMES), 60)

    # Volumes grow, and the StatefulSet is replaced without its pods.
    pods = {pod["metadata"]["uid"] for pod in running.get("pods")}
    running.kubectl(*grow)
    running.kubectl(*orphan)
    running.kubectl(*again, *STRICT)
    wait_for(lambda: running.get("statefulsets")[0]["status"].get("readyReplicas") == len(NAMES), 60)
    assert {pod["metadata"]["uid"] for pod in running.get("pods")} == pods

    # A rolling restart: never more than one pod is away.
    before = {pod["metadata"]["uid"] for pod in running.get("pods")}
    running.kubectl("rollout", "restart", "statefulset/pixelcore")
    fewest = len(NAMES)

    def is_over() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(ready(running)))
        return ready(running) == NAMES and not before & {pod["metadata"]["uid"] for pod in running.get("pods")}

    wait_for(is_over, 300)
    assert fewest >= len(NAMES) - 1

    # A removed gateway leaves its claim, and the Job ships it.
    running.kubectl("scale", "statefulset/pixelcore", "--replicas=2")
    wait_for(lambda: ready(running) == NAMES[:2], 60)
    assert "journal-pixelcore-2" in {claim["metadata"]["name"] for claim in running.get("persistentvolumeclaims")}
    running.kubectl("apply", *STRICT, "--filename=deploy/kubernetes/ship-claim.yaml")
    running.kubectl("wait", "--for=condition=complete", "job/pixelcore-ship-claim", "--timeout=60s")
