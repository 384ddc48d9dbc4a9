"""Logging: one JSON object a line, or pretty lines on a terminal. Never a key in full, never personal data."""

from __future__ import annotations

import logging
import logging.config
import re
import sys
import threading
import time
from typing import Any

from ..settings import Settings

# The readers of checkpoints get the producer's properties, too, and need not complain of them.
QUIET = {"pixelcore.kafka.reader": {"level": "ERROR"}}

REPEAT_SECONDS = 60.0
KINDS = 1000
"""How many complaints are remembered; more than that are no repetitions."""


class Once(logging.Filter):
    """Lets the same warning or error through once a minute, and then says how often it was held back.

    Numbers that a message was given as such, and times and counts in the texts of librdkafka, make no difference.
    """

    _VARYING = re.compile(r"\d+(?=ms\b| identical)")

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        arguments = record.args if isinstance(record.args, tuple) else ()
        texts = (self._VARYING.sub("", str(part)) for part in arguments if not isinstance(part, (int, float)))
        kind = (record.name, record.msg, *texts)
        now = time.monotonic()
        with self._lock:
            until, held_back = self._seen.get(kind, (0.0, 0))
            if now < until:
                self._seen[kind] = (until, held_back + 1)
                return False
            if len(self._seen) >= KINDS:
                self._seen.clear()
            self._seen[kind] = (now + REPEAT_SECONDS, 0)
        if held_back:
            record.msg, record.args = f"{record.getMessage()} (and {held_back} times since the last time)", ()
        return True


def config(settings: Settings) -> dict[str, Any]:
    """A ``logging.config`` dictionary for pixelcore and for Granian alike."""
    pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and sys.stderr.isatty())
    pretty_format = {"format": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": "%H:%M:%S"}
    json_format = {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "format": "%(levelname)s %(name)s %(process)d %(message)s",
        "rename_fields": {"levelname": "level", "name": "logger"},
        "timestamp": "time",
    }
    stderr = {"class": "logging.StreamHandler", "formatter": "line", "filters": ["once"], "stream": "ext://sys.stderr"}
    logger = {"handlers": ["stderr"], "level": settings.log_level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": pretty_format if pretty else json_format},
        "filters": {"once": {"()": "pixelcore.observing.log.Once"}},
        "handlers": {"stderr": stderr},
        "loggers": {"pixelcore": logger, "_granian": logger, "granian.access": logger, **QUIET},
    }


def configure(settings: Settings) -> None:
    """Set logging up, once per process."""
    logging.config.dictConfig(config(settings))
