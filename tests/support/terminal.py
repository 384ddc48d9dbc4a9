"""Runs commands on a pseudo terminal, like most users see them first."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

from tests.support.commands import command
from tests.support.servers import clean_environment

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""The sequences that move a terminal's cursor or change its colours."""


def on_a_terminal(*arguments: str, cwd: Path, columns: int = 120, stderr: bool = False) -> str:
    """The output of a command on a terminal, or its errors with ``stderr``. The other one is discarded."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments),
        env=clean_environment({"TERM": "xterm-256color", "COLUMNS": str(columns)}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if stderr else theirs,
        stderr=theirs if stderr else None,
    ) as process:
        os.close(theirs)
        shown = b""
        # Linux returns EIO after the last writer of a pseudo terminal has ended.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
    assert process.returncode == 0
    return shown.decode()
