"""One Apache Kafka node (KRaft, combined broker and controller) as a child process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from typing_extensions import Self

from tests.support.paths import ROOT
from tests.support.processes import OWN_GROUP

JARS = ROOT / ".kafka" / "lib"
EXTERNAL = "PIXELCORE_TEST_KAFKA"

# Any 16 bytes in base64url: a cluster of one node never meets another.
CLUSTER_ID = "cGl4ZWxjb3JlLXRlc3RzLQ"


@dataclass(frozen=True)
class External:
    """A broker that this run did not start."""

    bootstrap: str


def unavailable(what: str) -> NoReturn:
    """End the test. A missing system is a failure in CI, and a skip with advice on a contributor's machine."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def kafka_jars(version: str | None = None) -> Path:
    """The directory of Kafka's jars, of pom.xml's version or another one. Missing jars are fetched from Maven Central."""
    jars = JARS if version is None else JARS.with_name(f"lib-{version}")
    if shutil.which("java") is None:
        unavailable("no java: install openjdk-17-jre-headless, or run tests/system_packages.sh test")
    if not any(jars.glob("kafka_2.13-*.jar")):
        if shutil.which("mvn") is None:
            unavailable("no mvn to fetch Kafka with: install maven, or run tests/system_packages.sh test")
        command = ["mvn", "-q", "-B", "-f", str(Path(__file__).with_name("pom.xml")), "dependency:copy-dependencies"]
        chosen = [] if version is None else [f"-Dkafka.version={version}"]
        subprocess.run([*command, *chosen, f"-DoutputDirectory={jars}", "-DincludeScope=runtime"], check=True)
    return jars


_marks: deque[socket.socket] = deque()
MARKS = 100
"""The number of ports that this process keeps for itself, the last ones."""


def free_port() -> int:
    """A free TCP port below the range that the kernel gives to outgoing connections.

    A client that keeps trying a closed port of that range connects to itself sooner or later, and a server that is
    started again on its old port finds it taken.

    No other process of the tests gets the port before its server listens, or while that is down: the UDP port of the
    same number, which nobody uses, marks it as taken.
    """
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        lowest = 32768
    while True:
        port = random.SystemRandom().randrange(min(15000, lowest // 2), lowest)
        mark = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                mark.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        _marks.append(mark)
        if len(_marks) > MARKS:
            _marks.popleft().close()
        return port


class Broker:
    """A broker with its data in ``directory``; after `stop` or `kill` it starts again on the same ports and data.

    ``protocols`` names further listeners by their security protocol, such as ``SASL_PLAINTEXT``, whose addresses are in
    ``addresses``; what else they need is in ``properties``. Those and the ``version`` count from the next start on.
    """

    def __init__(
        self,
        directory: Path,
        properties: Mapping[str, str] | None = None,
        protocols: tuple[str, ...] = (),
        version: str | None = None,
    ) -> None:
        self.directory = directory
        self.version = version
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
        self.close()

    def close(self) -> None:
        """End it. Nobody reads its data again, so an orderly stop is not needed."""
        self.kill()

    def start(self, timeout: float = 120) -> None:
        """Start the node, and return when it answers requests for metadata."""
        if self._process is not None:
            raise RuntimeError("the broker runs already")
        self._process = self._java("-Xmx256m", "-XX:+UseSerialGC", "kafka.Kafka", str(self._configure()))
        try:
            self._wait(self._process, time.monotonic() + timeout)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 90) -> None:
        """End the node in order (SIGTERM)."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End the node at once (SIGKILL). Its data stays."""
        self._end(signal.SIGKILL, 60)

    def pause(self) -> None:
        """Stop the node with SIGSTOP: it lives, but does nothing until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def tool(self, *arguments: str) -> None:
        """Run one of Kafka's own tools, by the name of its class. Raises `RuntimeError` with what it said."""
        if self._java("-Xmx128m", "-XX:+UseSerialGC", *arguments).wait(120) != 0:
            raise RuntimeError(f"{' '.join(arguments)}:\n{self.log()}")

    @property
    def pid(self) -> int:
        """The node's process. Raises `RuntimeError` if it does not run."""
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process.pid

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
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_jars(self.version)}/*", *arguments]
        with self._log.open("ab") as output:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **OWN_GROUP
            )

    def _configure(self) -> Path:
        path = self.directory / "server.properties"
        is_first = not path.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in self._all_properties().items()))
        if is_first:
            self._format(path)
        return path

    def _all_properties(self) -> dict[str, str]:
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
            # With the default of 9 s, a killed node waits 12 s before it may come back.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{topic}.replication.factor"] = "1"
            properties[f"{topic}.num.partitions"] = "4"
        for topic in ("transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{topic}.min.isr"] = "1"
        return properties | self.properties

    def _format(self, configuration: Path) -> None:
        self.tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(configuration), "--ignore-formatted")

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while not self._answers():
            if process.poll() is not None:
                raise RuntimeError(f"Kafka ended with {process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka did not answer in time:\n{self.log()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=30).close()
        except OSError:
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
        try:
            # A node that is back but still fenced also answers, with an empty list of brokers.
            return bool(client.list_topics(timeout=10).brokers)
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
            process.wait(60)
            raise TimeoutError(f"Kafka did not stop in {timeout} s:\n{self.log()}") from None
