"""The rate limits of a gateway's keys: buckets in a file that all its workers share (``pixelcore::keys::rate``)."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from .. import processes
from .._core import Buckets
from ..files import make_directory, remove_own

log = logging.getLogger("pixelcore")

KEYS = 128
"""The keys for which the first file has room, at 32 bytes each. Each further file has room for `GROWTH` times as many."""
GROWTH = 2


class RateLimits:
    """The buckets of the limits, for all workers of one server. A server begins with full buckets.

    If the file cannot be used, the log says so, and each worker has its own buckets.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys = KEYS
        self.buckets = self._open()

    def grow(self, keys: int) -> None:
        """Begin with full buckets for more keys, at least ``keys``. All workers do so, because all of them have the same keys."""
        self._keys *= GROWTH
        while self._keys < keys:
            self._keys *= GROWTH
        self.buckets = self._open()

    def _open(self) -> Buckets:
        server = processes.server_id()
        try:
            make_directory(self._directory)
            remove_own(self._directory, re.compile(rf"(?!{re.escape(server)}-)\d+-(\d+|\?)-\d+\.\w+"))
            return Buckets(self._keys, self._directory / f"{server}-{self._keys}.buckets")
        except OSError as error:
            log.error("rate limits are not shared with other workers: %s: %s", self._directory, error)
            return Buckets(self._keys)
