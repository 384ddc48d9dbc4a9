"""``pixelcore check``: whether a set-up will work, found out by doing (contract, section 7).

Nothing stays behind, neither files nor topics nor events.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from rich import filesize
from rich.console import Console
from rich.text import Text

from . import pipelines
from .check_kafka import (
    Failed,
    Finding,
    Setup,
    check_brokers,
    check_checkpoint_topic,
    check_topic,
    check_transactions,
)
from .datadir import EVENTS, REJECTIONS
from .errors import SettingsError
from .overdue import OverdueError, within
from .settings import Settings, variable

CLOCK_TOLERANCE_SECONDS = 30.0
BROKERS_TOLERANCE_SECONDS = 3600.0  # Kafka's default of message.timestamp.after.max.ms
_2025 = 1735689600.0
_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red", "skip": "dim"}


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
    total = 0
    for segment in root.glob("*/*.ndjson"):
        with contextlib.suppress(FileNotFoundError):
            total += segment.stat().st_size
    return total


def check_keys(setup: Setup) -> Finding | None:
    """The key file, where there is one."""
    file = setup.settings.keys_file
    if file is None:
        return None
    count = pipelines.count(file)
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


class Check(NamedTuple):
    """A row: what it is called, what finds out, and whether it needs brokers that answer."""

    name: str
    find: Callable[[Setup], Finding | None]
    on_kafka: bool = False


CHECKS = (
    Check("data directory", check_data_dir),
    Check("key file", check_keys),
    Check("brokers", check_brokers),
    Check("topic", check_topic, on_kafka=True),
    Check("checkpoint topic", check_checkpoint_topic, on_kafka=True),
    Check("transactions", check_transactions, on_kafka=True),
    Check("clock", check_clock),
)


def run(settings: Settings, timeout: float) -> bool:
    """Print a line for each check, which takes ``timeout`` seconds at most. Whether none failed."""
    console, setup, passed = Console(highlight=False), Setup(settings), True
    width = max(len(check.name) for check in CHECKS)
    for check in CHECKS:
        if not check.on_kafka or setup.brokers:
            finding = judge(timeout, check, setup)
        else:
            finding = Finding("skip", "not tried: no broker answers") if settings.ships else None
        if finding is not None:
            level, text = finding
            line = f" {check.name:{width}}  {' '.join(text.split())}"
            console.print(Text.assemble((f"{level:4}", _STYLES[level]), line), soft_wrap=True)
            passed &= level != "FAIL"
    return passed


def judge(seconds: float, check: Check, setup: Setup) -> Finding | None:
    """What a check finds, or why it finds nothing."""
    setup.begin(seconds)
    try:
        return within(seconds, lambda: check.find(setup))
    except OverdueError:
        return Finding("FAIL", f"no answer within {seconds:g} s")
    except KafkaException as error:
        return Finding("FAIL", error.args[0].str())
    except (Failed, SettingsError, OSError) as error:
        return Finding("FAIL", str(error))
    except Exception as error:  # noqa: BLE001 a defect, of which there should still be a line
        return Finding("FAIL", repr(error))
