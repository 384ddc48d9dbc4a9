"""The steps of ``pixelcore check``, which tries whether a set-up works (contract, section 7).

`machine` checks disk, key file, consent list and clock. `brokers`, `topics` and `transactions` check Kafka. The checks leave
nothing behind: no files, no topics, and no events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaException
from rich.console import Console
from rich.text import Text

from ...errors import SettingsError
from ...serving import key_file
from ...settings import Settings
from ...timeouts import CallTimeoutError, call_with_timeout
from .brokers import check_brokers
from .findings import Failed, Finding, Setup
from .machine import check_clock, check_consent, check_consents, check_data_dir, check_keys, check_shipping
from .topics import (
    check_aggregate_topic,
    check_checkpoint_topic,
    check_consent_topic,
    check_last_open_topic,
    check_rejected_topic,
    check_topic,
)
from .transactions import check_transactions

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red", "skip": "dim"}


class Check(NamedTuple):
    """A row: its name, its check, and the settings for which it needs brokers that answer."""

    name: str
    find: Callable[[Setup], Finding | None]
    on_kafka: Callable[[Settings], bool] | None = None


def _exactly_once(settings: Settings) -> bool:
    return settings.ships and settings.delivery == "exactly-once"


def _keeps(settings: Settings, mode: str) -> bool:
    """Whether some pipeline may keep this mode."""
    if not settings.ships or settings.keys_file is None:
        return False
    with contextlib.suppress(SettingsError):
        said = key_file.said(settings.keys_file).values()
        return any(mode in (terms.max, terms.default, terms.unknown) for terms in said)
    return False


CHECKS = (
    Check("data directory", check_data_dir),
    Check("key file", check_keys),
    Check("consent", check_consent),
    Check("consent list", check_consents),
    Check("brokers", check_brokers),
    Check("topic", check_topic, on_kafka=lambda settings: settings.ships),
    Check(
        "rejected topic",
        check_rejected_topic,
        on_kafka=lambda settings: settings.ships and bool(settings.rejected_topic),
    ),
    Check("last-open topic", check_last_open_topic, on_kafka=lambda settings: _keeps(settings, "deliverability")),
    Check("counts' topic", check_aggregate_topic, on_kafka=lambda settings: _keeps(settings, "aggregate")),
    Check("checkpoint topic", check_checkpoint_topic, on_kafka=_exactly_once),
    Check(
        "consent topic", check_consent_topic, on_kafka=lambda settings: settings.ships and bool(settings.consent_secret)
    ),
    Check("transactions", check_transactions, on_kafka=_exactly_once),
    Check("clock", check_clock),
    Check("shipping", check_shipping),
)


def run(settings: Settings, timeout: float) -> bool:
    """Print a line for each check, which takes at most ``timeout`` seconds. True if no check failed."""
    console, setup, passed = Console(highlight=False), Setup(settings), True
    width = max(len(check.name) for check in CHECKS)
    for check in CHECKS:
        if check.on_kafka is None or (setup.brokers and check.on_kafka(settings)):
            finding = judge(timeout, check, setup)
        elif check.on_kafka(settings):
            finding = Finding("skip", "not checked: no broker answers")
        else:
            finding = None
        if finding is not None:
            level, text = finding
            line = f" {check.name:{width}}  {' '.join(text.split())}"
            console.print(Text.assemble((f"{level:4}", _STYLES[level]), line), soft_wrap=True)
            passed &= level != "FAIL"
    return passed


def judge(seconds: float, check: Check, setup: Setup) -> Finding | None:
    """The finding of a check, or its failure to find anything."""
    setup.begin(seconds)
    try:
        return call_with_timeout(seconds, lambda: check.find(setup))
    except CallTimeoutError:
        return Finding("FAIL", f"no answer within {seconds:g} s")
    except KafkaException as error:
        return Finding("FAIL", error.args[0].str())
    except (Failed, SettingsError, OSError) as error:
        return Finding("FAIL", str(error))
    except Exception as error:  # noqa: BLE001 a defect should still have a line
        return Finding("FAIL", repr(error))
