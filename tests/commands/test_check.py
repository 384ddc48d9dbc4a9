"""``pixelcore check``: a correct set-up, and for each wrong one a line that names the fault."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pixelcore.settings
import pytest
from pixelcore.commands import checks
from pixelcore.commands.checks import Check, judge
from pixelcore.commands.checks.findings import Finding, Setup
from pixelcore.commands.checks.machine import compare_clocks
from pixelcore.commands.checks.topics import replication_warnings

from tests.kafka.broker import Broker
from tests.kafka.secured import secured_broker, signed_in
from tests.kafka.topics import read_committed, sizes
from tests.support.commands import command, run
from tests.support.consents import SECRET
from tests.support.servers import Serve, clean_environment, forward

pytestmark = pytest.mark.kafka

Lines = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as started:
        yield started


@pytest.fixture
def setup(secured: Broker, tmp_path: Path) -> dict[str, str]:
    """Correct settings, and the addresses that rows may use."""
    return {
        "PIXELCORE_DATA_DIR": str(tmp_path / "data"),
        "PIXELCORE_JOURNAL_MAX_BYTES": "1MiB",
        "PIXELCORE_REJECTED_MAX_BYTES": "1MiB",
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": secured.bootstrap,
        "PIXELCORE_TOPIC": "events",
        "PIXELCORE_CHECKPOINT_TOPIC": "checkpoints",
    }


def parsed(output: str) -> Lines:
    """Each line's level and text by its name."""
    assert "\x1b" not in output, "plain in a pipe"
    lines = {line[5:21].strip(): (line[:4].strip(), line[23:]) for line in output.splitlines()}
    assert len(lines) == len(output.splitlines()), output
    return lines


def check(tmp_path: Path, settings: dict[str, str], *arguments: str) -> tuple[int, Lines]:
    """The command's exit code and lines."""
    ended = run("check", "--timeout", "60", *arguments, cwd=tmp_path, environment=settings)
    assert ended.stderr == ""
    return ended.returncode, parsed(ended.stdout)


Checker = Callable[[dict[str, str]], tuple[int, Lines]]


@pytest.fixture
def check_here(capsys: pytest.CaptureFixture[str]) -> Checker:
    """The same without a process for each, since there are many rows."""

    def here(wanted: dict[str, str]) -> tuple[int, Lines]:
        passed = checks.run(pixelcore.settings.load(wanted), 60.0)
        return 0 if passed else 1, parsed(capsys.readouterr().out)

    return here


def levels(lines: Lines) -> dict[str, str]:
    return {name: level for name, (level, _) in lines.items()}


@pytest.mark.parametrize("user", [None, "gateway"])
def test_all_is_well(secured: Broker, setup: dict[str, str], tmp_path: Path, user: str | None) -> None:
    before = sizes(secured.bootstrap)
    code, lines = check(tmp_path, setup | (signed_in(secured, user) if user else {}))
    names = ("data directory", "brokers", "topic", "checkpoint topic", "transactions", "clock", "shipping")
    assert (code, levels(lines)) == (0, dict.fromkeys(names, "ok")), [*lines.values()]
    assert lines["data directory"][1].startswith(f"{tmp_path}/data: can be made, ")
    assert lines["topic"][1] == "events: 3 partitions, 1 replica, may write"
    assert lines["checkpoint topic"][1] == "checkpoints: 25 partitions, 1 replica, may read and write"
    assert lines["clock"][1].endswith(", like the broker's")

    assert list(tmp_path.iterdir()) == [], "a directory that root made would be in the gateway's way"
    after = sizes(secured.bootstrap)
    assert {name for name in after if after[name] != before.get(name)} == {"checkpoints"}
    assert read_committed(secured.bootstrap, "checkpoints") == []


def test_the_rights_that_suffice_here_ship_events(secured: Broker, setup: dict[str, str], tmp_path: Path) -> None:
    """Without the right to see configurations there is a warning, but nothing that a gateway needs is missing."""
    settings = setup | signed_in(secured, "frugal")
    code, lines = check(tmp_path, settings)
    assert (code, {name for name, level in levels(lines).items() if level != "ok"}) == (
        0,
        {"topic", "checkpoint topic"},
    )
    assert all("DescribeConfigs" in lines[name][1] for name in ("topic", "checkpoint topic"))
    with pixelcore.Journal(tmp_path / "data" / "events") as journal:
        journal.append(pixelcore.event("track", "wk=dk_1&e=E&mid=shipped"))
    with forward(tmp_path / "data", settings) as process:
        output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output
    assert [message.mid for message in read_committed(secured.bootstrap, "events")] == ["shipped"]


DATA_DIR = "PIXELCORE_DATA_DIR"
TOPIC = "PIXELCORE_TOPIC"
BROKERS = "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS"
PROTOCOL = "PIXELCORE_KAFKA_SECURITY_PROTOCOL"
CHECKPOINTS = "PIXELCORE_CHECKPOINT_TOPIC"
REJECTED = "PIXELCORE_KAFKA_REJECTED_TOPIC"
ON_KAFKA = {"topic", "checkpoint topic", "transactions"}

# what is right, its settings, and a line that is ok: its name, then words of it
RIGHT: list[tuple[str, dict[str, str], str]] = [
    ("a topic of rejections", {REJECTED: "rejections"}, "rejected topic | rejections: 1 partition"),
    ("one that may be made", {REJECTED: "missing"}, "rejected topic | missing: is missing and may be created"),
    (
        "more replicas in sync than there can be, which Kafka does not ask for",
        {TOPIC: "understaffed-events"},
        "topic | understaffed-events: 1 partition, 1 replica",
    ),
    (
        "checkpoints that are compacted and deleted",
        {CHECKPOINTS: "half-forgetful-checkpoints"},
        "checkpoint topic | half-forgetful-checkpoints: 25 partitions",
    ),
    (
        "consents that may be made",
        {"PIXELCORE_CONSENT_SECRET": SECRET},
        "consent topic | pixelcore-consents: is missing and may be created",
    ),
    (
        "checkpoints in three partitions",
        {CHECKPOINTS: "wide-checkpoints"},
        "checkpoint topic | wide-checkpoints: 3 partitions | all journals share the first",
    ),
]

# what is wrong, its settings, and the only line that is not ok: level and name, then words of it
BROKEN: list[tuple[str, dict[str, str], str]] = [
    ("below a file", {DATA_DIR: __file__ + "/data"}, "FAIL data directory | DATA_DIR: | Not a directory"),
    ("a data directory that takes no files", {DATA_DIR: "/proc"}, "FAIL data directory | DATA_DIR: /proc:"),
    (
        "a budget that the disk cannot hold",
        {"PIXELCORE_JOURNAL_MAX_BYTES": "1PiB"},
        "warn data directory | JOURNAL_MAX_BYTES | free, but",
    ),
    ("refused", {BROKERS: "{nobody}"}, "FAIL brokers | BOOTSTRAP_SERVERS: {nobody}: | Connection refused"),
    ("one of two refused", {BROKERS: "{nobody}, {plain}"}, "warn brokers | BOOTSTRAP_SERVERS: {nobody}:"),
    ("an unknown host", {BROKERS: "kafka.invalid:9092"}, "FAIL brokers | BOOTSTRAP_SERVERS: kafka.invalid | resolve"),
    ("no address", {BROKERS: " "}, "FAIL brokers | BOOTSTRAP_SERVERS"),
    ("TLS where there is none", {PROTOCOL: "SSL"}, "FAIL brokers | SECURITY_PROTOCOL: {plain}: | not speak SSL"),
    ("no TLS where there is", {BROKERS: "{tls}"}, "FAIL brokers | SECURITY_PROTOCOL: {tls}: | not speak PLAINTEXT"),
    ("no SASL where there is", {BROKERS: "{sasl}"}, "FAIL brokers | SECURITY_PROTOCOL: {sasl}: | not speak PLAINTEXT"),
    ("untrusted", {BROKERS: "{tls}", PROTOCOL: "SSL"}, "FAIL brokers | SSL_*: {tls}: | certificate verify failed"),
    (
        "an advertised address of nowhere",
        {BROKERS: "{tls}", PROTOCOL: "SSL", "PIXELCORE_KAFKA_ENABLE_SSL_CERTIFICATE_VERIFICATION": "false"},
        "FAIL brokers | advertised.listeners | kafka.invalid:9093",
    ),
    (
        "a property that does not exist",
        {"PIXELCORE_KAFKA_LINGER_MSS": "5"},
        "FAIL brokers | LINGER_MSS: | No such configuration property",
    ),
    ("a property with a wrong value", {"PIXELCORE_KAFKA_ACKS": "most"}, "FAIL brokers | ACKS:"),
    ("a topic that compacts", {TOPIC: "compacted-events"}, "FAIL topic | TOPIC: compacted-events: | compacted"),
    (
        "rejections that compact",
        {REJECTED: "compacted-events"},
        "FAIL rejected topic | REJECTED_TOPIC: compacted-events: | compacted",
    ),
    (
        "checkpoints that are not compacted",
        {CHECKPOINTS: "forgetful-checkpoints"},
        "FAIL checkpoint topic | CHECKPOINT_TOPIC: forgetful-checkpoints: | cleanup.policy is delete",
    ),
    (
        "consents that retention deletes",
        {"PIXELCORE_CONSENT_TOPIC": "forgetful-checkpoints", "PIXELCORE_CONSENT_SECRET": SECRET},
        "FAIL consent topic | CONSENT_TOPIC: forgetful-checkpoints: | cleanup.policy is delete",
    ),
    (
        "consents that are deleted after a while",
        {"PIXELCORE_CONSENT_TOPIC": "half-forgetful-checkpoints", "PIXELCORE_CONSENT_SECRET": SECRET},
        "warn consent topic | half-forgetful-checkpoints: | does not learn of old withdrawals",
    ),
    (
        "transactions that may take too long",
        {"PIXELCORE_KAFKA_TRANSACTION_TIMEOUT_MS": "3600000"},
        "FAIL transactions | TRANSACTION_TIMEOUT_MS:",
    ),
    (
        "a clock that is late",
        {CHECKPOINTS: "future-checkpoints"},
        "warn clock | s behind the broker's or another gateway's",
    ),
]

# the right that a user lacks, and the line about it
LACKING: list[tuple[str, dict[str, str], str, tuple[str, ...]]] = [
    ("no_write", {}, "topic", ("PIXELCORE_TOPIC: events: ", "lack Write")),
    ("no_create", {"PIXELCORE_TOPIC": "missing"}, "topic", ("PIXELCORE_TOPIC: missing: is missing and may not be",)),
    (
        "no_create",
        {CHECKPOINTS: "missing"},
        "checkpoint topic",
        (f"{CHECKPOINTS}: missing: is missing and may not be",),
    ),
    ("no_checkpoint", {}, "checkpoint topic", (f"{CHECKPOINTS}: checkpoints: ", "lack Write")),
    ("no_read", {}, "checkpoint topic", (f"{CHECKPOINTS}: checkpoints: ", "lack Read")),
    ("no_group", {}, "checkpoint topic", ("consumer group pixelcore",)),
    ("no_transactions", {}, "transactions", ("transactional ids", "pixelcore-")),
]


def the_only_trouble(code: int, lines: Lines, level: str, name: str, words: tuple[str, ...]) -> None:
    assert code == (1 if level == "FAIL" else 0), lines
    assert {name: found for name, found in lines.items() if found[0] in ("warn", "FAIL")}.keys() == {name}, lines
    assert lines[name][0] == level, lines
    for word in words:
        assert word in lines[name][1], lines
    skipped = ON_KAFKA if (level, name) == ("FAIL", "brokers") else set()
    assert {name for name, found in lines.items() if found[0] == "skip"} == skipped


@pytest.mark.parametrize(("settings", "line"), [pytest.param(*row[1:], id=row[0]) for row in RIGHT])
def test_what_is_right(setup: dict[str, str], check_here: Checker, settings: dict[str, str], line: str) -> None:
    code, lines = check_here(setup | settings)
    name, *words = line.split(" | ")
    assert (code, lines[name][0]) == (0, "ok"), lines
    for word in words:
        assert word in lines[name][1], lines


@pytest.mark.parametrize(("settings", "line"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN])
def test_what_is_wrong(
    secured: Broker, setup: dict[str, str], check_here: Checker, settings: dict[str, str], line: str
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # it never listens, and nobody else can
        there = {
            "plain": secured.bootstrap,
            "sasl": secured.addresses["SASL_PLAINTEXT"],
            "tls": secured.addresses["SSL"],
            "nobody": f"127.0.0.1:{silent.getsockname()[1]}",
        }
        code, lines = check_here(setup | {variable: value.format_map(there) for variable, value in settings.items()})
    where, *words = line.format_map(there).split(" | ")
    level, _, name = where.partition(" ")
    the_only_trouble(code, lines, level, name, tuple(words))


@pytest.mark.parametrize(
    ("user", "settings", "name", "words"), [pytest.param(*row, id=f"{row[0]} {row[2]}") for row in LACKING]
)
def test_what_is_not_allowed(
    secured: Broker,
    setup: dict[str, str],
    check_here: Checker,
    user: str,
    settings: dict[str, str],
    name: str,
    words: tuple[str, ...],
) -> None:
    code, lines = check_here(setup | signed_in(secured, user) | settings)
    the_only_trouble(code, lines, "FAIL", name, words)


def test_nothing_is_allowed(secured: Broker, setup: dict[str, str], check_here: Checker) -> None:
    code, lines = check_here(setup | signed_in(secured, "nobody"))
    assert code == 1
    assert {name for name, level in levels(lines).items() if level == "FAIL"} == ON_KAFKA
    assert "hide whether it exists" in lines["topic"][1]


def test_a_wrong_password(secured: Broker, setup: dict[str, str], tmp_path: Path) -> None:
    code, lines = check(tmp_path, setup | signed_in(secured, "gateway", "wrong"))
    address = secured.addresses["SASL_PLAINTEXT"]
    words = (f"PIXELCORE_KAFKA_SASL_*: {address}: ", "Invalid username or password")
    the_only_trouble(code, lines, "FAIL", "brokers", words)


def test_a_server_that_speaks_http(serve: Serve, setup: dict[str, str], tmp_path: Path) -> None:
    address = f"127.0.0.1:{serve().port}"
    (here := tmp_path / "here").mkdir()
    code, lines = check(here, setup | {BROKERS: address})
    the_only_trouble(code, lines, "FAIL", "brokers", (f"{BROKERS}: {address}: does not speak Kafka",))


def test_nothing_hangs(setup: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, lines = check(tmp_path, setup | {BROKERS: address}, "--timeout", "10")
    the_only_trouble(code, lines, "FAIL", "brokers", (f"{BROKERS}: {address}: ",))


def test_a_check_that_hangs_or_is_defective() -> None:
    setup = Setup(pixelcore.settings.load({}))
    released = threading.Event()

    def hang(_: Setup) -> None:
        released.wait()

    assert judge(0.2, Check("hangs", hang), setup) == ("FAIL", "no answer within 0.2 s")
    released.set()
    nothing: dict[str, Finding] = {}
    assert judge(60, Check("is defective", lambda _: nothing["there"]), setup) == ("FAIL", "KeyError('there')")


def test_a_clock_that_is_ahead(setup: dict[str, str], check_here: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is compared with the broker's timestamp, and not with this process's."""
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + 7200)
    code, lines = check_here(setup)
    the_only_trouble(code, lines, "FAIL", "clock", (" s ahead of the broker's",))
    ahead = re.search(r"(\d+) s ahead", lines["clock"][1])
    assert ahead is not None
    assert 7200 <= int(ahead[1]) < 7200 + 600, "the time of the check itself counts"


def test_topics_that_may_be_created_are_not(secured: Broker, setup: dict[str, str], check_here: Checker) -> None:
    missing = {"PIXELCORE_TOPIC": "one", CHECKPOINTS: "another"}
    code, lines = check_here(setup | missing)
    assert (code, set(levels(lines).values())) == (0, {"ok"}), lines
    assert "may be created" in lines["topic"][1]
    assert "may be created" in lines["checkpoint topic"][1]
    assert not {"one", "another"} & sizes(secured.bootstrap).keys()


def test_at_least_once_needs_no_transactions(secured: Broker, setup: dict[str, str], check_here: Checker) -> None:
    settings = setup | signed_in(secured, "no_transactions") | {"PIXELCORE_DELIVERY": "at-least-once"}
    code, lines = check_here(settings)
    assert (code, levels(lines)) == (
        0,
        dict.fromkeys(("data directory", "brokers", "topic", "clock", "shipping"), "ok"),
    )


def test_a_budget_that_is_used_up(setup: dict[str, str], tmp_path: Path) -> None:
    with pixelcore.Journal(tmp_path / "data" / "events") as journal:
        journal.append(b"x" * 2**20)
    code, lines = check(tmp_path, setup)
    the_only_trouble(code, lines, "FAIL", "data directory", ("PIXELCORE_JOURNAL_MAX_BYTES: ", "used up"))


def test_without_kafka(tmp_path: Path) -> None:
    code, lines = check(tmp_path, {}, "--data-dir", "there")
    assert (code, levels(lines)) == (0, {"data directory": "ok", "brokers": "warn", "clock": "ok"})
    assert BROKERS in lines["brokers"][1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--fsync", "1s"), "--fsync"),
        (("--timeout", "0"), "--timeout"),
        (("--delivery", "twice"), "PIXELCORE_DELIVERY"),
    ],
)
def test_wrong_settings_are_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    ended = run("check", *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr.splitlines()[-1]


def test_a_terminal_has_colours(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = clean_environment({"TERM": "xterm"})
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command("check"), env=environment, cwd=tmp_path, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        # Linux returns EIO after the last writer of a pseudo terminal has ended.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
    assert process.returncode == 0
    assert shown.startswith(b"\x1b[32mok  \x1b[0m data directory")


CLOCKS: list[tuple[str, float, float | None, str]] = [
    ("before pixelcore was", 0.0, None, "FAIL"),
    ("nobody to ask", 1.8e9, None, "ok"),
    ("the same", 1.8e9, 1.8e9, "ok"),
    ("a little ahead", 1.8e9 + 29, 1.8e9, "ok"),
    ("ahead", 1.8e9 + 31, 1.8e9, "warn"),
    ("too far ahead for brokers", 1.8e9 + 3601, 1.8e9, "FAIL"),
    ("a little behind", 1.8e9 - 29, 1.8e9, "ok"),
    ("behind", 1.8e9 - 86400, 1.8e9, "warn"),
]


@pytest.mark.parametrize(("ours", "brokers", "level"), [pytest.param(*row[1:], id=row[0]) for row in CLOCKS])
def test_clocks(ours: float, brokers: float | None, level: str) -> None:
    assert compare_clocks(ours, brokers).level == level


REPLICATION: list[tuple[str, int, int, int, str | None]] = [
    # brokers, replicas, min.insync.replicas, the warning's beginning
    ("a single broker", 1, 1, 1, None),
    ("one copy among three brokers", 3, 1, 1, "one replica"),
    ("one copy is enough", 3, 3, 1, "min.insync.replicas is 1"),
    ("all copies are needed", 3, 2, 2, "min.insync.replicas equals the number"),
    ("as it should be", 3, 3, 2, None),
]


@pytest.mark.parametrize(
    ("brokers", "replicas", "required", "warning"), [pytest.param(*row[1:], id=row[0]) for row in REPLICATION]
)
def test_replication(brokers: int, replicas: int, required: int, warning: str | None) -> None:
    found = replication_warnings(brokers, replicas, required)
    assert [text[: len(warning or "")] for text in found] == ([] if warning is None else [warning])
