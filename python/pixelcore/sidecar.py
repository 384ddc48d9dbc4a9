"""Sidecars: processes that ``pixelcore serve`` starts and ends. Each serves one thing that workers do not know, such as metrics."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from .errors import SettingsError
from .processes import isolated_python

LISTENING = "listening"
END_SECONDS = 5.0


@contextlib.contextmanager
def running(module: str, *arguments: str, setting: str) -> Iterator[str]:
    """Run ``pixelcore.<module>`` as a process, and close its stdin at the end.

    The process prints ``LISTENING`` and a text on stdout, and the text is yielded. Or it prints one line with an error, which is
    raised as `SettingsError`. If it prints nothing, the error names ``setting``.
    """
    process = subprocess.Popen(
        [*isolated_python(f"{__package__}.{module}"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    alive, answer = process.stdin, process.stdout
    assert alive is not None
    assert answer is not None
    # Nothing is written to the pipe. It closes when this process ends, even by kill -9. Forked workers would hold it open.
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
