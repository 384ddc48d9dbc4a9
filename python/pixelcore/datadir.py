"""The data directory: one root of journals for events, one for rejections."""

from __future__ import annotations

from pathlib import Path

EVENTS = "events"
REJECTIONS = "rejections"


def journals(root: Path) -> list[Path]:
    """The journals under a root, oldest first. A name with a dot is one in the making."""
    return sorted(path for path in root.glob("[!.]*") if path.is_dir()) if root.is_dir() else []
