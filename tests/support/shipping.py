"""Journals for shipping, and forwarders in this process."""

from __future__ import annotations

from pathlib import Path

import pixelcore


def dead_journal(
    data_dir: Path, name: str, count: int, *, size: int = 0, uid: bool = True, key: str = "dk_1"
) -> set[str]:
    """Make an orphaned journal of events of at least ``size`` bytes. Returns their messageIds."""
    mids = [f"{name}-{number}" for number in range(count)]
    with pixelcore.Journal(data_dir / "events") as journal:
        for number, mid in enumerate(mids):
            query = f"wk={key}&e=Forward&mid={mid}" + (f"&uid=user_{number % 50}" if uid else "")
            short = len(pixelcore.event("track", query))
            filler = f"&p.x={'x' * (size - short - 24)}" if size > short + 24 else ""
            journal.append(pixelcore.event("track", query + filler, max_query_bytes=10**7))
    return set(mids)
