"""alerts.yml and grafana.json in a real Prometheus, which scrapes real gateways with real faults: each alert fires where it should."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.deployed.conftest import Report, version
from tests.kafka.broker import Broker, External, free_port
from tests.support.consents import OTHER, SECRET, listed, record
from tests.support.deployments import DEPLOY, tool
from tests.support.servers import Serve, Server, kafka_settings

SLOW_FLUSHES = """
#define _GNU_SOURCE
#include <unistd.h>
int fsync(int file) { (void)file; return usleep(1500000); }
int fdatasync(int file) { (void)file; return usleep(1500000); }
"""

# Which gateways each alert fires for, and no others but those beside.
FIRING = {
    "PixelcoreDown": {"down"},
    "PixelcoreLosesEvents": {"full"},
    "PixelcoreNotReady": {"full"},
    "PixelcoreJournalNearlyFull": {"full"},
    "PixelcoreLagGrows": {"alone"},
    "PixelcoreStalled": {"alone"},
    "PixelcoreDeliveryErrors": {"alone"},
    "PixelcoreUndeliverable": {"shipping"},
    "PixelcoreUndeliverableNearlyFull": {"shipping"},
    "PixelcoreConsentStale": {"alone"},
    "PixelcoreConsentUnreadable": {"keyless"},
    "PixelcoreRejects": {"rejecting"},
    "PixelcoreFsyncSlow": {"slow"},
    "PixelcoreNoTraffic": {"idle"},
}
# An event that no broker takes fails until it is alone in its batch, and others wait meanwhile.
BESIDE = {name: {"shipping"} for name in ("PixelcoreDeliveryErrors", "PixelcoreLagGrows", "PixelcoreStalled")}


def hurried(text: str) -> str:
    """The rules with seconds for the minutes that they wait, a third of a minute's lag, and a file of 1 kB for large."""
    text = re.sub(r"for: (\d+)m\b", lambda match: f"for: {max(5, int(match[1]))}s", text)
    for threshold, hurried_one in (
        ("pixelcore_lag_seconds > 60", "pixelcore_lag_seconds > 20"),
        ("pixelcore_stalled_seconds > 60", "pixelcore_stalled_seconds > 20"),
        ("pixelcore_undeliverable_bytes > 200e6", "pixelcore_undeliverable_bytes > 1e3"),
    ):
        assert threshold in text
        text = text.replace(threshold, hurried_one)
    return text


@contextmanager
def prometheus(directory: Path, targets: Mapping[str, int]) -> Iterator[str]:
    """A Prometheus with the rules, which calls each target's instance by its name; yields its URL."""
    binary, port = tool("prometheus", "prometheus"), free_port()
    (directory / "alerts.yml").write_text(hurried((DEPLOY / "alerts.yml").read_text()))
    jobs = [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in sorted(targets.items())]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{"job_name": "pixelcore", "static_configs": jobs}],
    }
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration))
    subprocess.run([tool("promtool", "prometheus"), "check", "config", path], check=True, capture_output=True)
    flags = [f"--config.file={path}", f"--storage.tsdb.path={directory}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([binary, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def api(url: str, path: str, **parameters: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
        body = json.load(answer)
    assert body["status"] == "success", body
    return body["data"]


def firing(url: str) -> dict[str, set[str]]:
    """The instances by the alerts that fire for them."""
    found: dict[str, set[str]] = {}
    for alert in api(url, "alerts")["alerts"]:
        if alert["state"] == "firing":
            assert "<no value>" not in alert["annotations"]["summary"]
            found.setdefault(alert["labels"]["alertname"], set()).add(alert["labels"].get("instance", ""))
    return found


def panels() -> Iterator[str]:
    """The expressions of the dashboard, with values for its variables."""
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield (
                target["expr"].replace("$instance", ".*").replace("$__rate_interval", "30s").replace("$__range", "60s")
            )


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_each_alert_fires_for_the_gateway_that_has_its_fault(
    tmp_path: Path, serve: Serve, broker: Broker | External, topic: str, report: Report
) -> None:
    slow = tmp_path / "slow.so"
    (tmp_path / "slow.c").write_text(SLOW_FLUSHES)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", slow, tmp_path / "slow.c"], check=True)
    limited = NewTopic(topic, 1, 1, config={"max.message.bytes": "2000"})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([limited])[topic].result(30)
    settings: dict[str, dict[str, str]] = {
        "well": {},
        "idle": {},
        "down": {},
        "full": {"PIXELCORE_JOURNAL_MAX_BYTES": "1MiB", "PIXELCORE_JOURNAL_SEGMENT_BYTES": "64KiB"},
        "alone": {
            "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
            "PIXELCORE_CONSENT_SECRET": SECRET,
        },
        "keyless": {"PIXELCORE_CONSENT_SECRET": SECRET},
        "shipping": kafka_settings(broker.bootstrap, topic),
        "rejecting": {},
        "slow": {"LD_PRELOAD": str(slow)},
    }
    ports = {name: free_port() for name in settings}
    servers = {
        name: serve({"PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{ports[name]}", **chosen})
        for name, chosen in settings.items()
    }
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == FIRING.keys()
    with prometheus(tmp_path, ports) as url:
        wait_for_scrapes(url, len(servers))
        servers["down"].kill()
        listed(servers["keyless"].data_dir / "consents", [record("user_1", "none", 1_796_040_000_000, OTHER)])
        assert servers["shipping"].get(f"/v1/pixel/track?wk=dk_1&e=Large&p.a={'x' * 4000}").is_pixel
        seen: dict[str, set[str]] = {}
        deadline = time.monotonic() + 240
        while missing := {alert: more for alert, each in FIRING.items() if (more := each - seen.get(alert, set()))}:
            assert time.monotonic() < deadline, missing
            feed(servers)
            for alert, instances in firing(url).items():
                seen.setdefault(alert, set()).update(instances)
            elsewhere = {alert: each - FIRING[alert] - BESIDE.get(alert, set()) for alert, each in seen.items()}
            assert not any(elsewhere.values()), elsewhere
            time.sleep(0.2)
        empty = [expression for expression in panels() if not api(url, "query", query=expression)["result"]]
        assert not empty, "a panel without data"
        name = version(tool("prometheus", "prometheus"), "--version").split(" (")[0]
        report("alerts fire", name, sent=len(FIRING), arrived=len(seen), lost=len(FIRING) - len(seen))


def wait_for_scrapes(url: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if len(api(url, "query", query="pixelcore_workers > 0")["result"]) == count:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def feed(servers: Mapping[str, Server]) -> None:
    """One request for each gateway but the idle one, and those that make the faults."""
    for name in ("well", "keyless", "rejecting", "alone", "shipping", "slow"):
        assert servers[name].get("/v1/pixel/track?wk=dk_1&e=Hello").is_pixel
    assert servers["rejecting"].get("/v1/pixel/track?wk=dk_1").is_pixel
    for _ in range(20):
        assert servers["full"].get(f"/v1/pixel/track?wk=dk_1&e=Large&p.a={'x' * 7000}").is_pixel
