"""The settings: environment variables ``PIXELCORE_*``, each also a flag of ``pixelcore serve``.

This file is their reference; flags and `--help` are made from it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from ._core import check_proxies
from .errors import SettingsError

PREFIX = "PIXELCORE_"
KAFKA_PREFIX = "PIXELCORE_KAFKA_"
# Reads like a librdkafka property, but is none.
_NAMED_OTHERWISE = {"rejected_topic": "PIXELCORE_KAFKA_REJECTED_TOPIC"}
_OURS_TO_SET = frozenset(
    {"transactional.id", "enable.idempotence", "group.id", "isolation.level", "delivery.report.only.error"}
)
# Kubernetes sets these for a Service that is named pixelcore, and the tests theirs.
_FOREIGN = re.compile(r"PIXELCORE_(TEST_.*|SERVICE_(HOST|PORT).*|PORT(_.*)?)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration(value: object) -> object:
    """``90``, ``90s``, ``15m``, ``12h`` or ``7d`` as seconds."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else value


def _fsync(value: object) -> object:
    if value in ("never", "always"):
        return value
    seconds = _duration(value)
    if not isinstance(seconds, float) or not 0.01 <= seconds <= 60:
        raise ValueError("must be 'never', 'always', or an interval of 10ms to 60s such as '1s'")
    return seconds


def _proxies(value: str) -> str:
    check_proxies(value)
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("must be HOST:PORT, or empty")
    return value


Seconds = Annotated[float, BeforeValidator(_duration), Field(ge=0, le=10 * 366 * 86400)]
Bytes = Annotated[ByteSize, Field(le=2**50), PlainSerializer(int)]
Count = Annotated[int, Field(ge=1, le=2**24)]


class Settings(BaseModel):
    """All settings with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Field(Path("pixelcore-data"), description="Where journals and the gateway's identity live.")
    fsync: Annotated[float | Literal["never", "always"], BeforeValidator(_fsync)] = Field(
        1.0,
        description="What a power cut may lose: an interval, 'never', or 'always' (the GIF waits for the device).",
    )
    journal_max_bytes: Bytes = Field(
        ByteSize(10 * 2**30), ge=2**20, description="Budget of all events' journals; beyond it events are lost."
    )
    journal_segment_bytes: Bytes = Field(ByteSize(64 * 2**20), ge=2**12, description="Size of a journal's segments.")
    journal_retain: Seconds = Field(0.0, description="How long shipped segments are kept, such as '7d'.")
    rejected_max_bytes: Bytes = Field(
        ByteSize(256 * 2**20), ge=2**16, description="Budget of the rejections' journals; beyond it the oldest go."
    )

    max_query_bytes: Count = Field(8192, description="Longer queries are rejected.")
    max_parameters: Count = Field(256, description="Queries with more parameters are rejected.")
    max_depth: Count = Field(32, description="Dotted paths with more segments are rejected.")
    keys_file: Path | None = Field(
        None, description="TOML file of the pipelines' keys, read again when it changes; without one any key will do."
    )
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = Field(
        "", description="Networks whose X-Forwarded-For or Forwarded is believed, such as '10.0.0.0/8, loopback'."
    )
    ip: Literal["full", "truncated", "none"] = Field(
        "full", description="How much of the client's address events keep; truncated: IPv4 to /24, IPv6 to /48."
    )
    respect_gpc: bool = Field(
        False, description="Leave out ip, userAgent, userId, anonymousId and traits where Sec-GPC is 1."
    )
    automated: Literal["flag", "reject"] = Field(
        "flag", description="What becomes of requests that no person made, such as prefetches and crawlers."
    )
    typed_values: bool = Field(False, description="Read true, false and numbers as JSON ones where nothing is lost.")
    debug_header: bool = Field(False, description="Answer with X-Pixelcore: accepted, or the rejection's reason.")

    topic: str = Field("raw-events", min_length=1, description="The Kafka topic of the events.")
    rejected_topic: str | None = Field(
        None, min_length=1, description="The Kafka topic of rejected requests; without it they stay in their journal."
    )
    checkpoint_topic: str = Field(
        "pixelcore-checkpoints", min_length=1, description="The compacted topic of the journals' committed offsets."
    )
    delivery: Literal["exactly-once", "at-least-once"] = Field(
        "exactly-once", description="Transactions, or an idempotent producer with a checkpoint on disk."
    )
    drain_seconds: float = Field(10.0, ge=0, le=3600, description="How long a stopping worker goes on shipping.")

    metrics_address: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1:9108", description="Where 'pixelcore serve' serves Prometheus metrics; empty: nowhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="JSON lines, pretty lines, or pretty on a terminal only."
    )

    kafka: dict[str, str] = Field(
        default_factory=dict,
        description="librdkafka properties; in the environment PIXELCORE_KAFKA_ and the name, with _ for '.'.",
    )

    @property
    def ships(self) -> bool:
        """Whether there is a Kafka to ship to."""
        return "bootstrap.servers" in self.kafka


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return _NAMED_OTHERWISE.get(field, PREFIX + field.upper())


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises `SettingsError` with one line that names the first wrong one."""
    known = {variable(name): name for name in Settings.model_fields if name != "kafka"}
    values: dict[str, Any] = {}
    kafka: dict[str, str] = {}
    for name, value in environ.items():
        if name in known:
            values[known[name]] = value
        elif name.startswith(KAFKA_PREFIX):
            kafka[_property(name)] = value
        elif name.startswith(PREFIX) and not _FOREIGN.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name}: no such setting{hint}")
    try:
        return Settings.model_validate({**values, "kafka": kafka})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{variable(str(first['loc'][0]))}: {message}, not {first['input']!r}") from None


def _property(name: str) -> str:
    prop = name.removeprefix(KAFKA_PREFIX).lower().replace("_", ".")
    if prop in _OURS_TO_SET:
        raise SettingsError(f"{name}: pixelcore sets {prop} itself")
    return prop
