"""The table of ``make deploy-test``: the deployment, and its sent, arrived and lost events."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple

import pytest

IMAGE = "localhost/pixelcore:test"
"""The image of `make deploy-image`, if the Dockerfile's base images are available."""


def _has_image() -> bool:
    podman = shutil.which("podman")
    return podman is not None and subprocess.run([podman, "image", "exists", IMAGE], check=False).returncode == 0


collect_ignore = [] if _has_image() else ["test_compose.py", "test_image.py"]


class Row(NamedTuple):
    """One line of the table."""

    part: str
    program: str
    sent: int
    arrived: int
    lost: int


Report = Callable[..., None]
_ROWS: list[Row] = []


@pytest.fixture
def report() -> Report:
    """Adds a line to the table, and fails where something was lost."""

    def add(part: str, program: str, *, sent: int, arrived: int, lost: int) -> None:
        _ROWS.append(Row(part, program, sent, arrived, lost))
        assert lost == 0, _ROWS[-1]

    return add


def version(*command: str) -> str:
    """The first line that a program says of its version, on whichever of its outputs."""
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return (ended.stdout + ended.stderr).strip().splitlines()[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if not _ROWS:
        return
    table = [Row._fields, *(tuple(map(str, row)) for row in _ROWS)]
    widths = [max(len(row[column]) for row in table) for column in range(len(Row._fields))]
    terminalreporter.section("deployments")
    for row in table:
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        terminalreporter.line("  ".join(cells).rstrip())
