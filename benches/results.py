"""The form of a measurement, its goals, and the result files."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

from typing_extensions import NotRequired

from benches.servers import ROOT
from benches.whole_way import cpu_model

RESULTS: Final = ROOT / "benches" / "results"
SCRATCH: Final = ROOT / ".benchmarks"
PACKAGES: Final = ("pixelcore-gateway", "granian", "uvloop", "confluent-kafka", "fast-query-parsers", "orjson")

Table: TypeAlias = dict[str, dict[str, Any]]
"""Row to column to value. A column's name ends with its unit."""


class Goal(TypedDict):
    """What was wanted, and what was found; ``value`` and ``met`` are None where nothing could be measured."""

    name: str
    value: float | None
    goal: str
    met: bool | None


class Part(TypedDict):
    """What one measurement found: tables by their titles, goals, what this machine could not measure and why, the versions
    of who took part, what was sampled over time, by name, ``minutes`` among them, and when, where the page has parts of several results."""

    figures: dict[str, Table]
    goals: list[Goal]
    left_out: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str]]
    series: NotRequired[dict[str, list[float]]]
    measured: NotRequired[str]


class Result(TypedDict):
    """A result file."""

    date: str
    commit: str
    cpu: str
    cores: int
    quick: bool
    versions: dict[str, str]
    parts: dict[str, Part]


Measure: TypeAlias = Callable[[Path, bool], Part]
"""A measurement: its scratch directory, and whether it should be quick rather than right."""


def goal(name: str, value: float, comparison: Literal["<=", "<", ">="], wanted: float) -> Goal:
    """A goal, held against its value."""
    met = {"<=": value <= wanted, "<": value < wanted, ">=": value >= wanted}[comparison]
    return {"name": name, "value": value, "goal": f"{comparison} {wanted:,g}", "met": met}


def shown(value: object) -> str:
    """A figure for people: three digits or more, or what it says."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def verdict(goal: Goal) -> str:
    """Where a goal stands."""
    return "not measured" if goal["met"] is None else "met" if goal["met"] else "MISSED"


def goals_table(parts: dict[str, Part]) -> str:
    """Every goal with its value, and what was left out, for a terminal."""
    lines = [
        f"{part:10} {goal['name']:62} {shown(goal['value']):>10} {goal['goal']:>12}  {verdict(goal)}"
        for part, found in parts.items()
        for goal in found["goals"]
    ]
    for part, found in parts.items():
        lines += [f"{part:10} left out: {name}: {reason}" for name, reason in found.get("left_out", {}).items()]
    return "\n".join(lines)


def commit() -> str:
    """The short commit, with ``-dirty`` when the files are not its own; ``unknown`` outside a clone."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def environment(quick: bool) -> Result:
    """A result without parts: a figure without date, machine and versions is a rumour."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "quick": quick,
        "versions": {"python": platform.python_version(), **versions},
        "parts": {},
    }


def file_of(result: Result) -> Path:
    """Where a result is kept. A quick one is noise, and not kept with the others."""
    return (SCRATCH if result["quick"] else RESULTS) / f"{result['date'][:10]}-{result['commit']}.json"


def write(result: Result) -> Path:
    """Write a result file; parts that the file of the same day and commit has, and this one has not, stay in it."""
    file = file_of(result)
    file.parent.mkdir(exist_ok=True)
    if file.exists():
        result["parts"] = {**read(file)["parts"], **result["parts"]}
    file.write_text(json.dumps(result, indent=1) + "\n")
    return file


def read(file: Path) -> Result:
    """Read a result file."""
    result: Result = json.loads(file.read_text())
    return result


def kept() -> list[Path]:
    """All kept result files, the oldest first."""
    return sorted(RESULTS.glob("*.json"), key=lambda file: read(file)["date"])


def merged(files: Sequence[Path]) -> Result:
    """The newest of these results, and of each part that it has not the newest there is, which says so in ``measured``."""
    every = sorted(map(read, files), key=lambda result: result["date"])
    last = every[-1]
    parts: dict[str, Part] = {}
    for result in every:
        of = {} if result is last else {"measured": f"{result['date'][:10]}, commit {result['commit']}"}
        parts |= {name: cast("Part", {**part, **of}) for name, part in result["parts"].items()}
    return {**last, "parts": parts}


def clean_up_when_terminated() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that no server or broker outlives it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def alone(name: str, measure: Measure) -> int:
    """Run one measurement by itself and print it: the ``main`` of its module."""
    parser = argparse.ArgumentParser(description=f"Measure {name}.")
    parser.add_argument("--quick", action="store_true", help="to see that it works; the figures are noise")
    quick = parser.parse_args().quick
    clean_up_when_terminated()
    with tempfile.TemporaryDirectory(prefix="pixelcore-bench-") as directory:
        part = measure(Path(directory), quick)
    print(json.dumps(part["figures"], indent=1))
    print(goals_table({name: part}))
    return 0
