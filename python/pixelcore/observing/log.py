"""Logging: one JSON object a line, or pretty lines on a terminal. Never a key in full, never personal data."""

from __future__ import annotations

import logging
import logging.config
import os
import re
import sys
import threading
import time
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from ..printable import escape, escape_controls
from ..settings import Settings

# The readers of checkpoints also get the producer's properties, and warnings about those are of no use.
QUIET = {"pixelcore.kafka.reader": {"level": "ERROR"}}

REPEAT_SECONDS = 60.0
KINDS = 1000
"""The most messages that are remembered. More than that are not repetitions."""


class Once(logging.Filter):
    """Allows the same warning or error once a minute, with the number of suppressed repetitions.

    Messages are the same if they differ only in numeric arguments, or in times, counts and numbers of clients in librdkafka's texts.
    """

    _VARYING = re.compile(r"\d+(?=ms\b| identical)|(?<=#producer-|#consumer-)\d+")

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
            record.msg, record.args = f"{record.getMessage()} (and {held_back} more times since the last report)", ()
        return True


class Priority(logging.StreamHandler[TextIO]):
    """Writes lines to stderr. In systemd's journal, each line begins with its priority (sd-daemon(3))."""

    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._is_journal = _is_journal(os.environ.get("JOURNAL_STREAM", ""))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._is_journal:
            return text
        prefix = next(f"<{priority}>" for level, priority in self._PRIORITIES if record.levelno >= level)
        return "\n".join(prefix + line for line in text.splitlines())


def _is_journal(stream: str) -> bool:
    """Whether stderr is the stream that systemd names in JOURNAL_STREAM: its device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or not a file
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


class PrettyFormatter(logging.Formatter):
    """Lines for a terminal, with strangers' control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return escape(super().format(record))


class JsonLineFormatter(JsonFormatter):
    """JSON objects in ASCII, also without DEL."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record))


def config(settings: Settings) -> dict[str, Any]:
    """A ``logging.config`` dictionary for pixelcore and for Granian alike."""
    pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and sys.stderr.isatty())
    pretty_format = {
        "()": "pixelcore.observing.log.PrettyFormatter",
        "format": "%(asctime)s %(levelname)-7s %(message)s",
        "datefmt": "%H:%M:%S",
    }
    json_format = {
        "()": "pixelcore.observing.log.JsonLineFormatter",
        "format": "%(levelname)s %(name)s %(process)d %(message)s",
        "rename_fields": {"levelname": "level", "name": "logger"},
        "timestamp": "time",
    }
    stderr = {"()": "pixelcore.observing.log.Priority", "formatter": "line", "filters": ["once"]}
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
    """Set up logging, once per process."""
    logging.config.dictConfig(config(settings))
