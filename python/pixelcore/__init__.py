"""pixelcore: turns a tracking pixel's GET into one JSON event, in a journal and in Kafka.

The map of the package, from the request to Kafka:

- `app` answers requests. `serving` is a worker's life around it. `_core` is the Rust core: events, keys, journals, consent.
- `shipping` takes journals to Kafka. Apart from two commands, it is the only package that knows Kafka.
- `observing` has counters, metrics, stalls and logs. `inspect` is the live page. `commands` is the command line.
- `settings` is the reference of all settings. `datadir` and `journals` name the files on the disk. `model` has the types of events.
- `url` makes pixel URLs, `consents` and `terms` read the consent list and the key file, and `folding` makes reduced records.

`commands` knows every other package; `shipping`, `serving` and `observing` never import it. Public are the names in ``__all__``.
"""

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
