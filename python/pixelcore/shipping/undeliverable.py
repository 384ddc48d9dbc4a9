"""Events that a topic refuses. They are kept in a file of the data directory, until an operator has them shipped again."""

from __future__ import annotations

import os
from pathlib import Path

from ..datadir import UNDELIVERABLE
from ..errors import PixelcoreError
from ..files import open_own
from ..journals import adopt
from ..observing.backlog import undeliverable_bytes
from ..settings import Settings, variable


class FullError(PixelcoreError):
    """The file has used up its budget."""


def keep(settings: Settings, kind: str, lines: list[bytes]) -> Path:
    """Append lines. Raises `FullError` and ``OSError``. Then nothing is lost, because the journal still has them."""
    path = settings.data_dir / UNDELIVERABLE[kind]
    text = b"".join(line + b"\n" for line in lines)
    if undeliverable_bytes(settings.data_dir) + len(text) > settings.undeliverable_max_bytes:
        raise FullError(
            f"{path} has reached {variable('undeliverable_max_bytes')}, so shipping stops: repair the topic and run"
            " `pixelcore forward --undeliverable`, move the file away, or raise the limit"
        )
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
        file.write(text)
    return path


def ship_again(data_dir: Path) -> int:
    """Turn the files into orphaned journals, which the forwarder ships. Returns their number."""
    files = [(kind, data_dir / name) for kind, name in UNDELIVERABLE.items()]
    there = [(kind, path) for kind, path in files if path.exists() and path.stat().st_size]
    for kind, path in there:
        adopt(data_dir / kind, path)
    return len(there)
