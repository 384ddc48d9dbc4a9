"""The process that serves a gateway's metrics, as ``pixelcore serve`` starts and ends it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from .. import sidecar
from ..datadir import COUNTERS
from ..settings import Settings
from .counters import DIRECTORY


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[None]:
    """Serve metrics, where they are wanted, of all workers that start in the meantime.

    A counter starts again with the gateway, as Prometheus expects. Raises `SettingsError` where the address cannot be
    listened at.
    """
    if not settings.metrics_address:
        yield
        return
    directory = settings.data_dir / COUNTERS
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # on a full disk, say: the workers log what they cannot count
        directory.mkdir(exist_ok=True)
    os.environ[DIRECTORY] = str(directory.resolve())
    try:
        with sidecar.running("observing.metrics", setting="PIXELCORE_METRICS_ADDRESS"):
            yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)
