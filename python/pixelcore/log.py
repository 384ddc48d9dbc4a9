"""Logging: one JSON object a line, or pretty lines on a terminal. Never a key in full, never personal data."""

from __future__ import annotations

import logging
import logging.config
import sys
from typing import Any

from .settings import Settings

# The readers of checkpoints get the producer's properties, too, and need not complain of them.
QUIET = {"pixelcore.kafka.reader": {"level": "ERROR"}}


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
    logger = {"handlers": ["stderr"], "level": settings.log_level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": pretty_format if pretty else json_format},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "loggers": {"pixelcore": logger, "_granian": logger, "granian.access": logger, **QUIET},
    }


def configure(settings: Settings) -> None:
    """Set logging up, once per process."""
    logging.config.dictConfig(config(settings))
