"""The process that serves a gateway's metrics, as ``pixelcore serve`` starts and ends it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

from .counters import DIRECTORY
from .errors import SettingsError
from .settings import Settings

LISTENING = "listening"
END_SECONDS = 5.0


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[None]:
    """Serve metrics, where they are wanted, of all workers that start in the meantime.

    A counter starts again with the gateway, as Prometheus expects. Raises `SettingsError` where the address cannot be
    listened at.
    """
    if not settings.metrics_address:
        yield
        return
    directory = settings.data_dir / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # on a full disk, say: the workers log what they cannot count
        directory.mkdir(exist_ok=True)
    os.environ[DIRECTORY] = str(directory.resolve())
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.metrics"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    alive, answer = process.stdin, process.stdout
    assert alive is not None
    assert answer is not None
    # Nothing is ever written: the pipe is closed by our end, even by kill -9. Workers are forks that would hold it open.
    os.register_at_fork(after_in_child=alive.close)
    try:
        with answer:
            said = answer.readline().decode().strip()
        if said != LISTENING:
            raise SettingsError(said or "PIXELCORE_METRICS_ADDRESS: the process that serves metrics has ended")
        yield
    finally:
        alive.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(directory, ignore_errors=True)
