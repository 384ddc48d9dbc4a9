"""One Apache Kafka node (KRaft, combined broker and controller) as a child process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from typing_extensions import Self

from tests.processes import OWN_GROUP

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".kafka" / "lib"
EXTERNAL = "PIXELCORE_TEST_KAFKA"

# Any 16 bytes in base64url would do: a cluster of one never meets another.
CLUSTER_ID = "cGl4ZWxjb3JlLXRlc3RzLQ"


@dataclass(frozen=True)
class External:
    """A broker that somebody else runs."""

    bootstrap: str


def unavailable(what: str) -> NoReturn:
    """End the test: in CI a missing system is a failure, on a contributor's machine a skip that says what to install."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def kafka_jars() -> Path:
    """The directory of Kafka's jars, fetched from Maven Central when they are missing."""
    if shutil.which("java") is None:
        unavailable("no java: install openjdk-17-jre-headless, or run tests/system_packages.sh test")
    if not any(JARS.glob("kafka_2.13-*.jar")):
        if shutil.which("mvn") is None:
            unavailable("no mvn to fetch Kafka with: install maven, or run tests/system_packages.sh test")
        command = ["mvn", "-q", "-B", "-f", str(Path(__file__).with_name("pom.xml")), "dependency:copy-dependencies"]
        subprocess.run([*command, f"-DoutputDirectory={JARS}", "-DincludeScope=runtime"], check=True)
    return JARS


def free_port() -> int:
    """A free TCP port below the range that the kernel gives to outgoing connections.

    A client that keeps trying a closed port of that range connects to itself sooner or later, and a server that is
    started again on its old port finds it taken.
    """
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        lowest = 32768
    while True:
        port = random.SystemRandom().randrange(min(15000, lowest // 2), lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Broker:
    """A broker with its data in ``directory``; after `stop` or `kill` it starts again on the same ports and data.

    ``protocols`` names further listeners by their security protocol, such as ``SASL_PLAINTEXT``, whose addresses are in
    ``addresses``; what else they need is in ``properties``, which count from the first start on.
    """

    def __init__(
        self, directory: Path, properties: Mapping[str, str] | None = None, protocols: tuple[str, ...] = ()
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.controller_port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.addresses = {"PLAINTEXT": self.bootstrap} | {name: f"127.0.0.1:{free_port()}" for name in protocols}
        self.properties = dict(properties or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        # Nobody reads this broker's data again, so there is no reason to wait for an orderly stop.
        self.kill()

    def start(self, timeout: float = 60) -> None:
        """Start the node and return when it answers metadata."""
        if self._process is not None:
            raise RuntimeError("the broker runs already")
        configuration = self._configure()
        self._process = self._java("-Xmx256m", "-XX:+UseSerialGC", "kafka.Kafka", str(configuration))
        try:
            self._wait(self._process, time.monotonic() + timeout)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 30) -> None:
        """End the node in order (SIGTERM)."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End the node at once (SIGKILL); what it wrote stays."""
        self._end(signal.SIGKILL, 30)

    def pause(self) -> None:
        """SIGSTOP: the node lives, and does nothing until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether the node's process lives."""
        return self._process is not None and self._process.poll() is None

    def log(self, lines: int = 30) -> str:
        """The last lines of the node's output."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    @property
    def _log(self) -> Path:
        return self.directory / "kafka.log"

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        # The first compiler tier only: a broker that lives for minutes starts faster and never misses the second one.
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_jars()}/*", *arguments]
        with self._log.open("ab") as output:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **OWN_GROUP
            )

    def _configure(self) -> Path:
        path = self.directory / "server.properties"
        if path.exists():
            return path
        self.directory.mkdir(parents=True, exist_ok=True)
        listeners = ",".join(f"{protocol}://{address}" for protocol, address in self.addresses.items())
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": ",".join(
                ["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in self.addresses)]
            ),
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            # With the default of 9 s a node that was killed waits 12 s before it may come back.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{topic}.replication.factor"] = "1"
            properties[f"{topic}.num.partitions"] = "4"
        for topic in ("transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{topic}.min.isr"] = "1"
        properties.update(self.properties)
        draft = path.with_suffix(".draft")
        draft.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        tool = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(draft), "--ignore-formatted")
        if self._java("-Xmx128m", "-XX:+UseSerialGC", *tool).wait(60) != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{self.log()}")
        draft.rename(path)
        return path

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while not self._answers():
            if process.poll() is not None:
                raise RuntimeError(f"Kafka ended with {process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka did not answer in time:\n{self.log()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
        try:
            # A node that is back but still fenced answers too, with an empty list of brokers.
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the broker does not run")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals, timeout: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.send_signal(number)
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise TimeoutError(f"Kafka did not stop in {timeout} s:\n{self.log()}") from None
