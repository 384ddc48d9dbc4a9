"""The names of the metrics, their use in dashboard and alert rules, and their port."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from pixelcore import settings
from pixelcore.observing import metrics
from prometheus_client import CollectorRegistry

from tests.support.deployments import COMPOSE, CONTAINER, DEPLOY, IMAGE, IMAGE_ENV, STATEFUL_SET, objects

NOBODY = {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


def registered(directory: Path, environment: dict[str, str]) -> dict[str, set[str]]:
    """Every name that is served, with its labels."""
    registry = CollectorRegistry()
    registry.register(metrics.Gateway(settings.load({"PIXELCORE_DATA_DIR": str(directory), **environment}), directory))
    names: dict[str, set[str]] = {}
    for family in registry.collect():
        assert family.documentation.endswith(".")
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    return names


def test_names(tmp_path: Path) -> None:
    """They follow Prometheus's conventions, and metrics about Kafka are absent without Kafka."""
    with_kafka, without = registered(tmp_path, NOBODY), registered(tmp_path, {})
    assert with_kafka["pixelcore_requests_total"] == {"type", "outcome"}
    assert with_kafka["pixelcore_build_info"] == {"version"}
    for definition in metrics.METRICS:
        suffix = {metrics.C: "_total", metrics.G: "", metrics.H: "_bucket"}[definition.kind]
        name = f"pixelcore_{definition.name}{suffix}"
        assert re.fullmatch(r"pixelcore(_[a-z]+)+", name)
        assert with_kafka[name] == {*definition.labels, *({"le"} if definition.kind is metrics.H else ())}
        assert (name in without) != definition.of_kafka
    assert set(without) < set(with_kafka)


# Labels that Prometheus adds to whatever it scrapes.
SCRAPED = {"instance", "job"}
NAME = re.compile(r"\bpixelcore_\w+")
SELECTOR = re.compile(r"(pixelcore_\w+)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|on|ignoring|without) \(([^)]*)\)")


def rules() -> Iterator[tuple[str, str]]:
    """The expressions of the alerts, each with its text."""
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            yield rule["expr"], rule["annotations"]["summary"]


def panels() -> Iterator[tuple[str, str]]:
    """The expressions of the dashboard, each with its legend."""
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    for variable in dashboard["templating"]["list"]:
        yield variable["query"], ""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


@pytest.mark.parametrize("expressions", [rules, panels])
def test_dashboard_and_alerts_use_names_that_are_served(
    tmp_path: Path, expressions: type[Iterable[tuple[str, str]]]
) -> None:
    served = registered(tmp_path, NOBODY)
    for expression, text in expressions():
        names = set(NAME.findall(expression))
        assert names <= served.keys(), expression
        labels = SCRAPED.union(*(served[name] for name in names))
        for name, matchers in SELECTOR.findall(expression):
            assert set(re.findall(r"(\w+)(?==|!=)", re.sub(r'"[^"]*"', '""', matchers))) <= served[name] | SCRAPED
        grouped = [label.strip() for group in GROUPING.findall(expression) for label in group.split(",")]
        shown = re.findall(r"\$labels\.(\w+)", text) + re.findall(r"\{\{(\w+)\}\}", text)
        assert {*grouped, *shown} <= labels, expression


def test_the_dashboard_shows_all_there_is(tmp_path: Path) -> None:
    used = {name for expression, _ in panels() for name in NAME.findall(expression)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in registered(tmp_path, NOBODY)}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in used} == families


def test_containers_show_their_metrics_to_those_who_should_see_them() -> None:
    host, _, port = settings.load(
        {"PIXELCORE_METRICS_ADDRESS": IMAGE_ENV["PIXELCORE_METRICS_ADDRESS"]}
    ).metrics_address.rpartition(":")
    assert host == "0.0.0.0", "loopback would be the container's own"
    assert IMAGE["EXPOSE"] == [f"8080 {port}"]
    assert COMPOSE["pixelcore"]["ports"] == ["8080:8080", f"127.0.0.1:{port}:{port}"]
    assert {"name": "metrics", "containerPort": int(port)} in CONTAINER["ports"]
    annotations = STATEFUL_SET["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == port
    served = [entry["targetPort"] for service in objects("Service") for entry in service["spec"]["ports"]]
    assert set(served) == {"http"}
