"""The list of crawlers, handed to the core: the data of the package crawler-user-agents, which is released monthly."""

from importlib.util import find_spec
from pathlib import Path

from ._core import know_crawlers


def load() -> None:
    """Reads the installed list, some 600 kB, in a few milliseconds.

    Raises ``OSError`` and ``ValueError`` where the package has none that can be read.
    """
    spec = find_spec("crawleruseragents")  # not imported, since it keeps all of its data in memory
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package crawler-user-agents is not installed")
    know_crawlers(Path(spec.origin).with_name("crawler-user-agents.json").read_bytes())
