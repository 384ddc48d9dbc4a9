"""Helpers for the tests of consents: secrets, records, and a consent list."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from confluent_kafka import Producer
from pixelcore._core import CeilingsWriter, consent_keys

SECRET = "k1:fRz3t8Qh2mWc6XeJ0LpVnYbA4sGdUo95"
OTHER = "k2:9oUdGs4AbYnVpL0JeX6cWm2hQ8t3zRfX"
SCOPE = "pip_news"
KEYS = """
[[pipeline]]
id = "pip_news"
key = "dk_test_news"
consent = "uid"
rate_limit_rps = 100000

[[pipeline]]
id = "pip_alerts"
key = "dk_test_alerts"
rate_limit_rps = 100000
"""
"""A pipeline that looks persons up, and one that does not."""

Record = tuple[bytes, bytes | None, int | None]


def now_ms() -> int:
    return int(time.time() * 1000)


def key_of(person: str, secret: str = SECRET, scope: str = SCOPE) -> bytes:
    """The key of a person's record."""
    return consent_keys(secret, scope, "uid", [person.encode()])[0]


def value_of(mode: str, at: int, scope: str = SCOPE) -> bytes:
    return json.dumps({"scope": scope, "mode": mode, "time": at}).encode()


def record(person: str, mode: str, at: int, secret: str = SECRET, scope: str = SCOPE) -> Record:
    return key_of(person, secret, scope), value_of(mode, at, scope), at


def listed(directory: Path, records: Iterable[Record]) -> CeilingsWriter:
    """A list with these records."""
    directory.mkdir(parents=True, exist_ok=True)
    writer = CeilingsWriter(directory)
    writer.apply(list(records))
    return writer


def send(bootstrap: str, topic: str, records: Iterable[tuple[bytes | None, bytes | None, int | None]]) -> None:
    """Write records to a topic like a sender's own system, and wait until the broker has them."""
    failed: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for key, value, at in records:
        producer.produce(
            topic, value, key, timestamp=at or 0, on_delivery=lambda error, _: failed.append(error) if error else None
        )
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not failed


def gateway(keys_file: Path, kafka: Mapping[str, str], topic: str, **more: str) -> dict[str, str]:
    """The settings of a gateway that looks persons up, with its own consent list."""
    return {
        **kafka,
        "PIXELCORE_KEYS_FILE": str(keys_file),
        "PIXELCORE_CONSENT_TOPIC": f"{topic}-consents",
        "PIXELCORE_CONSENT_SECRET": SECRET,
        **more,
    }


def iso(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
