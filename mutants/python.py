"""A sample of wrong changes to the Python package, each tried on a copy of it with the tests that its module has."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mutants.changes import Change, changes
from mutants.equivalents import complaints, equivalents
from mutants.tests import NOT_TRIED, TESTS
from tests.kafka.broker import EXTERNAL, Broker

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "pixelcore"
PATIENCE = 3.0
"""Times what the tests take of the package as it is: what takes longer hangs, which is noticed."""


@dataclass
class Outcome:
    """What became of one change."""

    change: Change
    caught: bool
    seconds: float

    @property
    def key(self) -> str:
        """As `equivalents` has it."""
        return key(self.change)


def key(change: Change) -> str:
    """The name of a change that stays when lines move."""
    return f"{change.file}: {change.name}"


def all_changes() -> list[Change]:
    """Of all modules that have tests here."""
    found: list[Change] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file not in NOT_TRIED:
            found += changes(file, path.read_text())
    return found


def tests_of(file: str) -> list[str]:
    """The tests of a module, the quick ones first."""
    for pattern, tests in TESTS.items():
        if fnmatch(file, pattern):
            return [f"tests/{test}" for test in tests]
    raise KeyError(f"mutants/tests.py does not say which tests {file} has")


def _needs_broker(test: str) -> bool:
    path = ROOT / test.partition("::")[0]
    return any(
        "broker: Broker | External" in file.read_text() for file in (path.rglob("*.py") if path.is_dir() else [path])
    )


class Copy:
    """A copy of the package, which the tests and all that they start import instead of the checkout's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._package = directory / "pixelcore"
        shutil.copytree(PACKAGE, self._package, ignore=shutil.ignore_patterns("__pycache__"))
        self.output = ""
        """What the tests said last."""
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(directory),
            # Two changes of one file within a second, and of one size, would be one to Python's cache.
            "PYTHONDONTWRITEBYTECODE": "1",
            "CI": "true",  # what hypothesis tries is the same for each change
        }

    def passes(self, tests: list[str], seconds: float) -> bool:
        """Whether the tests pass in time."""
        options = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(self._directory / "tests")]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        try:
            self.output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode == 0

    def try_out(self, change: Change, seconds: float) -> Outcome:
        """Make a change, run its tests, and take it back."""
        file = self._package / change.file
        before = file.read_text()
        file.write_text(change.text)
        began = time.monotonic()
        try:
            caught = not self.passes(tests_of(change.file), seconds)
        finally:
            file.write_text(before)
        return Outcome(change, caught, time.monotonic() - began)


def sample(patterns: list[str], seed: int, count: int) -> list[Change]:
    """Some changes of each module that fits one of the patterns, ``count`` at most; the same ones for the same seed."""
    by_file: dict[str, list[Change]] = defaultdict(list)
    for change in all_changes():
        if any(fnmatch(change.file, pattern) for pattern in patterns):
            by_file[change.file].append(change)
    chosen: list[Change] = []
    for file, found in by_file.items():
        # Of the file's name, too, so that a module's sample does not depend on which others are drawn.
        chosen += random.Random(f"{seed} {file}").sample(found, min(count, len(found)))
    return chosen


def run(patterns: list[str], seed: int, count: int, *, only_equivalents: bool = False) -> bool:
    """Try a sample, and say what survived. Whether the tests notice all of it, and ``equivalent.toml`` is right."""
    listed = equivalents("python")
    every = {key(change): change for change in all_changes()}
    drawn = {key(change): change for change in sample(patterns, seed, count)}
    if only_equivalents:
        drawn = {name: every[name] for name in listed.keys() & every.keys()}
    files = {change.file for change in drawn.values()}
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pixelcore-mutants-")))
        copy = Copy(directory)
        if any(_needs_broker(test) for file in files for test in tests_of(file)):
            # One for all, rather than one for each run of the tests.
            copy.environment[EXTERNAL] = stack.enter_context(Broker(directory / "kafka")).bootstrap
        limits: dict[str, float] = {}
        for change in drawn.values():
            if change.file not in limits:
                began = time.monotonic()
                if not copy.passes(tests_of(change.file), 600.0):
                    print(copy.output)
                    raise SystemExit(f"the tests of {change.file} fail as it is")
                limits[change.file] = 10.0 + PATIENCE * (time.monotonic() - began)
            outcome = copy.try_out(change, limits[change.file])
            outcomes.append(outcome)
            if not outcome.caught:
                mark = "equivalent" if outcome.key in listed else "SURVIVED"
                print(f"{mark} {change}", flush=True)
    return _report(outcomes, listed, set(every))


def _report(outcomes: list[Outcome], listed: dict[str, str], every: set[str]) -> bool:
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.key not in listed:
            rows[outcome.change.file].append(outcome)
    print(f"\n{'module':36} {'tried':>6} {'caught':>6} {'score':>6}")
    for file, tried in [*rows.items(), ("all", [outcome for row in rows.values() for outcome in row])]:
        caught = sum(outcome.caught for outcome in tried)
        print(f"{file:36} {len(tried):6} {caught:6} {caught / max(1, len(tried)):6.0%}")
    wrong = complaints(listed, every, {outcome.key for outcome in outcomes if outcome.caught})
    print(*wrong, sep="\n")
    return not wrong and all(outcome.caught or outcome.key in listed for outcome in outcomes)
