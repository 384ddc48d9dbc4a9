"""Long work shows its progress: a bar on a terminal, and a line from time to time elsewhere. Short work shows nothing."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pixelcore
import pytest
from pixelcore.commands import progress
from pixelcore.commands.progress import Unit, amount
from rich.console import Console

from tests.support.commands import run
from tests.support.terminal import COLOURS, on_a_terminal

AMOUNTS: list[tuple[float, Unit, str]] = [
    (0, "events", "0 events"),
    (1234.5, "events", "1,234 events"),
    (999, "bytes", "999 bytes"),
    (1_500_000, "bytes", "1.5 MB"),
]


@pytest.mark.parametrize(("count", "unit", "text"), AMOUNTS)
def test_amounts(count: float, unit: Unit, text: str) -> None:
    assert amount(count, unit) == text


def told(monkeypatch: pytest.MonkeyPatch, total: float, *steps: tuple[float, float]) -> list[str]:
    """The lines of work whose steps are (seconds since it began, how much is done)."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    output = io.StringIO()
    with progress.progress("work", total, "events", Console(file=output)) as tell:
        for at, done in steps:
            now = at
            tell(done)
    return output.getvalue().splitlines()


def test_short_work_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, 1000, (1, 100), (9.9, 1000)) == []


def test_long_work_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [(second / 10, second * 10.0) for second in range(1, 350)]
    assert told(monkeypatch, 10_000, *steps) == [
        "work: 10 % of 10,000 events, 100 events/s, 90 s left",
        "work: 20 % of 10,000 events, 100 events/s, 80 s left",
        "work: 30 % of 10,000 events, 100 events/s, 70 s left",
    ]


def test_what_has_grown_or_has_no_size_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, 100, (10, 150)) == ["work: 100 % of 100 events, 15 events/s"]
    assert told(monkeypatch, 0, (10, 150)) == ["work: 150 events, 15 events/s"]


def rejected(data_dir: Path, count: int) -> None:
    record = {"reason": "missing_event", "type": "track", "receivedAt": "2025-02-25T14:30:00.000Z", "context": {}}
    line = json.dumps(record | {"query": "wk=dk_1&p.text=" + "x" * 1000}).encode()
    with pixelcore.Journal(data_dir / "rejections") as journal:
        for _ in range(count):
            journal.append(line)


def test_replay_has_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """Until it is done, and then a total."""
    rejected(tmp_path, 60_000)
    arguments = ["replay", "--dry-run", "--data-dir", str(tmp_path)]
    text = COLOURS.sub("", on_a_terminal(*arguments, cwd=tmp_path, stderr=True))
    assert re.search(r"replay ━+", text)
    assert re.fullmatch(r"60,000 judged in [\d.]+ s", text.splitlines()[-1])


def test_replay_is_quiet_elsewhere(tmp_path: Path) -> None:
    rejected(tmp_path, 3)
    ended = run("replay", "--dry-run", "--data-dir", str(tmp_path), cwd=tmp_path)
    assert ended.returncode == 0
    assert re.fullmatch(r"3 judged in [\d.]+ s\n", ended.stderr)
    assert "missing_event" in ended.stdout
