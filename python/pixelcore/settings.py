"""The settings: environment variables ``PIXELCORE_*``, each also a flag of ``pixelcore serve``.

This file is their reference. The flags and ``--help`` are made from it. It checks each value and their combinations, and knows
nothing of the code that uses them. No message shows a secret.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from . import setting_texts as texts
from .errors import SettingsError
from .paths import parse_paths

PREFIX = "PIXELCORE_"
KAFKA_PREFIX = "PIXELCORE_KAFKA_"
# It looks like a librdkafka property, but is not.
_NAMED_OTHERWISE = {"rejected_topic": "PIXELCORE_KAFKA_REJECTED_TOPIC"}
BOOTSTRAP = frozenset({"bootstrap.servers", "metadata.broker.list"})
_OURS_TO_SET = frozenset(
    {"transactional.id", "enable.idempotence", "group.id", "isolation.level", "delivery.report.only.error"}
)
_SECRET = frozenset({"consent_secret"})
"""Settings whose value no message shows."""
# Kubernetes sets these variables for a Service named pixelcore, and the tests set their own.
_FOREIGN = re.compile(r"PIXELCORE_(TEST_.*|SERVICE_(HOST|PORT).*|PORT(_.*)?)")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how os.environ represents other bytes
_MOST_OF_IT = re.compile(r".*/[0-7]")


def _read_by(reader: Callable[[str], object], form: str = "TEXT") -> Meta:
    """The reader that turns a setting's text into its value. ``form`` is the placeholder in ``--help``.

    ``reader`` raises ``ValueError`` with the expected form.
    """
    return Meta(extra={"reader": reader, "form": form})


def _says(description: str) -> Meta:
    return Meta(description=description)


_MOST = 2**50  # bytes

Seconds = Annotated[float, Meta(ge=0, le=10 * 366 * 86400), _read_by(texts.duration, "DURATION")]
Count = Annotated[int, Meta(ge=1, le=2**24)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings with their defaults."""

    bind: Annotated[
        str,
        _read_by(texts.bind, "HOST:PORT"),
        _says("Address of 'pixelcore serve'; without it, the platform's PORT on all addresses."),
    ] = "0.0.0.0:8080"
    workers: Annotated[int, Meta(ge=1, le=1024), _says("Number of worker processes of 'pixelcore serve'.")] = 1
    root_text: Annotated[
        str,
        Meta(min_length=1),
        _read_by(str, "TEXT"),
        _says("Text that '/' answers, such as who runs the gateway and where its privacy page is."),
    ] = "A pixelcore gateway: it takes tracking pixels under /v1/pixel/, and has no pages."

    data_dir: Annotated[Path, _says("Directory of the journals and of the gateway's other files.")] = Path(
        "pixelcore-data"
    )
    fsync: Annotated[
        float | Literal["never", "always"],
        _read_by(texts.fsync, "DURATION|never|always"),
        _says("When journals are flushed to the device: at an interval, 'never', or 'always' (before each GIF)."),
    ] = 1.0
    journal_max_bytes: Annotated[
        int,
        Meta(ge=2**20, le=_MOST),
        _read_by(texts.size, "SIZE"),
        _says("Byte budget of all journals of events; beyond it, new events are lost."),
    ] = 10 * 2**30
    journal_segment_bytes: Annotated[
        int, Meta(ge=2**12, le=_MOST), _read_by(texts.size, "SIZE"), _says("Size of a journal's segments.")
    ] = 64 * 2**20
    journal_retain: Annotated[Seconds, _says("How long shipped segments stay on the disk, such as '7d'.")] = 0.0
    rejected_max_bytes: Annotated[
        int,
        Meta(ge=2**16, le=_MOST),
        _read_by(texts.size, "SIZE"),
        _says("Byte budget of all journals of rejections; beyond it, the oldest are deleted."),
    ] = 256 * 2**20

    max_query_bytes: Annotated[Count, _says("Bytes of the longest query; longer ones are rejected.")] = 8192
    max_parameters: Annotated[Count, _says("Most parameters of a query; queries with more are rejected.")] = 256
    max_depth: Annotated[Count, _says("Most segments of a dotted name; deeper ones are rejected.")] = 32
    keys_file: Annotated[
        Path | None,
        _says("TOML file of the write keys, read again when it changes; without one, any well-formed key is accepted."),
    ] = None
    trusted_proxies: Annotated[
        str,
        _read_by(texts.proxies, "NETWORKS"),
        _says("Networks of proxies whose X-Forwarded-For or Forwarded is trusted, such as '10.0.0.0/8, loopback'."),
    ] = ""
    ip: Annotated[
        Literal["full", "truncated", "none"],
        _says("How much of the client's address an event keeps; truncated: IPv4 to /24, IPv6 to /48."),
    ] = "full"
    respect_gpc: Annotated[
        bool | Literal["deliverability", "aggregate", "none"],
        _read_by(texts.gpc, "true|false|deliverability|aggregate|none"),
        _says("Where Sec-GPC is 1: leave out ip, userAgent, userId, anonymousId and traits, or keep at most a mode."),
    ] = False
    consent_secret: Annotated[
        str,
        _read_by(texts.consent_secret, "ID:SECRET,…"),
        _says("Secrets that hash the ids in the consent list; new records use the first."),
    ] = ""
    consent_topic: Annotated[
        str, _read_by(texts.topic, "TOPIC"), _says("Compacted topic of consents and withdrawals.")
    ] = "pixelcore-consents"
    consent_max_age: Annotated[
        Seconds, _says("Age of the consent list beyond which only its withdrawals count; 0: no limit.")
    ] = 86400.0
    aggregate_window: Annotated[
        float,
        Meta(ge=1, le=86_400),
        _read_by(texts.duration, "DURATION"),
        _says("Length of a window of aggregate counts; a shorter one tells more of when somebody looked."),
    ] = 3600.0
    automated: Annotated[
        Literal["flag", "reject"],
        _says("Flag or reject requests that no person made, such as prefetches and crawlers."),
    ] = "flag"
    compat: Annotated[
        tuple[Literal["segment", "rudderstack"], ...],
        _read_by(texts.vendors, "segment|rudderstack|segment,rudderstack"),
        _says("Vendors whose pixel URLs are also accepted: segment, rudderstack, or both with a comma between them."),
    ] = ()
    paths: Annotated[
        tuple[tuple[str, str], ...],
        _read_by(parse_paths, "PATH=TYPE,…"),
        _says("Additional pixel paths with their types, such as '/open=track,/img/welcome=page'."),
    ] = ()
    typed_values: Annotated[bool, _says("Write true, false and numbers as JSON values where nothing is lost.")] = False
    debug_header: Annotated[
        bool, _says("Add the header X-Pixelcore to the GIF: accepted, or the rejection's reason.")
    ] = False

    inline: Annotated[
        Literal["auto", "off"],
        _says("auto: answer in Granian's thread if this Granian is known, which costs least; off: in the event loop."),
    ] = "auto"

    topic: Annotated[str, _read_by(texts.topic, "TOPIC"), _says("Kafka topic of the events.")] = "raw-events"
    rejected_topic: Annotated[
        str | None,
        _read_by(texts.topic, "TOPIC"),
        _says("Kafka topic of rejected requests; without it, they stay in their journal."),
    ] = None
    checkpoint_topic: Annotated[
        str, _read_by(texts.topic, "TOPIC"), _says("Compacted topic of the journals' checkpoints.")
    ] = "pixelcore-checkpoints"
    last_open_topic: Annotated[
        str, _read_by(texts.topic, "TOPIC"), _says("Compacted topic of the day of each person's last opening.")
    ] = "pixelcore-last-opens"
    aggregate_topic: Annotated[
        str, _read_by(texts.topic, "TOPIC"), _says("Topic of the counts by pipeline and window.")
    ] = "pixelcore-counts"
    delivery: Annotated[
        Literal["exactly-once", "at-least-once"],
        _says("exactly-once: transactions; at-least-once: an idempotent producer with a checkpoint on the disk."),
    ] = "exactly-once"
    batch_interval: Annotated[
        float,
        Meta(ge=0, le=60),
        _read_by(texts.duration, "DURATION"),
        _says("Time between batches that are not full; less costs CPU here and at the brokers."),
    ] = 0.1
    topic_partitions: Annotated[
        int,
        Meta(ge=0, le=10_000),
        _says("Partitions of topics that pixelcore creates; 0: the brokers' default."),
    ] = 0
    topic_replicas: Annotated[
        int, Meta(ge=0, le=100), _says("Replicas of topics that pixelcore creates; 0: the brokers' default.")
    ] = 0
    undeliverable_max_bytes: Annotated[
        int,
        Meta(ge=2**16, le=_MOST),
        _read_by(texts.size, "SIZE"),
        _says("Byte budget of the events that a topic refused; beyond it, shipping stops."),
    ] = 256 * 2**20
    drain_seconds: Annotated[
        float,
        Meta(ge=0, le=3600),
        _read_by(texts.duration, "DURATION"),
        _says("How long a stopping worker continues to ship."),
    ] = 10.0
    handover_seconds: Annotated[
        float,
        Meta(ge=0, le=3600),
        _read_by(texts.duration, "DURATION"),
        _says("How long a stopping worker continues to answer, with 503 on /readyz, before it closes its port."),
    ] = 0.0

    tls_cert: Annotated[
        Path | None, _says("PEM file of a certificate and its chain; with it, 'pixelcore serve' speaks https.")
    ] = None
    tls_key: Annotated[Path | None, _says("PEM file of the certificate's key.")] = None
    metrics_address: Annotated[
        str,
        _read_by(texts.address, "HOST:PORT"),
        _says("Address of the Prometheus metrics of 'pixelcore serve'; empty: no metrics."),
    ] = "127.0.0.1:9108"
    inspect_address: Annotated[
        str,
        _read_by(texts.loopback, "HOST:PORT"),
        _says("Loopback address of the live page of 'pixelcore serve --inspect'."),
    ] = "127.0.0.1:9109"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _says("Lowest level that is logged.")] = "info"
    log_format: Annotated[
        Literal["auto", "json", "pretty"],
        _says("json: JSON lines; pretty: plain lines; auto: pretty on a terminal, json elsewhere."),
    ] = "auto"

    kafka: Annotated[
        dict[str, str],
        _says("librdkafka properties; in the environment, PIXELCORE_KAFKA_ and the name with _ instead of '.'."),
    ] = {}

    @property
    def ships(self) -> bool:
        """Whether Kafka is set, so that events are shipped."""
        return not BOOTSTRAP.isdisjoint(self.kafka)


def trusted_by_all(proxies: str) -> str | None:
    """The first network in a list of proxies that is most of the Internet, so that any client could forge its address."""
    return next((entry for entry in map(str.strip, proxies.split(",")) if _MOST_OF_IT.fullmatch(entry)), None)


_METAS: dict[str, tuple[Meta, ...]] = {
    name: hint.__metadata__ for name, hint in get_type_hints(Settings, include_extras=True).items()
}


DEFAULTS = Settings()


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return _NAMED_OTHERWISE.get(field, PREFIX + field.upper())


def described() -> dict[str, str]:
    """The description of each setting, by the name of its field."""
    return {name: "".join(meta.description or "" for meta in metas) for name, metas in _METAS.items()}


def form(field: str) -> str | None:
    """The placeholder for a setting's text, if its type does not determine it."""
    return next((str(meta.extra["form"]) for meta in _METAS[field] if meta.extra is not None), None)


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
            raise SettingsError(f"{name}: no such setting{_meant(name, known)}")
        else:
            continue
        if _NOT_UTF8.search(value):
            raise SettingsError(f"{name}: must be UTF-8, not {value!r}")
    values = {name: _read(name, text) for name, text in texts.items()}
    try:
        settings = msgspec.convert(
            {**values, "kafka": kafka}, Settings, strict=False, dec_hook=lambda path, text: path(text)
        )
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        raise _wrong(name, _explained(name, message), texts[name]) from None
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    """Raise `SettingsError` for settings that contradict each other."""
    if settings.kafka and not settings.ships:
        given = KAFKA_PREFIX + min(settings.kafka).upper().replace(".", "_")
        raise SettingsError(f"{KAFKA_PREFIX}BOOTSTRAP_SERVERS: is not set, but {given} is")
    names = ("topic", "rejected_topic", "checkpoint_topic", "last_open_topic", "aggregate_topic", "consent_topic")
    topics = [(name, getattr(settings, name)) for name in names]
    for index, (name, topic) in enumerate(topics):
        for other, same in topics[:index]:
            if topic == same and topic is not None:
                raise SettingsError(f"{variable(name)}: is {topic!r}, like {variable(other)}; each needs its own topic")


def _meant(name: str, known: Iterable[str]) -> str:
    """A hint at the setting with the most similar name, without the common prefix."""
    endings = {other.removeprefix(PREFIX): other for other in (*known, f"{KAFKA_PREFIX}BOOTSTRAP_SERVERS")}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), endings, n=1, cutoff=0.7)
    return f"; did you mean {endings[near[0]]}?" if near else ""


def _read(name: str, text: str) -> object:
    for meta in _METAS[name]:
        if meta.extra is not None:
            try:
                return meta.extra["reader"](text)
            except ValueError as error:
                if name in _SECRET:
                    raise SettingsError(f"{variable(name)}: {error}") from None
                raise _wrong(name, str(error), text) from None
    return text


def _explained(name: str, message: str) -> str:
    """msgspec's error about a value, without its names of types."""
    hint = get_type_hints(Settings)[name]
    if get_origin(hint) is Literal:
        return f"must be {' or '.join(map(repr, get_args(hint)))}"
    wanted = message.partition(", got ")[0].replace("`bool`", "true or false")
    wanted = wanted.replace("`int`", "a whole number").replace("`float`", "a number").replace("`", "")
    return wanted.replace("Expected", "must be")


def _wrong(name: str, message: str, text: str) -> SettingsError:
    return SettingsError(f"{variable(name)}: {message}, not {text!r}")


def _property(name: str) -> str:
    prop = name.removeprefix(KAFKA_PREFIX).lower().replace("_", ".")
    if prop in _OURS_TO_SET:
        raise SettingsError(f"{name}: pixelcore sets {prop} itself")
    return prop
