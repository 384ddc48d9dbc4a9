"""The destination of a shipping thread, and the state that its journals share: topics, checkpoints, progress, and stopping."""

from __future__ import annotations

import threading

from confluent_kafka import KafkaError

from ..journals import COUNTS, EVENTS, LAST_OPENS, REDUCED, REJECTIONS
from ..observing.stalls import Progress
from ..settings import Settings
from .advice import advise
from .checkpoints import Checkpoints
from .routing import Routing
from .topics import Topics
from .withdrawals import Withdrawals


class Destination:
    """The destination of one kind of journals, for one thread."""

    def __init__(self, settings: Settings, kind: str, *, own: bool = False) -> None:
        """``own`` says that it is for one journal, which this process began."""
        self.settings = settings
        self.own = own
        self.kind = kind
        self.stopping = threading.Event()
        """Set when the thread is to ship the rest of its journals, and then end."""
        self.halted = threading.Event()
        """Set when the time for that is over."""
        self.progress = Progress(kind)
        default = {
            EVENTS: settings.topic,
            REJECTIONS: settings.rejected_topic or "",
            LAST_OPENS: settings.last_open_topic,
            COUNTS: settings.aggregate_topic,
        }[kind]
        self.reduced = kind in REDUCED
        """Whether the records are reduced ones (contract, section 9). No copy of them may be kept elsewhere."""
        # In a compacted topic, a repeated record of the same day changes nothing.
        self.delivery = "at-least-once" if kind == LAST_OPENS else settings.delivery
        self.retain = 0.0 if self.reduced else settings.journal_retain
        """Seconds for which shipped journals are kept."""
        self.routing = Routing(default, settings.keys_file if kind == EVENTS else None)
        self.topics = Topics(settings)
        persons = self.routing if kind == EVENTS else Routing("", settings.keys_file if kind == LAST_OPENS else None)
        self.withdrawals = Withdrawals(settings, persons)
        self.checkpoints = Checkpoints(settings, self.halted.is_set, self.heard)

    def heard(self, error: KafkaError) -> None:
        """Take note of an error that a client reports between calls."""
        # "All brokers are down" follows an error that names the cause.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self.progress.trouble is None:
            self.progress.failed(advise(error))

    def close(self) -> None:
        """Close the shared consumer."""
        self.checkpoints.close()
