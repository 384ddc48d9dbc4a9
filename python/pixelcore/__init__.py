"""pixelcore: from a tracking pixel's GET to one JSON event, in a journal and in Kafka."""

from . import crawlers
from ._core import Collector, Journal, JournalReader, __version__, event, nest, pairs
from .errors import JournalError, JournalFull, PixelcoreError, Rejected, SettingsError
from .model import Event, Rejection
from .url import img_tag, pixel_url

__all__ = (
    "Collector",
    "Event",
    "Journal",
    "JournalError",
    "JournalFull",
    "JournalReader",
    "PixelcoreError",
    "Rejected",
    "Rejection",
    "SettingsError",
    "__version__",
    "event",
    "img_tag",
    "nest",
    "pairs",
    "pixel_url",
)

crawlers.load()
