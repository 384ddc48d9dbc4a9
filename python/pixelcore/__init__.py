"""pixelcore: from a tracking pixel's GET to one JSON event, in a journal and in Kafka."""

from . import crawlers
from ._core import Collector, Journal, JournalReader, __version__, event, nest, pairs
from .errors import JournalError, JournalFull, PixelcoreError, Rejected, SettingsError
from .url import img_tag, pixel_url

__all__ = (
    "Collector",
    "Journal",
    "JournalError",
    "JournalFull",
    "JournalReader",
    "PixelcoreError",
    "Rejected",
    "SettingsError",
    "__version__",
    "event",
    "img_tag",
    "nest",
    "pairs",
    "pixel_url",
)

crawlers.load()
