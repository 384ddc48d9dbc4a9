"""The input and the results of checks."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

from confluent_kafka.admin import AdminClient

from ...settings import Settings
from ...shipping import kafka


class Finding(NamedTuple):
    """The result of a check, as one line."""

    level: Literal["ok", "warn", "FAIL", "skip"]
    text: str


class Failed(Exception):
    """A check has failed; the message names the error and the setting."""


class Setup:
    """The input of the checks, and the facts that earlier checks provide for later ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.brokers = 0
        self.nodes: list[int] = []
        """The brokers' ids."""
        self.checkpoint_partitions = 0
        """The partitions of the checkpoint topic; 0 if it cannot be used."""
        self.broker_time: float | None = None
        self._until = 0.0

    def begin(self, timeout: float) -> None:
        """Begin the next step. It gets 0.8 of the time, because its own timeout says more than an abandoned step."""
        self._until = time.monotonic() + 0.8 * timeout

    @property
    def seconds(self) -> float:
        """The remaining seconds of the step."""
        return max(0.1, self._until - time.monotonic())

    def admin(self) -> AdminClient:
        """A client for one check. Clients are not shared: if a name server hangs, closing the client also hangs."""
        return AdminClient(kafka.client_config(self.settings))
