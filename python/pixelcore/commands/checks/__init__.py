"""What ``pixelcore check`` tries: whether a set-up will work, found out by doing (contract, section 7).

`machine` tries disk, key file and clock, `kafka` brokers, topics, rights and transactions. Nothing stays behind, neither files nor
topics nor events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaException
from rich.console import Console
from rich.text import Text

from ...errors import SettingsError
from ...settings import Settings
from ...timeouts import CallTimeoutError, call_with_timeout
from .findings import Failed, Finding, Setup
from .kafka import check_brokers, check_checkpoint_topic, check_topic, check_transactions
from .machine import check_clock, check_data_dir, check_keys

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red", "skip": "dim"}


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
        return call_with_timeout(seconds, lambda: check.find(setup))
    except CallTimeoutError:
        return Finding("FAIL", f"no answer within {seconds:g} s")
    except KafkaException as error:
        return Finding("FAIL", error.args[0].str())
    except (Failed, SettingsError, OSError) as error:
        return Finding("FAIL", str(error))
    except Exception as error:  # noqa: BLE001 a defect, of which there should still be a line
        return Finding("FAIL", repr(error))
