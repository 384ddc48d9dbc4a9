"""The checks of this machine: disk, key file, consent list, stalls, and clock."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from rich import filesize

from ... import consents, terms
from ...datadir import check_keys_file, exposure, hazard
from ...errors import SettingsError
from ...journals import EVENTS, REJECTIONS, journals
from ...observing.backlog import undeliverable_bytes
from ...observing.stalls import notices
from ...serving import key_file
from ...settings import Settings, variable
from ...terms import Terms
from .findings import Failed, Finding, Setup

CLOCK_TOLERANCE_SECONDS = 30.0
HEARD_SECONDS = 60.0
BROKERS_TOLERANCE_SECONDS = 3600.0  # Kafka's default of message.timestamp.after.max.ms
_2025 = 1735689600.0


def check_data_dir(setup: Setup) -> Finding:
    """Check that the data directory is safe and writable, and has room for the byte budgets."""
    settings, root = setup.settings, setup.settings.data_dir
    if os.path.lexists(root):
        try:
            trouble, exposed = hazard(root), exposure(root)
        except OSError as error:
            raise Failed(f"{variable('data_dir')}: {error}") from None
        if trouble is not None:
            raise Failed(f"{variable('data_dir')}: {trouble}")
    else:
        exposed = None
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
            f"{variable('journal_max_bytes')}: {filesize.decimal(settings.journal_max_bytes)} are used up: new events are lost"
        )
    left = events_left + max(0, settings.rejected_max_bytes - _used(root / REJECTIONS))
    free = shutil.disk_usage(there).free
    text = f"{root}: {'writable' if there == root.absolute() else 'can be made'}, {filesize.decimal(free)} free"
    if free < left:
        names = f"{variable('journal_max_bytes')} and {variable('rejected_max_bytes')}"
        return Finding("warn", f"{text}, but {names} allow {filesize.decimal(left)} more")
    return Finding("ok", text) if exposed is None else Finding("warn", f"{text}, but {exposed}")


def _used(root: Path) -> int:
    return sum(segment.size for journal in journals(root) for segment in journal.segments())


def check_keys(setup: Setup) -> Finding | None:
    """Check the key file, if there is one."""
    file = setup.settings.keys_file
    check_keys_file(setup.settings)
    if file is None:
        return None
    count = key_file.count(file)
    return Finding("ok", f"{file}: {count} key{'s' * (count != 1)}")


def check_consent(setup: Setup) -> Finding | None:
    """Show what each pipeline keeps of whom, if the key file states it."""
    told = terms.lines(_said(setup.settings))
    return Finding("ok", " | ".join(told)) if told else None


def _said(settings: Settings) -> dict[str, Terms]:
    """The terms in the key file; empty if it cannot be read, which its own check reports."""
    try:
        return key_file.said(settings.keys_file) if settings.keys_file is not None else {}
    except SettingsError:
        return {}


def check_consents(setup: Setup) -> Finding | None:
    """Check the consent list, if a pipeline looks persons up."""
    settings = setup.settings
    if not terms.look_up(_said(settings)):
        return None
    path = consents.directory(settings) / consents.LIST
    if not path.exists():
        if settings.ships:
            consents.secrets(settings)  # raises if it is not set
        return Finding("ok", f"{path}: does not exist yet; the first record creates it")
    known = consents.ceilings(settings)
    if strangers := [key_id for key_id, is_known in known.key_ids if not is_known]:
        raise Failed(
            f"{variable('consent_secret')}: has no secret for {', '.join(strangers)}, but the list has records under it:"
            f" nothing is kept of their scopes"
        )
    text = f"{path}: {known.count:,} records"
    if not settings.ships:
        return Finding("ok", text)
    age = time.time() - known.heard / 1000
    if not known.heard or age > HEARD_SECONDS:
        since = f"{age:,.0f} s old" if known.heard else "not complete yet"
        return Finding("warn", f"{text}, {since}: it is updated only while a gateway runs here")
    return Finding("ok", f"{text}, {max(0.0, age):.0f} s old")


def check_shipping(setup: Setup) -> Finding | None:
    """Report the stalls of running gateways, and the events that topics have refused."""
    if not setup.settings.ships:
        return None
    stalls = notices(setup.settings.data_dir)
    if stalls:
        raise Failed("; ".join(notice.text for notice in stalls))
    refused = undeliverable_bytes(setup.settings.data_dir)
    if refused:
        return Finding(
            "warn",
            f"topics refused {filesize.decimal(refused)} of events: repair the topic, then `pixelcore forward --undeliverable`",
        )
    return Finding("ok", "no gateway here reports a stall")


def check_clock(setup: Setup) -> Finding:
    """Check the clock, which ``receivedAt`` and every UUIDv7 use."""
    return compare_clocks(time.time(), setup.broker_time)


def compare_clocks(ours: float, brokers: float | None) -> Finding:
    """Compare our clock with ``brokers``, the newest timestamp of the checkpoint topic: the broker's or, if later, a gateway's."""
    shown = datetime.fromtimestamp(ours, timezone.utc).isoformat(timespec="seconds")
    ahead = 0.0 if brokers is None else ours - brokers
    if ours < _2025:
        return Finding("FAIL", f"shows {shown}, which is in the past")
    if ahead > BROKERS_TOLERANCE_SECONDS:
        return Finding(
            "FAIL", f"shows {shown}, {ahead:.0f} s ahead of the broker's, which may refuse events from the future"
        )
    if ahead > CLOCK_TOLERANCE_SECONDS:
        return Finding("warn", f"shows {shown}, {ahead:.0f} s ahead of the broker's")
    if ahead < -CLOCK_TOLERANCE_SECONDS:
        return Finding("warn", f"shows {shown}, {-ahead:.0f} s behind the broker's or another gateway's")
    return Finding("ok", shown if brokers is None else f"{shown}, like the broker's")
