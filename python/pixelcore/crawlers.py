"""Hands the lists of crawlers to the core: the data of the packages crawler-user-agents and crawlerdetect."""

from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path

from ._core import know_crawlers


def load() -> None:
    """Read the installed lists, which takes some milliseconds.

    Raises ``OSError`` and ``ValueError`` if a package has no readable list.
    """
    # Neither package is imported: one keeps all of its data in memory, and the other compiles patterns that are not used here.
    json = _directory("crawleruseragents", "crawler-user-agents") / "crawler-user-agents.json"
    data = SourceFileLoader("data", str(_directory("crawlerdetect", "crawlerdetect") / "providers" / "crawlers.py"))
    module = module_from_spec(spec_from_loader(data.name, data))  # type: ignore[arg-type]
    data.exec_module(module)
    know_crawlers(json.read_bytes(), module.data)


def _directory(module: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed")
    return Path(spec.origin).parent
