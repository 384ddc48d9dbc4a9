"""The data directory: one root of journals for events, one for rejections, and what workers tell each other."""

from __future__ import annotations

import os
import re
from pathlib import Path

_IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID

EVENTS = "events"
REJECTIONS = "rejections"


def journals(root: Path) -> list[Path]:
    """The journals under a root, oldest first. Any other name is somebody else's, or a journal in the making."""
    return sorted(path for path in root.iterdir() if _IDENTITY.fullmatch(path.name)) if root.is_dir() else []


def write(path: Path, text: str) -> None:
    """Make or replace a file in one step, with its directory. No other user may read it. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f"{os.getpid()}.new"
    with open(new, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    new.replace(path)
