"""The checks of this machine: disk, key file, clock."""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from rich import filesize

from ...journals import EVENTS, REJECTIONS, journals
from ...serving import key_file
from ...settings import variable
from .findings import Failed, Finding, Setup

CLOCK_TOLERANCE_SECONDS = 30.0
BROKERS_TOLERANCE_SECONDS = 3600.0  # Kafka's default of message.timestamp.after.max.ms
_2025 = 1735689600.0


def check_data_dir(setup: Setup) -> Finding:
    """Writable, and room for what the budgets allow."""
    settings, root = setup.settings, setup.settings.data_dir
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    for directory in (there, root / EVENTS, root / REJECTIONS):
        if directory == there or directory.is_dir():
            try:
                with tempfile.TemporaryFile(dir=directory) as file:
                    file.write(bytes(4096))
            except OSError as error:
                raise Failed(f"{variable('data_dir')}: {directory}: {error.strerror}") from None
    events_left = settings.journal_max_bytes - _used(root / EVENTS)
    if events_left <= 0:
        raise Failed(
            f"{variable('journal_max_bytes')}: {filesize.decimal(settings.journal_max_bytes)} are used up: events are lost"
        )
    left = events_left + max(0, settings.rejected_max_bytes - _used(root / REJECTIONS))
    free = shutil.disk_usage(there).free
    text = f"{root}: {'writable' if there == root.absolute() else 'can be made'}, {filesize.decimal(free)} free"
    if free < left:
        names = f"{variable('journal_max_bytes')} and {variable('rejected_max_bytes')}"
        return Finding("warn", f"{text}, but {names} allow {filesize.decimal(left)} more")
    return Finding("ok", text)


def _used(root: Path) -> int:
    return sum(segment.size for journal in journals(root) for segment in journal.segments())


def check_keys(setup: Setup) -> Finding | None:
    """The key file, where there is one."""
    file = setup.settings.keys_file
    if file is None:
        return None
    count = key_file.count(file)
    return Finding("ok", f"{file}: {count} key{'s' * (count != 1)}")


def check_clock(setup: Setup) -> Finding:
    """The clock that ``receivedAt`` and every UUIDv7 come from."""
    return compare_clocks(time.time(), setup.broker_time)


def compare_clocks(ours: float, brokers: float | None) -> Finding:
    """``brokers`` is the newest timestamp of the checkpoint topic, the broker's or, if later, some gateway's."""
    shown = datetime.fromtimestamp(ours, timezone.utc).isoformat(timespec="seconds")
    ahead = 0.0 if brokers is None else ours - brokers
    if ours < _2025:
        return Finding("FAIL", f"says {shown}, which is over")
    if ahead > BROKERS_TOLERANCE_SECONDS:
        return Finding(
            "FAIL", f"says {shown}, {ahead:.0f} s after the broker's, which may refuse events from the future"
        )
    if ahead > CLOCK_TOLERANCE_SECONDS:
        return Finding("warn", f"says {shown}, {ahead:.0f} s after the broker's")
    if ahead < -CLOCK_TOLERANCE_SECONDS:
        return Finding("warn", f"says {shown}, {-ahead:.0f} s before the broker's or another gateway's")
    return Finding("ok", shown if brokers is None else f"{shown}, as the broker's")
