"""The data directory: one root of journals for events, one for rejections."""

from __future__ import annotations

import re
from pathlib import Path

_IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID

EVENTS = "events"
REJECTIONS = "rejections"


def journals(root: Path) -> list[Path]:
    """The journals under a root, oldest first. Any other name is somebody else's, or a journal in the making."""
    return sorted(path for path in root.iterdir() if _IDENTITY.fullmatch(path.name)) if root.is_dir() else []
