"""The rate limits of a gateway's keys, shared by its workers: each tells the others what it was asked for."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TypedDict

from .._core import Collector
from ..files import replace

log = logging.getLogger("pixelcore")

ROUND_SECONDS = 1.0
# A worker that has told nothing for so long is stopped or gone, and needs no share.
SILENT_SECONDS = 3.0
FORGOTTEN_SECONDS = 60.0


class Demand(TypedDict):
    """What a worker was asked for: requests by key, within so many seconds."""

    seconds: float
    demand: dict[str, int]


class RateShares:
    """This worker's shares of the keys' rate limits.

    Once in a round each worker tells its demand in a file that is named by its process, reads those of the others, and
    works out its own share: what `pixelcore::keys::rate` says is fair.
    """

    def __init__(self, directory: Path, collector: Collector) -> None:
        self._directory = directory
        self._collector = collector
        self._told = directory / f"{os.getpid()}.json"
        self._trouble: str | None = None
        self._asked: set[str] = set()
        self._since = time.monotonic()
        self._tell({"seconds": ROUND_SECONDS, "demand": {}})
        self.share = 1 / (1 + len(self._others()))
        """This worker's part of the limit of a key that nobody has asked for."""

    def exchange(self) -> None:
        """Tell, hear and divide, if the last time is a round ago."""
        seconds = time.monotonic() - self._since
        if seconds < ROUND_SECONDS / 2:
            return
        self._since += seconds
        mine: Demand = {"seconds": seconds, "demand": self._collector.demand()}
        self._tell(mine)
        others = self._others()
        share = 1 / (1 + len(others))
        if share != self.share:
            self.share = share
            self._collector.set_shares(share)
        if not others:
            return
        asked = set(mine["demand"]).union(*(other["demand"] for other in others))
        # Once more after the last demand, which makes the shares even again.
        for key in asked | self._asked:
            theirs = [round(other["demand"].get(key, 0) * seconds / other["seconds"]) for other in others]
            self._collector.divide(key, mine["demand"].get(key, 0), theirs, seconds)
        self._asked = asked

    def leave(self) -> None:
        """The others need not wait until this worker's demand is old."""
        with contextlib.suppress(OSError):
            self._told.unlink()

    def _tell(self, demand: Demand) -> None:
        trouble = None
        try:
            replace(self._told, json.dumps(demand))
        except OSError as error:
            trouble = str(error)
            if self._trouble is None:
                log.error("rate limits are not shared with other workers: %s", error)
        self._trouble = trouble

    def _others(self) -> list[Demand]:
        found: list[Demand] = []
        for path in self._directory.glob("*"):
            try:
                age = time.time() - path.stat().st_mtime
                if age > FORGOTTEN_SECONDS:
                    path.unlink()
                elif age < SILENT_SECONDS and path.suffix == ".json" and path != self._told:
                    os.kill(int(path.stem), 0)
                    found.append(json.loads(path.read_bytes()))
            except (OSError, ValueError):
                continue  # its process is gone, or it is another worker's to remove
        return found
