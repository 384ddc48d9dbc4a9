"""Section 7 of the contract: the commands' help, ``tail``, ``forward``, and the names that the package exports.

The help is kept in tests/data/help. After an intended change, ``UPDATE_SNAPSHOTS=1 .venv/bin/pytest
tests/commands/test_cli.py`` renews it. Read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pixelcore
import pytest
from pixelcore import errors

from tests.support.commands import command, run
from tests.support.paths import DATA, ROOT
from tests.support.servers import clean_environment
from tests.support.terminal import COLOURS, on_a_terminal

HELP = DATA / "help"


@pytest.mark.parametrize(
    "name",
    [
        *("pixelcore", "serve", "tail", "forward", "replay", "check", "health", "schema", "secret", "url"),
        *("consent", "consent-set", "consent-show"),
    ],
)
def test_help(tmp_path: Path, name: str) -> None:
    ended = run(*([] if name == "pixelcore" else name.split("-")), "--help", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    snapshot = HELP / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(ended.stdout)
    assert ended.stdout == snapshot.read_text(), "if that was meant, see this file's first lines"
    assert list(tmp_path.iterdir()) == [], "help leaves nothing behind"


def test_each_command_has_a_snapshot(tmp_path: Path) -> None:
    commands = run("--help", cwd=tmp_path).stdout.partition("Commands:\n")[2]
    names = {line.split()[0] for line in commands.splitlines() if re.match(r"  \w", line)}
    assert {path.stem for path in HELP.glob("*.txt")} == names | {"pixelcore", "consent-set", "consent-show"}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_both_flags_of_help(tmp_path: Path, flag: str) -> None:
    assert run("serve", flag, cwd=tmp_path).stdout.startswith("Usage: pixelcore serve")


def line(number: int, received_at: int) -> bytes:
    """An event that is known by its number."""
    return pixelcore.event("track", f"wk=dk_1&e=E&mid=m{number}&p.text=%C3%A9", received_at=received_at)


def fill(root: Path, *numbers: int) -> pixelcore.Journal:
    """A journal with events that were received at their number's second; its writer lives."""
    journal = pixelcore.Journal(root)
    for number in numbers:
        journal.append(line(number, number * 1000))
    return journal


def mids(lines: bytes) -> list[str]:
    return [json.loads(one)["messageId"] for one in lines.splitlines()]


TAILS: list[tuple[str, list[str], list[str]]] = [
    ("the last ten", [], [f"m{number}" for number in range(3, 13)]),
    ("some", ["-n", "2"], ["m11", "m12"]),
    ("more than there are", ["--lines", "100"], [f"m{number}" for number in range(1, 13)]),
    ("none", ["-n", "0"], []),
]


@pytest.mark.parametrize(("arguments", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TAILS])
def test_tail_sorts_all_journals_by_time(tmp_path: Path, arguments: list[str], expected: list[str]) -> None:
    """One journal is live, the other finished; workers take turns in receiving."""
    root = tmp_path / "pixelcore-data" / "events"
    fill(root, 1, 3, 5, 7, 9, 11).close()
    with fill(root, 2, 4, 6, 8, 10, 12):
        ended = run("tail", *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert mids(ended.stdout.encode()) == expected


def test_tail_counts_across_small_segments(tmp_path: Path) -> None:
    """Four kB is the least that PIXELCORE_JOURNAL_SEGMENT_BYTES allows, some dozen events."""
    with pixelcore.Journal(tmp_path / "pixelcore-data" / "events", segment_bytes=4096) as journal:
        for number in range(300):
            journal.append(line(number, number * 1000))
    assert mids(run("tail", "-n", "200", cwd=tmp_path).stdout.encode()) == [f"m{number}" for number in range(100, 300)]


def test_tail_prints_the_very_lines(tmp_path: Path) -> None:
    fill(tmp_path / "data" / "events", 1, 2).close()
    process = subprocess.run(
        command("tail", "--data-dir", str(tmp_path / "data")),
        env=clean_environment({}),
        capture_output=True,
        check=True,
    )
    assert process.stdout == line(1, 1000) + b"\n" + line(2, 2000) + b"\n"


def test_tail_of_nothing(tmp_path: Path) -> None:
    """The exit code shows that there are no records of a kind, also after all were shipped."""
    (tmp_path / "pixelcore-data" / "events").mkdir(parents=True)
    ended = run("tail", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == "no events in pixelcore-data: nothing has arrived, or all of it was shipped and deleted\n"
    assert run("tail", "-n", "0", cwd=tmp_path).returncode == 0, "none were asked for"


def test_tail_rejected(tmp_path: Path) -> None:
    fill(tmp_path / "pixelcore-data" / "events", 1).close()
    record = (
        b'{"reason":"missing_key","type":"track","query":"e=E","receivedAt":"2025-02-25T14:30:00.000Z","context":{}}'
    )
    with pixelcore.Journal(tmp_path / "pixelcore-data" / "rejections") as journal:
        journal.append(record)
    assert run("tail", "--rejected", cwd=tmp_path).stdout.encode() == record + b"\n"


def test_tail_passes_over_what_is_no_event(tmp_path: Path) -> None:
    """More damage than one read covers must not end the output early."""
    with fill(tmp_path / "pixelcore-data" / "events", 1) as journal:
        for _ in range(40):
            journal.append(b"x" * 100_000)
        journal.append(line(2, 2000))
    assert mids(run("tail", cwd=tmp_path).stdout.encode()) == ["m1", "m2"]


@contextlib.contextmanager
def following(*arguments: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """``pixelcore tail -f`` with its output in a pipe."""
    process = subprocess.Popen(
        command("tail", "-f", *arguments),
        env=clean_environment({}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def test_tail_follows_journals_old_and_new(tmp_path: Path) -> None:
    root = tmp_path / "pixelcore-data" / "events"
    with fill(root, 1, 2) as old, following("-n", "1", cwd=tmp_path) as (process, output):
        assert mids(output.readline()) == ["m2"]
        old.append(line(3, 3000))
        assert mids(output.readline()) == ["m3"]
        with fill(root, 4) as new:
            assert mids(output.readline()) == ["m4"]
            old.append(line(5, 5000))
            assert mids(output.readline()) == ["m5"]
            new.append(line(6, 6000))
            assert mids(output.readline()) == ["m6"]
        # Shipped journals go while they are followed.
        pixelcore.JournalReader(new.path).delete_journal()
        old.append(line(7, 7000))
        assert mids(output.readline()) == ["m7"]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, b"")


def test_tail_follows_a_directory_that_is_yet_to_come(tmp_path: Path) -> None:
    with following(cwd=tmp_path) as (_, output), fill(tmp_path / "pixelcore-data" / "events", 1):
        assert mids(output.readline()) == ["m1"]


def test_tail_ends_with_its_pipe(tmp_path: Path) -> None:
    fill(tmp_path / "pixelcore-data" / "events", *range(1, 5000)).close()
    with following("-n", "5000", cwd=tmp_path) as (process, output):
        output.readline()
        output.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.wait(60)
    assert process.returncode == 0


def test_tail_is_a_row_on_a_terminal(tmp_path: Path) -> None:
    fill(tmp_path / "pixelcore-data" / "events", 1, 2).close()
    assert COLOURS.sub("", on_a_terminal("tail", cwd=tmp_path)).splitlines() == [
        "01-01 00:00:01.000  track     E  m1  text=é",
        "01-01 00:00:02.000  track     E  m2  text=é",
    ]


def test_tail_is_pretty_where_that_is_wanted(tmp_path: Path) -> None:
    fill(tmp_path / "pixelcore-data" / "events", 1).close()
    text = COLOURS.sub("", on_a_terminal("tail", "--pretty", cwd=tmp_path))
    assert '\r\n  "type": "track",\r\n' in text
    assert json.loads(text) == json.loads(line(1, 1000))


def test_forward_needs_a_kafka(tmp_path: Path) -> None:
    ended = run("forward", cwd=tmp_path)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("serve",), ("tail",), ("forward",), ("replay",), ("check",)])
def test_a_wrong_setting_is_one_line_everywhere(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, cwd=tmp_path, environment={"PIXELCORE_LOG_LEVEL": "loud"})
    assert ended.returncode != 0
    (complaint,) = ended.stderr.splitlines()
    assert "PIXELCORE_LOG_LEVEL: " in complaint


USAGE: list[tuple[str, tuple[str, ...], str]] = [
    ("a property without a value", ("serve", "-X", "debug"), "-X"),
    ("fewer lines than none", ("tail", "-n", "-1"), "-n"),
    ("a reason that is none", ("replay", "--reason", "no_reason"), "--reason"),
    ("a time that is none", ("replay", "--since", "yesterday"), "--since"),
    ("a time before all times", ("replay", "--until", "0001-01-01T00:00:00+23:00"), "--until"),
    ("an unknown flag", ("tail", "--no-such"), "--no-such"),
    ("an unknown command", ("no-such",), "no-such"),
]


@pytest.mark.parametrize(("arguments", "named"), [pytest.param(*row[1:], id=row[0]) for row in USAGE])
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    ended = run(*arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr.splitlines()[-1]


def test_exported_names() -> None:
    assert pixelcore.__all__ == (
        "Collector",
        "Event",
        "Journal",
        "JournalError",
        "JournalFull",
        "JournalReader",
        "PixelcoreError",
        "Rejected",
        "Rejection",
        "SettingsError",
        "__version__",
        "event",
        "img_tag",
        "nest",
        "pairs",
        "pixel_url",
    )
    for name in pixelcore.__all__:
        assert getattr(pixelcore, name) is not None


def test_errors() -> None:
    found = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name: value.__bases__ for name, value in found.items()} == {
        "PixelcoreError": (Exception,),
        "Rejected": (errors.PixelcoreError,),
        "JournalError": (errors.PixelcoreError,),
        "JournalFull": (errors.JournalError,),
        "SettingsError": (errors.PixelcoreError,),
    }
    assert errors.Rejected("missing_key").reason == "missing_key"


def test_version(tmp_path: Path) -> None:
    found = re.search(r'^version = "([^"]+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert pixelcore.__version__ == importlib.metadata.version("pixelcore-gateway") == found[1]
    assert run("--version", cwd=tmp_path).stdout == f"pixelcore, version {found[1]}\n"
