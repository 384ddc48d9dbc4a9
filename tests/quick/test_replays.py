"""Consecutive replays, replays with a key file, and their survival of power cuts (contract, section 5)."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pixelcore
import pytest
from click.testing import CliRunner
from pixelcore.commands import replay
from pixelcore.commands.main import main
from pixelcore.journals import JournalDirectory
from pixelcore.settings import Settings

from tests.support.commands import command
from tests.support.consents import KEYS as CONSENTS
from tests.support.consents import OTHER, SECRET, listed, now_ms
from tests.support.consents import record as consent
from tests.support.descriptors import descriptors
from tests.support.flushes import Flushes
from tests.support.servers import clean_environment, journal_lines

KEYS = """
[[pipeline]]
id = "pip_1"
key = "dk_live_open"

[[pipeline]]
id = "pip_2"
key = "dk_live_closed"
enabled = false
"""


def record(number: int, wk: str = "k", reason: str = "unknown_key") -> bytes:
    received_at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1735689600 + number))
    members = {"reason": reason, "type": "page", "query": f"wk={wk}&mid=m{number}", "receivedAt": received_at}
    return json.dumps({**members, "context": {}}).encode()


def fill(data_dir: Path, *lines: bytes) -> pixelcore.Journal:
    with pixelcore.Journal(data_dir / "rejections") as journal:
        for line in lines:
            journal.append(line)
    return journal


def events(data_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_lines(data_dir / "events")]


def mids(data_dir: Path) -> list[str]:
    return [event["messageId"] for event in events(data_dir)]


def again(data_dir: Path, **settings: Any) -> tuple[int, int]:
    """How many records are accepted now, and how many still rejected."""
    outcome = replay.run(Settings(data_dir=data_dir, **settings), lambda _reason, _received_at: True)
    return outcome.accepted.total(), outcome.rejected.total()


def undo_the_move(data_dir: Path) -> None:
    """As a crash leaves it that is behind the note, and before the move."""
    noted = json.loads((data_dir / "replay" / "replayed.json").read_text())["journal"]
    (data_dir / "events" / noted).rename(data_dir / "replay" / noted)


def leave_a_rest(data_dir: Path) -> None:
    """As a crash leaves it that is before the note."""
    with pixelcore.Journal(data_dir / "replay") as journal:
        journal.append(b'{"messageId":"half"}')


CRASHES: list[tuple[str, Callable[[Path], None]]] = [
    ("none", lambda _: None),
    ("behind the note", undo_the_move),
    ("before the note", leave_a_rest),
]


@pytest.mark.parametrize("new", [0, 1, 3])
@pytest.mark.parametrize("crash", [pytest.param(crash, id=name) for name, crash in CRASHES])
def test_a_replay_after_a_crash(tmp_path: Path, crash: Callable[[Path], None], new: int) -> None:
    """After a crash at any moment, no replayed record is lost or repeated."""
    fill(tmp_path, *map(record, range(3)))
    assert again(tmp_path) == (3, 0)
    crash(tmp_path)
    if new:
        fill(tmp_path, *map(record, range(3, 3 + new)))
    assert again(tmp_path) == (new, 0)
    assert sorted(mids(tmp_path)) == [f"m{number}" for number in range(3 + new)]
    assert journal_lines(tmp_path / "replay") == []
    assert again(tmp_path) == (0, 0)


def test_a_failure_moves_what_was_replayed_before(tmp_path: Path) -> None:
    """And leaves nothing of its own."""
    fill(tmp_path, *map(record, range(3)))
    assert again(tmp_path) == (3, 0)
    undo_the_move(tmp_path)
    large = [record(number).replace(b"wk=k", b"wk=k&p.x=" + b"x" * 4000) for number in range(3, 400)]
    fill(tmp_path, *large)
    with pytest.raises(pixelcore.JournalFull):
        again(tmp_path, journal_max_bytes=2**20)
    assert mids(tmp_path) == ["m0", "m1", "m2"]
    assert journal_lines(tmp_path / "replay") == []
    assert again(tmp_path) == (397, 0)


JUDGED: list[tuple[str, str, str | None, list[str]]] = [
    # name, the key of a record, the key file if there is one, the events' pipelines
    ("any key where there is no file", "dk_live_strange", None, [""]),
    ("a key that is in the file", "dk_live_open", KEYS, ["pip_1"]),
    ("a stranger's", "dk_live_strange", KEYS, []),
    ("one that is disabled", "dk_live_closed", KEYS, []),
]


@pytest.mark.parametrize(("wk", "keys", "pipelines"), [pytest.param(*row[1:], id=row[0]) for row in JUDGED])
def test_the_command_judges_by_the_key_file(tmp_path: Path, wk: str, keys: str | None, pipelines: list[str]) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "keys.toml"
    fill(data_dir, record(1, wk), record(2, wk).replace(b"unknown_key", b"rate_limited"))
    flags = ["--data-dir", str(data_dir)]
    if keys is not None:
        file.write_text(keys)
        flags += ["--keys-file", str(file)]
    ended = CliRunner().invoke(main, ["replay", *flags], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert [event.get("pipelineId", "") for event in events(data_dir)] == 2 * pipelines
    total = ended.stdout.splitlines()[-1].split()
    assert total == ["total", "0" if pipelines else "2", "2" if pipelines else "0"]


PERSONS: list[tuple[str, dict[str, str], str | None, list[str]]] = [
    # name, the modes in the list, its secret if there is a list, who has an event
    ("who agreed", {"anna": "individual", "bert": "none"}, SECRET, ["anna"]),
    ("nobody", {}, SECRET, []),
    ("no list", {}, None, []),
    ("a list by another secret", {"anna": "individual"}, OTHER, []),
]


@pytest.mark.parametrize(("modes", "secret", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PERSONS])
def test_the_command_looks_persons_up(
    tmp_path: Path, modes: dict[str, str], secret: str | None, expected: list[str]
) -> None:
    """As a worker does now, whatever was known when the request came."""
    data_dir, file = tmp_path / "data", tmp_path / "keys.toml"
    file.write_text(CONSENTS)
    fill(data_dir, *(record(n, f"dk_test_news&uid={name}") for n, name in enumerate(("anna", "bert", "carl"))))
    if secret is not None:
        said = [consent(name, mode, 1_700_000_000_000, secret) for name, mode in modes.items()]
        listed(data_dir / "consents", said).heard(now_ms())
    environment = {"PIXELCORE_CONSENT_SECRET": SECRET}
    flags = ["--data-dir", str(data_dir), "--keys-file", str(file)]
    ended = CliRunner(env=environment).invoke(main, ["replay", *flags], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert [event["userId"] for event in events(data_dir)] == expected


def test_a_key_file_that_is_wrong_replays_nothing(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "keys.toml"
    fill(data_dir, record(1))
    for content in ("[[pipeline]]\nid = 1\n", None):
        file.write_text(content) if content is not None else file.unlink()
        ended = CliRunner().invoke(main, ["replay", "--data-dir", str(data_dir), "--keys-file", str(file)])
        assert (ended.exit_code, ended.stdout) == (1, "")
        assert ended.stderr.startswith(f"Error: PIXELCORE_KEYS_FILE: {file}: "), ended.stderr
    assert events(data_dir) == []


def watched_replay(flushes: Flushes) -> list[str]:
    """The flushes of a whole replay, in order."""
    subprocess.run(
        command("replay", "--data-dir", str(flushes.root)),
        env=clean_environment(flushes.environment),
        check=True,
        capture_output=True,
        timeout=150,
    )
    return [line.rpartition(" ")[2] for line in flushes._record.read_text().splitlines()]


def test_the_order_of_flushes_makes_a_replay_durable(tmp_path: Path) -> None:
    """A power cut at any moment leaves the note with its journal, or neither; and what is moved stays moved."""
    flushes = Flushes(tmp_path / "data", tmp_path / "flushes")
    fill(flushes.root, *map(record, range(100)))
    order = watched_replay(flushes)
    moved = next((flushes.root / "events").iterdir())
    first = {path: order.index(path) for path in order}
    root, name = flushes.root, moved.name
    segment = f"{root}/replay/{name}/{0:020}.ndjson"
    sizes, _ = flushes.covered()
    assert sizes[Path(segment)] == (moved / f"{0:020}.ndjson").stat().st_size, "all events are on the device"
    steps = [
        max(first[path] for path in (segment, f"{root}/replay/{name}", f"{root}/replay")),
        next(number for path, number in first.items() if path.endswith(".new")),
        first[f"{root}/replay/replayed.json"],
        first[f"{root}/events/{name}"],
    ]
    assert steps == sorted(steps), "the journal, the note's text, the note's name, and the journal's new name"
    assert f"{root}/events" in order, "and that of the directory, which the replay may have made"
    last_look = [number for number, path in enumerate(order) if path == f"{root}/replay/replayed.json"][-1]
    assert last_look > steps[-1], "its old name is flushed away, too"


def test_a_power_cut_after_a_replay(tmp_path: Path) -> None:
    """All data without a flush is lost."""
    flushes = Flushes(tmp_path / "data", tmp_path / "flushes")
    fill(flushes.root, *map(record, range(20)))
    watched_replay(flushes)
    _, names = flushes.covered()
    for path in [*flushes.root.glob("events/*"), flushes.root / "replay" / "replayed.json"]:
        if path not in names:
            JournalDirectory(path).delete() if path.is_dir() else path.unlink()
    assert again(flushes.root) == (0, 0)
    assert mids(flushes.root) == [f"m{number}" for number in range(20)]


def test_many_batches_and_no_descriptor_left(tmp_path: Path) -> None:
    fill(tmp_path, *map(record, range(50)))
    open_before = descriptors(tmp_path)
    for number in range(20):
        fill(tmp_path, record(100 + number))
        again(tmp_path)
    assert descriptors(tmp_path) <= open_before
