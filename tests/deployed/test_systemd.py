"""deploy/pixelcore.service under a real systemd, installed by the steps of deploy/README.md, with a real broker."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.deployed.conftest import Report
from tests.deployed.container import Container, booted, settings_file, steps
from tests.kafka.broker import Broker, External
from tests.kafka.topics import read_committed
from tests.support.load import Load
from tests.support.servers import kafka_settings
from tests.support.waiting import wait_for

PORT = 8080


def is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def main_pid(container: Container) -> str:
    return container.run("systemctl show --property=MainPID --value pixelcore").strip()


def errors(container: Container) -> str:
    return container.run("journalctl --unit=pixelcore --priority=err --output=cat --quiet")


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_the_unit_delivers(tmp_path: Path, broker: Broker | External, topic: str, report: Report) -> None:
    """1,000 requests, then kill -9 of the server, of a worker, and a restart under load: all answered events are in the topic."""
    with booted(tmp_path) as container:
        for step in steps("systemd"):
            container.run(step)
            if "/etc/pixelcore/pixelcore.env" in step:
                container.run(settings_file(kafka_settings(broker.bootstrap, topic)))
        wait_for(is_ready, 60)
        assert container.run("systemctl is-enabled pixelcore") == "enabled\n"
        with Load(PORT, rate=400, seconds=300) as load:
            load.wait(1000, 120)
        assert not load.failures
        kept = read_committed(broker.bootstrap, topic, 60, expect=len(load.answered))
        assert Counter(message.mid for message in kept) == Counter(load.answered)
        assert errors(container) == "", "nothing was wrong"

        with Load(PORT, rate=400, seconds=300) as second:
            second.wait(200, 60)
            before = main_pid(container)
            container.run("systemctl kill --signal=KILL --kill-who=main pixelcore")
            wait_for(lambda: main_pid(container) not in (before, "0"), 60)
            wait_for(is_ready, 60)
            second.wait(200, 60)
            container.run(
                "kill -9 $(pgrep --parent $(systemctl show --property=MainPID --value pixelcore) --full multiprocessing.spawn\\|serve | head -1)"
            )
            wait_for(lambda: "orker" in errors(container), 30)
            second.wait(200, 60)
            container.run("systemctl restart pixelcore")
            wait_for(is_ready, 60)
            second.wait(200, 60)
        container.run("systemctl stop pixelcore")
        assert container.run("systemctl show --property=Result --value pixelcore") == "success\n"
        found = Counter(message.mid for message in read_committed(broker.bootstrap, topic, 60))
        sent, answered = load.sent | second.sent, load.answered | second.answered
        assert not found.keys() - sent
        assert found.total() == len(found), "repeated"
        version = container.run("systemctl --version").splitlines()[0]
        name = f"{version}, kill -9 of server and worker, restart"
        report("systemd", name, sent=len(sent), arrived=found.total(), lost=len(answered - found.keys()))
