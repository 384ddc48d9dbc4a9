"""The key file's rules for shipping: the topic of each pipeline, and whether the pipeline looks persons up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .. import consents
from .._core import key_topics, release_memory
from ..errors import SettingsError
from ..settings import variable

log = logging.getLogger("pixelcore")

LOOK_SECONDS = 2.0


class Routing:
    """The topics by pipeline, according to the current key file."""

    def __init__(self, default: str, keys_file: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.default = default
        self._file = keys_file
        self._clock = clock
        self._topics: dict[str, str] | None = None if keys_file is not None else {}
        self._lookups: dict[str, tuple[str, Literal["uid", "aid"]]] = {}
        self._seen: object = None
        self._look_at = clock()

    def topics(self) -> dict[str, str]:
        """The topics of pipelines with their own topic, by the pipeline's id.

        A file that becomes wrong changes nothing. Raises `SettingsError` if it has never been valid.
        """
        if self._file is not None and self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_SECONDS
            self._look(self._file)
        if self._topics is None:
            raise SettingsError(
                f"{variable('keys_file')}: {self._file}: has never been valid, so the pipelines' topics are unknown"
            )
        return self._topics

    def lookups(self) -> dict[str, tuple[str, Literal["uid", "aid"]]]:
        """The pipelines that look persons up, by id: their scope, and the kind of the ids. Raises like `topics`."""
        self.topics()
        return self._lookups

    def all(self) -> list[str]:
        """All topics of events."""
        return sorted({self.default, *self.topics().values()})

    def _look(self, file: Path) -> None:
        try:
            status = file.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                text = file.read_text("utf-8")
                # A file of 100,000 keys takes half a second.
                self._topics, self._lookups = key_topics(text) if "topic" in text else {}, consents.lookups(text)
                self._seen = seen
                del text
                release_memory()
        except (OSError, ValueError) as error:
            log.debug("%s: %s", file, error)  # the key file watcher logs it as an error
