"""Withholds events that arrived after their persons' withdrawals, before the gateway heard of them (contract, section 9)."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from .. import consents
from .._core import Ceilings
from ..observing import counters
from ..settings import Settings
from .routing import Routing

if TYPE_CHECKING:
    from .delivery import Event

log = logging.getLogger("pixelcore")

HEARSAY_SECONDS = 1.5
"""Seconds by which an event may be newer than the consent list, because a record needs up to 2 s to be in force."""
REFRESH_SECONDS = 1.0


class BehindError(Exception):
    """The consent list is not known to be complete up to the time of an event; the message says since when."""


class Withdrawals:
    """Looks persons up again before their events are shipped. The list is opened at its first use."""

    def __init__(self, settings: Settings, routing: Routing) -> None:
        """``routing`` knows the pipelines that look persons up."""
        self._settings = settings
        self._routing = routing
        self._list: Ceilings | None = None
        self._refresh_at = 0.0

    def sift(self, events: list[Event]) -> list[Event]:
        """The events without those that arrived after their persons' withdrawals, which are counted.

        Raises `BehindError` while the list may lack withdrawals from before an event, and `SettingsError` without a secret.
        """
        lookups = self._routing.lookups()
        if not lookups or not (concerned := [event for event in events if event[3] in lookups]):
            return events
        known = self._known()
        newest = max(received_at for _, _, received_at, _ in concerned) / 1000
        heard = known.heard / 1000
        if heard + HEARSAY_SECONDS < newest:
            since = (
                time.strftime("was last complete at %Y-%m-%dT%H:%M:%SZ", time.gmtime(heard))
                if heard
                else "was never complete"
            )
            raise BehindError(
                f"the consent list {since}, so later withdrawals are unknown: the log says why, and `pixelcore check`"
                f" checks its topic"
            )
        withheld = {id(event) for event in concerned if known.withholds(*lookups[event[3] or ""], event[0])}
        if not withheld:
            return events
        counters.withheld(len(withheld))
        log.warning(
            "%d events are not shipped: they arrived after their persons' withdrawals, which this gateway had not heard of yet",
            len(withheld),
            extra={"events": len(withheld)},
        )
        return [event for event in events if id(event) not in withheld]

    def _known(self) -> Ceilings:
        if self._list is None:
            self._list = consents.ceilings(self._settings)
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            self._list.refresh()
        return self._list
