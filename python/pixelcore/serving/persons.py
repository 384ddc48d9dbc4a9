"""The consent list in which a worker looks persons up (contract, section 9)."""

from __future__ import annotations

from .. import consents
from .._core import Ceilings, Collector
from ..settings import Settings


class Persons:
    """Gives a collector the consent list as soon as a key file has a pipeline that looks persons up."""

    def __init__(self, settings: Settings, collector: Collector) -> None:
        self._settings = settings
        self._collector = collector
        self._list: Ceilings | None = None

    def heed(self, keys: str) -> None:
        """Open the list if a key file needs it. Raises `SettingsError` if it needs a secret that is not set."""
        if self._list is None and consents.lookups(keys):
            self._list = consents.ceilings(self._settings)
            self._collector.set_ceilings(self._list)

    def refresh(self) -> None:
        """Open a list that has replaced the current one. Call it once a second."""
        if self._list is not None:
            self._list.refresh()
