"""Asks each address of Kafka for an answer, and explains the failures."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Node
from confluent_kafka.admin import AdminClient

from ...settings import KAFKA_PREFIX, Settings
from ...shipping import kafka

# librdkafka puts "ssl://host:port/bootstrap: ", or the node's id, before a message, and "(after 0ms in state CONNECT)" after it.
_FRAME = re.compile(r"(?:(?:\w+://)?(\S+)/(bootstrap|\d+): )?(.*?)(?: \(after \d+ms in state .*\))?", re.DOTALL)
_GRACE_SECONDS = 1.0  # a name may have several addresses, and the first one may fail


class Probe:
    """A client that asks one address for the cluster's ``nodes``, which stay None without an answer."""

    def __init__(self, settings: Settings, address: str, seconds: float) -> None:
        self.address = address
        self.nodes: list[Node] | None = None
        self._settings = settings
        self._error: KafkaError | None = None
        self._give_up_at = time.monotonic() + seconds
        config: dict[str, Any] = {
            **kafka.client_config(settings),
            "bootstrap.servers": address,
            "error_cb": self._noted,
        }
        self._client = AdminClient(config)
        self._answer = self._client.describe_cluster(request_timeout=seconds)

    def _noted(self, error: KafkaError) -> None:
        if self._error is None:
            final = error.code() == KafkaError._AUTHENTICATION
            self._give_up_at = min(self._give_up_at, time.monotonic() + (0 if final else _GRACE_SECONDS))
        # An earlier error says more than "all brokers are down", and an error of TLS more than the end of a connection.
        says_less = self._error is None or self._error.code() == KafkaError._ALL_BROKERS_DOWN
        if says_less or error.code() == KafkaError._SSL:
            self._error = error

    def finished(self) -> bool:
        """Give the client a moment. True if the answer or the failure is known."""
        self._client.poll(0.02)
        if self._answer.done():
            try:
                self.nodes = self._answer.result().nodes
            except KafkaException as error:
                self._error = self._error or error.args[0]
            return True
        return time.monotonic() >= self._give_up_at

    @property
    def diagnosis(self) -> str:
        """Why there is no answer, with the setting to correct."""
        raw = self._error.str() if self._error is not None else ""
        code = self._error.code() if self._error is not None else KafkaError._TIMED_OUT
        frame = _FRAME.fullmatch(raw)
        host, node, text = frame.groups() if frame is not None else (None, None, raw)
        setting, protocol = "BOOTSTRAP_SERVERS", self._settings.kafka.get("security.protocol", "PLAINTEXT")
        if code == KafkaError._AUTHENTICATION:
            setting = "SASL_*"
        elif code == KafkaError._SSL:
            setting = "SSL_*"
        elif "SSL" in text or code == KafkaError._ALL_BROKERS_DOWN:
            setting, text = "SECURITY_PROTOCOL", f"closes the connection; perhaps it does not speak {protocol}"
        elif node not in (None, "bootstrap"):
            text = f"broker {node} has {host} in its advertised.listeners: {text}"
        elif code == KafkaError._BAD_MSG:
            text = f"does not speak Kafka's protocol: {text}"
        elif code == KafkaError._TIMED_OUT:
            text = "no answer in time; check that it is Kafka, and that the network allows the connection"
        return f"{KAFKA_PREFIX}{setting}: {self.address}: {text}"


def probe(settings: Settings, addresses: Iterable[str], seconds: float) -> list[Probe]:
    """Ask all addresses at once, for at most ``seconds``."""
    probes = [Probe(settings, address, seconds) for address in addresses]
    waiting = probes
    while waiting:
        waiting = [one for one in waiting if not one.finished()]
    return probes
