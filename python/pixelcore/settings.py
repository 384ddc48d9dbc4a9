"""The settings: environment variables ``PIXELCORE_*``, each also a flag of ``pixelcore serve``.

This file is their reference; flags and `--help` are made from it.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from ._core import check_proxies
from .address import HostPort
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
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])(i?)B?|B)?", re.IGNORECASE)


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a duration such as '90s', '15m', '12h' or '7d'")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a number of bytes such as '65536', '64MiB' or '10GB'")
    step = 1024 if match[3] else 1000
    return int(Decimal(match[1]) * step ** " KMGTP".index((match[2] or " ").upper()))


def _fsync(text: str) -> float | str:
    if text in ("never", "always"):
        return text
    with contextlib.suppress(ValueError):
        if 0.01 <= (seconds := _duration(text)) <= 60:
            return seconds
    raise ValueError("must be 'never', 'always', or an interval of 10ms to 60s such as '1s'")


def _proxies(text: str) -> str:
    check_proxies(text)
    return text


def _vendors(text: str) -> tuple[str, ...]:
    names = tuple(name for name in map(str.strip, text.split(",")) if name)
    if not {"segment", "rudderstack"}.issuperset(names):
        raise ValueError("must be of 'segment' and 'rudderstack', with a comma between them")
    return names


def _address(text: str) -> str:
    if text:
        try:
            HostPort.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or empty") from None
    return text


def _loopback(text: str) -> str:
    with contextlib.suppress(ValueError):
        if HostPort.parse(text).is_loopback:
            return text
    raise ValueError("must be HOST:PORT with a loopback address, such as 127.0.0.1:9109")


def _read_by(reader: Callable[[str], object]) -> Meta:
    """What turns the text of a setting into what it is checked as. Raises `ValueError` that says what it must be."""
    return Meta(extra={"reader": reader})


def _says(description: str) -> Meta:
    return Meta(description=description)


_MOST = 2**50  # bytes

Seconds = Annotated[float, Meta(ge=0, le=10 * 366 * 86400), _read_by(_duration)]
Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1, le=2**24)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings with their defaults."""

    data_dir: Annotated[Path, _says("Where journals and the gateway's identity live.")] = Path("pixelcore-data")
    fsync: Annotated[
        float | Literal["never", "always"],
        _read_by(_fsync),
        _says("What a power cut may lose: an interval, 'never', or 'always' (the GIF waits for the device)."),
    ] = 1.0
    journal_max_bytes: Annotated[
        int,
        Meta(ge=2**20, le=_MOST),
        _read_by(_size),
        _says("Budget of all events' journals; beyond it events are lost."),
    ] = 10 * 2**30
    journal_segment_bytes: Annotated[
        int, Meta(ge=2**12, le=_MOST), _read_by(_size), _says("Size of a journal's segments.")
    ] = 64 * 2**20
    journal_retain: Annotated[Seconds, _says("How long shipped segments are kept, such as '7d'.")] = 0.0
    rejected_max_bytes: Annotated[
        int,
        Meta(ge=2**16, le=_MOST),
        _read_by(_size),
        _says("Budget of the rejections' journals; beyond it the oldest go."),
    ] = 256 * 2**20

    max_query_bytes: Annotated[Count, _says("Longer queries are rejected.")] = 8192
    max_parameters: Annotated[Count, _says("Queries with more parameters are rejected.")] = 256
    max_depth: Annotated[Count, _says("Dotted paths with more segments are rejected.")] = 32
    keys_file: Annotated[
        Path | None, _says("TOML file of the pipelines' keys, read again when it changes; without one any key will do.")
    ] = None
    trusted_proxies: Annotated[
        str,
        _read_by(_proxies),
        _says("Networks whose X-Forwarded-For or Forwarded is believed, such as '10.0.0.0/8, loopback'."),
    ] = ""
    ip: Annotated[
        Literal["full", "truncated", "none"],
        _says("How much of the client's address events keep; truncated: IPv4 to /24, IPv6 to /48."),
    ] = "full"
    respect_gpc: Annotated[
        bool, _says("Leave out ip, userAgent, userId, anonymousId and traits where Sec-GPC is 1.")
    ] = False
    automated: Annotated[
        Literal["flag", "reject"],
        _says("What becomes of requests that no person made, such as prefetches and crawlers."),
    ] = "flag"
    compat: Annotated[
        tuple[Literal["segment", "rudderstack"], ...],
        _read_by(_vendors),
        _says("Whose pixel URLs are understood, too: segment, rudderstack, or both with a comma between them."),
    ] = ()
    typed_values: Annotated[bool, _says("Read true, false and numbers as JSON ones where nothing is lost.")] = False
    debug_header: Annotated[bool, _says("Answer with X-Pixelcore: accepted, or the rejection's reason.")] = False

    inline: Annotated[
        Literal["auto", "off"],
        _says("Answer in Granian's thread where Granian is as expected, which costs least; off: in the event loop."),
    ] = "auto"

    topic: Annotated[Name, _says("The Kafka topic of the events.")] = "raw-events"
    rejected_topic: Annotated[
        Name | None, _says("The Kafka topic of rejected requests; without it they stay in their journal.")
    ] = None
    checkpoint_topic: Annotated[Name, _says("The compacted topic of the journals' committed offsets.")] = (
        "pixelcore-checkpoints"
    )
    delivery: Annotated[
        Literal["exactly-once", "at-least-once"],
        _says("Transactions, or an idempotent producer with a checkpoint on disk."),
    ] = "exactly-once"
    drain_seconds: Annotated[float, Meta(ge=0, le=3600), _says("How long a stopping worker goes on shipping.")] = 10.0

    metrics_address: Annotated[
        str, _read_by(_address), _says("Where 'pixelcore serve' serves Prometheus metrics; empty: nowhere.")
    ] = "127.0.0.1:9108"
    inspect_address: Annotated[
        str, _read_by(_loopback), _says("Where 'pixelcore serve --inspect' serves the live page: a loopback address.")
    ] = "127.0.0.1:9109"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _says("What is logged.")] = "info"
    log_format: Annotated[
        Literal["auto", "json", "pretty"], _says("JSON lines, pretty lines, or pretty on a terminal only.")
    ] = "auto"

    kafka: Annotated[
        dict[str, str],
        _says("librdkafka properties; in the environment PIXELCORE_KAFKA_ and the name, with _ for '.'."),
    ] = {}

    @property
    def ships(self) -> bool:
        """Whether there is a Kafka to ship to."""
        return "bootstrap.servers" in self.kafka


_METAS: dict[str, tuple[Meta, ...]] = {
    name: hint.__metadata__ for name, hint in get_type_hints(Settings, include_extras=True).items()
}


DEFAULTS = Settings()


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return _NAMED_OTHERWISE.get(field, PREFIX + field.upper())


def described() -> dict[str, str]:
    """What each setting is for, by the name of its field."""
    return {name: "".join(meta.description or "" for meta in metas) for name, metas in _METAS.items()}


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises `SettingsError` with one line that names the first wrong one."""
    known = {variable(name): name for name in _METAS if name != "kafka"}
    texts: dict[str, str] = {}
    kafka: dict[str, str] = {}
    for name, value in environ.items():
        if name in known:
            texts[known[name]] = value
        elif name.startswith(KAFKA_PREFIX):
            kafka[_property(name)] = value
        elif name.startswith(PREFIX) and not _FOREIGN.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name}: no such setting{hint}")
    values = {name: _read(name, text) for name, text in texts.items()}
    try:
        return msgspec.convert(
            {**values, "kafka": kafka}, Settings, strict=False, dec_hook=lambda path, text: path(text)
        )
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        raise _wrong(name, _explained(name, message), texts[name]) from None


def _read(name: str, text: str) -> object:
    for meta in _METAS[name]:
        if meta.extra is not None:
            try:
                return meta.extra["reader"](text)
            except ValueError as error:
                raise _wrong(name, str(error), text) from None
    return text


def _explained(name: str, message: str) -> str:
    """What msgspec says of a value, in words that do not need its types."""
    hint = get_type_hints(Settings)[name]
    if get_origin(hint) is Literal:
        return f"must be {' or '.join(map(repr, get_args(hint)))}"
    wanted = message.partition(", got ")[0].replace("`bool`", "true or false").replace("`", "")
    return wanted.replace("Expected", "must be")


def _wrong(name: str, message: str, text: str) -> SettingsError:
    return SettingsError(f"{variable(name)}: {message}, not {text!r}")


def _property(name: str) -> str:
    prop = name.removeprefix(KAFKA_PREFIX).lower().replace("_", ".")
    if prop in _OURS_TO_SET:
        raise SettingsError(f"{name}: pixelcore sets {prop} itself")
    return prop
