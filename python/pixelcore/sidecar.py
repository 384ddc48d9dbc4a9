"""Sidecars: processes that ``pixelcore serve`` starts and ends, each of which serves one thing that workers need not know."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from .errors import SettingsError

LISTENING = "listening"
END_SECONDS = 5.0


@contextlib.contextmanager
def running(module: str, *arguments: str, setting: str) -> Iterator[str]:
    """Run ``python -m pixelcore.<module>``, whose stdin is closed at the end.

    The process says ``LISTENING`` on stdout and whatever is yielded here, or in one line what is wrong, which is raised as
    `SettingsError`. ``setting`` is named where it says nothing at all.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    alive, answer = process.stdin, process.stdout
    assert alive is not None
    assert answer is not None
    # Nothing is ever written: the pipe is closed by our end, even by kill -9. Workers are forks that would hold it open.
    os.register_at_fork(after_in_child=alive.close)
    try:
        with answer:
            said = answer.readline().decode().strip()
        if not said.startswith(LISTENING):
            raise SettingsError(said or f"{setting}: the process that serves it has ended")
        yield said.removeprefix(LISTENING).strip()
    finally:
        alive.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
