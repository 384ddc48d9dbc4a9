"""deploy/kustomization.yaml and deploy/kubernetes/: their schemas, and that they fit pixelcore.yaml."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.deployments import CONTAINER, DEPLOY, OBJECTS, POD, STATEFUL_SET, objects

AROUND = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))}
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
LABELS = STATEFUL_SET["template"]["metadata"]["labels"]


# pod-monitor.yaml is of the Prometheus Operator, whose schema is not Kubernetes's.
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", ["ingress", "network-policy", "ship-claim"])
def test_kubernetes_takes_what_is_around(name: str, version: str) -> None:
    kubernetes_validate.validate(AROUND[name], version, strict=True)


def test_the_base_has_files_that_exist_and_the_images_name() -> None:
    text = (DEPLOY / "kustomization.yaml").read_text()
    assert all((DEPLOY / name).is_file() for name in KUSTOMIZATION["resources"])
    assert all(f"kubernetes/{name}.yaml" in text for name in AROUND if name != "ship-claim")
    (image,) = KUSTOMIZATION["images"]
    assert CONTAINER["image"] == f"{image['name']}:{image['newTag']}" == f"{image['newName']}:{image['newTag']}"


def test_what_is_around_fits() -> None:
    (path,) = AROUND["ingress"]["spec"]["rules"][0]["http"]["paths"]
    services = {thing["metadata"]["name"]: thing["spec"]["ports"] for thing in objects("Service")}
    backend = path["backend"]["service"]
    assert backend["port"]["name"] in [port["name"] for port in services[backend["name"]]]
    assert AROUND["network-policy"]["spec"]["podSelector"]["matchLabels"] == LABELS
    assert AROUND["pod-monitor"]["spec"]["selector"]["matchLabels"] == LABELS
    named = {port["name"] for port in CONTAINER["ports"]}
    monitored = {endpoint["port"] for endpoint in AROUND["pod-monitor"]["spec"]["podMetricsEndpoints"]}
    allowed = {port["port"] for rule in AROUND["network-policy"]["spec"]["ingress"] for port in rule["ports"]}
    assert monitored == {"metrics"}
    assert allowed == named


def test_the_job_is_a_gateway_that_only_ships() -> None:
    pod: dict[str, Any] = AROUND["ship-claim"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["forward"]
    same = ("image", "envFrom", "securityContext")
    assert all(container[member] == CONTAINER[member] for member in same)
    assert pod["securityContext"] == POD["securityContext"]
    (claim,) = STATEFUL_SET["volumeClaimTemplates"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == f"{claim['metadata']['name']}-pixelcore-2"
    # No Service or disruption budget takes it for a gateway.
    assert AROUND["ship-claim"]["spec"]["template"]["metadata"]["labels"] != LABELS
    assert len(OBJECTS) == len({(thing["kind"], thing["metadata"]["name"]) for thing in OBJECTS})
