"""Helpers for the tables of events: an instant, the members of every event, and rows as parameters."""

from __future__ import annotations

from typing import Any

import pixelcore
import pytest

AT = 1_740_493_801_250
AT_TEXT = "2025-02-25T14:30:01.250Z"
LIBRARY = {"name": "pixelcore", "version": pixelcore.__version__}


def cases(*tables: list[tuple[str, Any, Any]]) -> list[Any]:
    """Rows of ``name, input, expected``, each run as a test of that name."""
    return [pytest.param(*rest, id=name) for table in tables for name, *rest in table]
