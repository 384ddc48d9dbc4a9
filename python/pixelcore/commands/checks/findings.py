"""What checks are given, and what they find."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

from confluent_kafka.admin import AdminClient

from ...settings import Settings
from ...shipping import kafka


class Finding(NamedTuple):
    """What a check found, as one line."""

    level: Literal["ok", "warn", "FAIL", "skip"]
    text: str


class Failed(Exception):
    """What is wrong, with the setting that it is about."""


class Setup:
    """What the checks are given, and what earlier ones learnt for later ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.exactly_once = settings.delivery == "exactly-once"
        self.brokers = 0
        self.checkpoints_usable = False
        self.broker_time: float | None = None
        self._until = 0.0

    def begin(self, timeout: float) -> None:
        """Begin the next step. One that reports its own timeout says more than one that is given up."""
        self._until = time.monotonic() + 0.8 * timeout

    @property
    def seconds(self) -> float:
        """What is left of the step's time."""
        return max(0.1, self._until - time.monotonic())

    def admin(self) -> AdminClient:
        """A client for one check. None is shared, since the end of one whose name server hangs would hang, too."""
        return AdminClient(kafka.client_config(self.settings))
