"""Starts and ends the process that serves a gateway's metrics, for ``pixelcore serve``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from .. import sidecar
from ..datadir import COUNTERS
from ..files import make_directory, remove_own
from ..settings import Settings
from .counters import DIRECTORY, FILES


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[None]:
    """Serve the metrics of all workers that start within the context, if an address is set.

    Counters start at 0 with each gateway, as Prometheus expects. Raises `SettingsError` if the address cannot be used.
    """
    if not settings.metrics_address:
        yield
        return
    directory = settings.data_dir / COUNTERS
    with contextlib.suppress(OSError):  # on a full disk, for instance: the workers log that their counters are missing
        remove_own(directory, FILES)
        make_directory(directory)
    os.environ[DIRECTORY] = str(directory.resolve())
    try:
        with sidecar.running("observing.metrics", setting="PIXELCORE_METRICS_ADDRESS"):
            yield
    finally:
        with contextlib.suppress(OSError):  # if other files are in it, the directory stays
            remove_own(directory, FILES)
            directory.rmdir()
