"""Section 7 of the contract: settings are ``PIXELCORE_*``, each also a flag, and a wrong one stops the start with one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pixelcore import SettingsError, settings

from tests.kafka.broker import free_port
from tests.support.consents import OTHER, SECRET
from tests.support.servers import clean_environment

RIGHT: list[tuple[str, str, str, Any]] = [
    # variable, its text, the field, its value
    ("PIXELCORE_BIND", "[::]:80", "bind", "[::]:80"),
    ("PIXELCORE_BIND", "localhost:65535", "bind", "localhost:65535"),
    ("PIXELCORE_WORKERS", "4", "workers", 4),
    ("PIXELCORE_ROOT_TEXT", "Ask px@example.com", "root_text", "Ask px@example.com"),
    ("PIXELCORE_DATA_DIR", "/var/lib/pixelcore", "data_dir", Path("/var/lib/pixelcore")),
    ("PIXELCORE_DATA_DIR", "relative/with space", "data_dir", Path("relative/with space")),
    ("PIXELCORE_FSYNC", "never", "fsync", "never"),
    ("PIXELCORE_FSYNC", "always", "fsync", "always"),
    ("PIXELCORE_FSYNC", "1s", "fsync", 1.0),
    ("PIXELCORE_FSYNC", "10ms", "fsync", 0.01),
    ("PIXELCORE_FSYNC", "0.5", "fsync", 0.5),
    ("PIXELCORE_FSYNC", "60s", "fsync", 60.0),
    ("PIXELCORE_FSYNC", "1m", "fsync", 60.0),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "1048576", "journal_max_bytes", 2**20),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "1MiB", "journal_max_bytes", 2**20),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "1.5GiB", "journal_max_bytes", 3 * 2**29),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "10GB", "journal_max_bytes", 10**10),
    ("PIXELCORE_JOURNAL_SEGMENT_BYTES", "4KiB", "journal_segment_bytes", 4096),
    ("PIXELCORE_JOURNAL_RETAIN", "0", "journal_retain", 0.0),
    ("PIXELCORE_JOURNAL_RETAIN", "90", "journal_retain", 90.0),
    ("PIXELCORE_JOURNAL_RETAIN", "15m", "journal_retain", 900.0),
    ("PIXELCORE_JOURNAL_RETAIN", "12h", "journal_retain", 43_200.0),
    ("PIXELCORE_JOURNAL_RETAIN", "7d", "journal_retain", 604_800.0),
    ("PIXELCORE_JOURNAL_RETAIN", " 7 d ", "journal_retain", 604_800.0),
    ("PIXELCORE_REJECTED_MAX_BYTES", "64KiB", "rejected_max_bytes", 2**16),
    ("PIXELCORE_MAX_QUERY_BYTES", "65536", "max_query_bytes", 65_536),
    ("PIXELCORE_MAX_PARAMETERS", "1", "max_parameters", 1),
    ("PIXELCORE_MAX_DEPTH", "5", "max_depth", 5),
    ("PIXELCORE_KEYS_FILE", "/etc/pixelcore/keys.toml", "keys_file", Path("/etc/pixelcore/keys.toml")),
    ("PIXELCORE_TRUSTED_PROXIES", "10.0.0.0/8, loopback", "trusted_proxies", "10.0.0.0/8, loopback"),
    ("PIXELCORE_TRUSTED_PROXIES", "", "trusted_proxies", ""),
    ("PIXELCORE_IP", "truncated", "ip", "truncated"),
    ("PIXELCORE_IP", "none", "ip", "none"),
    ("PIXELCORE_RESPECT_GPC", "true", "respect_gpc", True),
    ("PIXELCORE_CONSENT_SECRET", SECRET, "consent_secret", SECRET),
    ("PIXELCORE_CONSENT_SECRET", f"{SECRET},{OTHER}", "consent_secret", f"{SECRET},{OTHER}"),
    ("PIXELCORE_CONSENT_SECRET", "", "consent_secret", ""),
    ("PIXELCORE_CONSENT_TOPIC", "consents", "consent_topic", "consents"),
    ("PIXELCORE_CONSENT_MAX_AGE", "1h", "consent_max_age", 3600.0),
    ("PIXELCORE_CONSENT_MAX_AGE", "0", "consent_max_age", 0.0),
    ("PIXELCORE_RESPECT_GPC", "FALSE", "respect_gpc", False),
    ("PIXELCORE_RESPECT_GPC", "none", "respect_gpc", "none"),
    ("PIXELCORE_AGGREGATE_WINDOW", "1d", "aggregate_window", 86_400.0),
    ("PIXELCORE_AUTOMATED", "reject", "automated", "reject"),
    ("PIXELCORE_COMPAT", "segment, rudderstack", "compat", ("segment", "rudderstack")),
    ("PIXELCORE_PATHS", "/o=track,/img/p=page", "paths", (("/o", "track"), ("/img/p", "page"))),
    ("PIXELCORE_TYPED_VALUES", "true", "typed_values", True),
    ("PIXELCORE_TYPED_VALUES", "1", "typed_values", True),
    ("PIXELCORE_TYPED_VALUES", "FALSE", "typed_values", False),
    ("PIXELCORE_DEBUG_HEADER", "true", "debug_header", True),
    ("PIXELCORE_DRAIN_SECONDS", "90", "drain_seconds", 90.0),
    ("PIXELCORE_DRAIN_SECONDS", "2m", "drain_seconds", 120.0),
    ("PIXELCORE_TOPIC", "events", "topic", "events"),
    ("PIXELCORE_KAFKA_REJECTED_TOPIC", "rejections", "rejected_topic", "rejections"),
    ("PIXELCORE_CHECKPOINT_TOPIC", "checkpoints", "checkpoint_topic", "checkpoints"),
    ("PIXELCORE_LAST_OPEN_TOPIC", "opens", "last_open_topic", "opens"),
    ("PIXELCORE_AGGREGATE_TOPIC", "counts", "aggregate_topic", "counts"),
    ("PIXELCORE_DELIVERY", "at-least-once", "delivery", "at-least-once"),
    ("PIXELCORE_BATCH_INTERVAL", "20ms", "batch_interval", 0.02),
    ("PIXELCORE_TOPIC_PARTITIONS", "12", "topic_partitions", 12),
    ("PIXELCORE_TOPIC_REPLICAS", "3", "topic_replicas", 3),
    ("PIXELCORE_UNDELIVERABLE_MAX_BYTES", "1GiB", "undeliverable_max_bytes", 2**30),
    ("PIXELCORE_DRAIN_SECONDS", "2.5", "drain_seconds", 2.5),
    ("PIXELCORE_HANDOVER_SECONDS", "5", "handover_seconds", 5.0),
    ("PIXELCORE_TLS_CERT", "/etc/pixelcore/cert.pem", "tls_cert", Path("/etc/pixelcore/cert.pem")),
    ("PIXELCORE_TLS_KEY", "/etc/pixelcore/key.pem", "tls_key", Path("/etc/pixelcore/key.pem")),
    ("PIXELCORE_METRICS_ADDRESS", "0.0.0.0:9108", "metrics_address", "0.0.0.0:9108"),
    ("PIXELCORE_METRICS_ADDRESS", "[::1]:1", "metrics_address", "[::1]:1"),
    ("PIXELCORE_METRICS_ADDRESS", "", "metrics_address", ""),
    ("PIXELCORE_INSPECT_ADDRESS", "127.0.0.2:1", "inspect_address", "127.0.0.2:1"),
    ("PIXELCORE_INSPECT_ADDRESS", "[::1]:1", "inspect_address", "[::1]:1"),
    ("PIXELCORE_INSPECT_ADDRESS", "localhost:9109", "inspect_address", "localhost:9109"),
    ("PIXELCORE_LOG_LEVEL", "debug", "log_level", "debug"),
    ("PIXELCORE_INLINE", "off", "inline", "off"),
    ("PIXELCORE_LOG_FORMAT", "json", "log_format", "json"),
]


@pytest.mark.parametrize(("variable", "text", "field", "value"), RIGHT)
def test_right_values(variable: str, text: str, field: str, value: Any) -> None:
    assert getattr(settings.load({variable: text}), field) == value


def test_each_setting_has_a_right_value_above() -> None:
    assert {row[2] for row in RIGHT} == set(settings.described()) - {"kafka"}


def test_defaults() -> None:
    """Those that the contract names."""
    defaults = settings.load({})
    assert defaults.data_dir == Path("pixelcore-data")
    assert defaults.fsync == 1.0
    assert defaults.journal_max_bytes == 10 * 2**30
    assert defaults.delivery == "exactly-once"
    assert (defaults.topic, defaults.rejected_topic) == ("raw-events", None)
    assert (defaults.max_query_bytes, defaults.max_parameters, defaults.max_depth) == (8192, 256, 32)
    assert (defaults.typed_values, defaults.debug_header) == (False, False)
    assert (defaults.keys_file, defaults.trusted_proxies, defaults.ip) == (None, "", "full")
    assert (defaults.respect_gpc, defaults.automated) == (False, "flag")
    assert (defaults.kafka, defaults.ships) == ({}, False)


# Too big for where they go: 64 bits, a timeout of the operating system, a number of milliseconds.
TOO_BIG: list[tuple[str, str]] = [
    ("PIXELCORE_DRAIN_SECONDS", "inf"),
    ("PIXELCORE_DRAIN_SECONDS", "1e300"),
    ("PIXELCORE_JOURNAL_RETAIN", "inf"),
    ("PIXELCORE_JOURNAL_RETAIN", "99999999999999999999d"),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "99999999999999999999"),
    ("PIXELCORE_JOURNAL_SEGMENT_BYTES", "99999999999999999999"),
    ("PIXELCORE_REJECTED_MAX_BYTES", "99999999999999999999"),
    ("PIXELCORE_MAX_QUERY_BYTES", "99999999999999999999"),
    ("PIXELCORE_MAX_PARAMETERS", "99999999999999999999"),
    ("PIXELCORE_MAX_DEPTH", "99999999999999999999"),
]

WRONG: list[tuple[str, str]] = [
    ("PIXELCORE_BIND", ""),
    ("PIXELCORE_BIND", "8080"),
    ("PIXELCORE_BIND", ":8080"),
    ("PIXELCORE_BIND", "localhost:"),
    ("PIXELCORE_BIND", "localhost:0"),
    ("PIXELCORE_BIND", "localhost:65536"),
    ("PIXELCORE_BIND", "0.0.0.0:²"),
    ("PIXELCORE_WORKERS", "0"),
    ("PIXELCORE_WORKERS", "1025"),
    ("PIXELCORE_WORKERS", "all"),
    ("PIXELCORE_ROOT_TEXT", ""),
    ("PIXELCORE_ROOT_TEXT", "not UTF-8: \udcff"),
    ("PIXELCORE_TOPIC", "\udcff"),
    ("PIXELCORE_KAFKA_CLIENT_ID", "\udcff"),
    ("PIXELCORE_FSYNC", ""),
    ("PIXELCORE_FSYNC", "0"),
    ("PIXELCORE_FSYNC", "9ms"),
    ("PIXELCORE_FSYNC", "2m"),
    ("PIXELCORE_FSYNC", "nan"),
    ("PIXELCORE_FSYNC", "sometimes"),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "1023KiB"),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "lots"),
    ("PIXELCORE_JOURNAL_MAX_BYTES", "-1"),
    ("PIXELCORE_JOURNAL_SEGMENT_BYTES", "4095"),
    ("PIXELCORE_JOURNAL_RETAIN", "soon"),
    ("PIXELCORE_JOURNAL_RETAIN", "-1"),
    ("PIXELCORE_JOURNAL_RETAIN", "7 weeks"),
    ("PIXELCORE_JOURNAL_RETAIN", "nan"),
    ("PIXELCORE_REJECTED_MAX_BYTES", "65535"),
    ("PIXELCORE_MAX_QUERY_BYTES", "0"),
    ("PIXELCORE_MAX_PARAMETERS", "many"),
    ("PIXELCORE_MAX_DEPTH", "1.5"),
    ("PIXELCORE_TRUSTED_PROXIES", "all"),
    ("PIXELCORE_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("PIXELCORE_TRUSTED_PROXIES", "10.0.0.0/8,"),
    ("PIXELCORE_IP", "half"),
    ("PIXELCORE_RESPECT_GPC", "sometimes"),
    ("PIXELCORE_AUTOMATED", "drop"),
    ("PIXELCORE_COMPAT", "snowplow"),
    ("PIXELCORE_TYPED_VALUES", "maybe"),
    ("PIXELCORE_TYPED_VALUES", ""),
    ("PIXELCORE_DEBUG_HEADER", "2"),
    ("PIXELCORE_TOPIC", ""),
    ("PIXELCORE_TOPIC", "two words"),
    ("PIXELCORE_TOPIC", ".."),
    ("PIXELCORE_TOPIC", "a" * 250),
    ("PIXELCORE_KAFKA_REJECTED_TOPIC", "ä"),
    ("PIXELCORE_BATCH_INTERVAL", "61s"),
    ("PIXELCORE_BATCH_INTERVAL", "-1"),
    ("PIXELCORE_TOPIC_PARTITIONS", "-1"),
    ("PIXELCORE_TOPIC_REPLICAS", "some"),
    ("PIXELCORE_UNDELIVERABLE_MAX_BYTES", "65535"),
    ("PIXELCORE_KAFKA_REJECTED_TOPIC", ""),
    ("PIXELCORE_CHECKPOINT_TOPIC", ""),
    ("PIXELCORE_DELIVERY", "at-most-once"),
    ("PIXELCORE_DRAIN_SECONDS", "-1"),
    ("PIXELCORE_HANDOVER_SECONDS", "-1"),
    ("PIXELCORE_DRAIN_SECONDS", "nan"),
    ("PIXELCORE_METRICS_ADDRESS", "9108"),
    ("PIXELCORE_METRICS_ADDRESS", ":9108"),
    ("PIXELCORE_METRICS_ADDRESS", "localhost:http"),
    ("PIXELCORE_METRICS_ADDRESS", "localhost:0"),
    ("PIXELCORE_METRICS_ADDRESS", "localhost:65536"),
    ("PIXELCORE_INSPECT_ADDRESS", "0.0.0.0:9109"),
    ("PIXELCORE_INSPECT_ADDRESS", "[::]:9109"),
    ("PIXELCORE_INSPECT_ADDRESS", "192.0.2.1:9109"),
    ("PIXELCORE_INSPECT_ADDRESS", "localhost.example.com:9109"),
    ("PIXELCORE_INSPECT_ADDRESS", "127.0.0.1:0"),
    ("PIXELCORE_INSPECT_ADDRESS", ":9109"),
    ("PIXELCORE_INSPECT_ADDRESS", "9109"),
    ("PIXELCORE_INSPECT_ADDRESS", ""),
    ("PIXELCORE_LOG_LEVEL", "loud"),
    ("PIXELCORE_INLINE", "on"),
    ("PIXELCORE_LOG_FORMAT", "xml"),
    ("PIXELCORE_FSYNC", "two\nlines"),
    *TOO_BIG,
]


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_wrong_values_are_named_in_one_line(variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load({"PIXELCORE_TOPIC": "right", variable: text})
    message = str(caught.value)
    assert message.startswith(f"{variable}: ")
    assert len(message.splitlines()) == 1
    assert repr(text) in message, "what was found helps to find it"


CONTRADICTIONS: list[tuple[dict[str, str], str]] = [
    (
        {"PIXELCORE_TOPIC": "x", "PIXELCORE_CHECKPOINT_TOPIC": "x"},
        "PIXELCORE_CHECKPOINT_TOPIC: is 'x', like PIXELCORE_TOPIC; each needs its own topic",
    ),
    (
        {"PIXELCORE_KAFKA_REJECTED_TOPIC": "raw-events"},
        "PIXELCORE_KAFKA_REJECTED_TOPIC: is 'raw-events', like PIXELCORE_TOPIC; each needs its own topic",
    ),
    (
        {"PIXELCORE_KAFKA_BOOTSTRAP_SERVER": "localhost:9092"},
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is not set, but PIXELCORE_KAFKA_BOOTSTRAP_SERVER is",
    ),
    (
        {"PIXELCORE_KAFKA_COMPRESSION_TYPE": "zstd"},
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is not set, but PIXELCORE_KAFKA_COMPRESSION_TYPE is",
    ),
]


@pytest.mark.parametrize(("environment", "message"), CONTRADICTIONS)
def test_settings_that_contradict_each_other(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(environment)
    assert str(caught.value) == message


UNKNOWN: list[tuple[str, str | None]] = [
    # variable, the one that was meant
    ("PIXELCORE_DATADIR", "PIXELCORE_DATA_DIR"),
    ("PIXELCORE_TOPICS", "PIXELCORE_TOPIC"),
    ("PIXELCORE_JOURNAL_MAXBYTES", "PIXELCORE_JOURNAL_MAX_BYTES"),
    ("PIXELCORE_DRAIN_SECOND", "PIXELCORE_DRAIN_SECONDS"),
    ("PIXELCORE_CHECKPOINTS_TOPIC", "PIXELCORE_CHECKPOINT_TOPIC"),
    ("PIXELCORE_BOOTSTRAP_SERVERS", "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS"),
    ("PIXELCORE_WORKER", "PIXELCORE_WORKERS"),
    ("PIXELCORE_HOST", None),
    ("PIXELCORE_ADDRESS", None),
    ("PIXELCORE_LISTEN", None),
    ("PIXELCORE_KEY", None),
    ("PIXELCORE_data_dir", None),
    ("PIXELCORE_", None),
]


@pytest.mark.parametrize(("variable", "meant"), UNKNOWN)
def test_unknown_variables_are_errors(variable: str, meant: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load({variable: "x"})
    message = str(caught.value)
    assert message.startswith(f"{variable}: ")
    assert len(message.splitlines()) == 1
    assert message.partition("did you mean ")[2].rstrip("?") == (meant or "")


# Kubernetes sets these in every pod of a namespace with a Service that is named pixelcore.
FOREIGN = {
    "PIXELCORE_PORT": "tcp://10.0.0.1:80",
    "PIXELCORE_PORT_80_TCP": "tcp://10.0.0.1:80",
    "PIXELCORE_PORT_80_TCP_ADDR": "10.0.0.1",
    "PIXELCORE_PORT_80_TCP_PORT": "80",
    "PIXELCORE_PORT_80_TCP_PROTO": "tcp",
    "PIXELCORE_SERVICE_HOST": "10.0.0.1",
    "PIXELCORE_SERVICE_PORT": "80",
    "PIXELCORE_SERVICE_PORT_HTTP": "80",
    "pixelcore_topic": "the name is not ours",
    "MY_PIXELCORE_TOPIC": "nor is this",
}


def test_foreign_variables_are_no_errors() -> None:
    assert settings.load(FOREIGN) == settings.load({})


KAFKA: list[tuple[str, str]] = [
    ("PIXELCORE_KAFKA_BOOTSTRAP_SERVERS", "bootstrap.servers"),
    ("PIXELCORE_KAFKA_SASL_USERNAME", "sasl.username"),
    ("PIXELCORE_KAFKA_SSL_CA_LOCATION", "ssl.ca.location"),
    ("PIXELCORE_KAFKA_LINGER_MS", "linger.ms"),
    ("PIXELCORE_KAFKA_DEBUG", "debug"),
]


@pytest.mark.parametrize(("variable", "name"), KAFKA)
def test_kafka_properties(variable: str, name: str) -> None:
    loaded = settings.load({"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": "here:9092", variable: "Text, as it IS"})
    assert loaded.kafka == {"bootstrap.servers": "here:9092", name: "Text, as it IS"}
    assert loaded.ships


@pytest.mark.parametrize("name", ["TRANSACTIONAL_ID", "ENABLE_IDEMPOTENCE", "GROUP_ID", "ISOLATION_LEVEL"])
def test_properties_that_pixelcore_sets_itself_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^PIXELCORE_KAFKA_{name}: .*itself$"):
        settings.load({f"PIXELCORE_KAFKA_{name}": "x"})


def test_settings_do_not_change() -> None:
    loaded = settings.load({})
    with pytest.raises(AttributeError, match="immutable"):
        loaded.topic = "other"  # type: ignore[misc]


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, at once."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=clean_environment(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_each_setting_is_a_flag_of_serve(tmp_path: Path) -> None:
    shown = run("pixelcore", "serve", "--help", cwd=tmp_path).stdout
    # One text per option, however click wraps it.
    options = {text.split()[0]: " ".join(text.split()) for text in re.split(r"\n  (?=-)", shown)}
    for name, description in settings.described().items():
        if name == "kafka":
            assert "PIXELCORE_KAFKA_" in options["-X"]
            continue
        text = options[f"--{name.replace('_', '-')}"]
        assert f"env: {settings.variable(name)};" in text
        assert description
        assert description in text


NOBODY = "127.0.0.1:1"
SERVE: list[tuple[str, dict[str, str], tuple[str, ...], str]] = [
    # name, environment, flags, the variable that the line names
    ("in the environment", {"PIXELCORE_FSYNC": "sometimes"}, (), "PIXELCORE_FSYNC"),
    ("by flag", {}, ("--fsync", "sometimes"), "PIXELCORE_FSYNC"),
    ("a flag wins", {"PIXELCORE_MAX_DEPTH": "1"}, ("--max-depth", "0"), "PIXELCORE_MAX_DEPTH"),
    ("unknown", {"PIXELCORE_DATADIR": "x"}, (), "PIXELCORE_DATADIR"),
    ("a key file that is missing", {"PIXELCORE_KEYS_FILE": "/missing"}, (), "PIXELCORE_KEYS_FILE"),
    ("a key file that is empty", {}, ("--keys-file", "/dev/null"), "PIXELCORE_KEYS_FILE"),
    ("a data directory that is a file", {"PIXELCORE_DATA_DIR": "/dev/null"}, (), "PIXELCORE_DATA_DIR"),
    ("a data directory below a file", {"PIXELCORE_DATA_DIR": "/dev/null/x"}, (), "PIXELCORE_DATA_DIR"),
    (
        "an unknown property",
        {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY, "PIXELCORE_KAFKA_NO_SUCH": "1"},
        (),
        "PIXELCORE_KAFKA_NO_SUCH",
    ),
    (
        "a wrong property",
        {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY, "PIXELCORE_KAFKA_QUEUE_BUFFERING_MAX_MS": "soon"},
        (),
        "PIXELCORE_KAFKA_QUEUE_BUFFERING_MAX_MS",
    ),
    # librdkafka speaks of queue.buffering.max.ms then, which nobody set.
    (
        "a wrong property by its other name",
        {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY, "PIXELCORE_KAFKA_LINGER_MS": "soon"},
        (),
        "PIXELCORE_KAFKA_LINGER_MS",
    ),
    ("a property by flag", {}, ("-X", f"bootstrap.servers={NOBODY}", "-X", "no.such=1"), "PIXELCORE_KAFKA_NO_SUCH"),
    ("a property of ours by flag", {}, ("-X", "transactional.id=x"), "PIXELCORE_KAFKA_TRANSACTIONAL_ID"),
]


@pytest.mark.parametrize(("environment", "flags", "named"), [pytest.param(*row[1:], id=row[0]) for row in SERVE])
def test_serve_stops_with_one_line(
    tmp_path: Path, environment: dict[str, str], flags: tuple[str, ...], named: str
) -> None:
    ended = run("pixelcore", "serve", "--bind", f"127.0.0.1:{free_port()}", *flags, cwd=tmp_path, **environment)
    assert ended.returncode != 0
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert f"{named}: " in line


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PIXELCORE_FSYNC", "sometimes"),
        ("PIXELCORE_DATADIR", "x"),
        ("PIXELCORE_DATA_DIR", "/dev/null/x"),
        ("PIXELCORE_KEYS_FILE", "/missing"),
    ],
)
def test_plain_granian_stops_and_says_why(tmp_path: Path, variable: str, text: str) -> None:
    ended = run("granian", "pixelcore.app:app", "--port", str(free_port()), cwd=tmp_path, **{variable: text})
    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert [line for line in output.splitlines() if line.startswith(f"pixelcore: {variable}: ")], output
    assert "Traceback" not in output
