"""A sample of wrong changes to the Rust core: each tried with the Rust tests first, and then with the Python ones if those miss it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from mutants.equivalents import complaints, equivalents
from mutants.python import ROOT, Copy
from mutants.tests import TESTS_OF_CORE

CARGO_MUTANTS = ROOT / "target" / "tools" / "bin" / "cargo-mutants"
TARGET = ROOT / "target" / "mutants"
"""Of its own, so that dependencies are compiled once, and no mutant gets into other builds."""
ENVIRONMENT = {
    "CARGO_TARGET_DIR": str(TARGET),
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_TEST_DEBUG": "0",
    "PROPTEST_CASES": "64",
    "PROPTEST_MAX_SHRINK_ITERS": "0",
}
CAUGHT = ("CaughtMutant", "Timeout")


def all_mutants() -> dict[str, str]:
    """cargo-mutants' names of all changes, by those that stay when lines move."""
    listed = _cargo("--list", "--json", stdout=subprocess.PIPE).stdout
    seen = Counter[str]()
    found: dict[str, str] = {}
    for mutant in json.loads(listed):
        file, _, _, change = mutant["name"].split(":", 3)
        name = f"{Path(file).relative_to('rust/core/src')}: {change.strip()}"
        seen[name] += 1
        found[f"{name} ({seen[name]})" if seen[name] > 1 else name] = mutant["name"]
    return found


def run(files: list[str], seed: int, count: int, *, with_python: bool, only_equivalents: bool = False) -> bool:
    """Try ``count`` changes of the files, all where there are none named, and say what survived."""
    listed, every = equivalents("rust"), all_mutants()
    there = [name for name in every if not files or name.partition(":")[0] in files]
    chosen = random.Random(seed).sample(there, min(count, len(there)))
    if only_equivalents:
        chosen = [name for name in listed if name in every]
    with tempfile.TemporaryDirectory(prefix="pixelcore-mutants-") as directory:
        outcomes, diffs = _try_out(every, chosen, Path(directory))
        caught = {name for name, outcome in outcomes.items() if outcome in CAUGHT}
        missed = [name for name, outcome in outcomes.items() if outcome == "MissedMutant"]
        by_python: set[str] = set()
        for name in missed:
            if with_python and name not in listed and _python_catches(diffs[name]):
                by_python.add(name)
            elif name not in listed:
                print(f"SURVIVED {every[name]}", flush=True)
        for name in sorted(by_python):
            print(f"caught by Python alone: {every[name]}")
    tried = [name for name, outcome in outcomes.items() if name not in listed and outcome != "Unviable"]
    _score("the tests of Rust", tried, caught)
    if with_python:
        _score("with those of Python", tried, caught | by_python)
    wrong = complaints(listed, set(every), caught | by_python)
    print(*wrong, sep="\n")
    return not wrong and all(name in caught | by_python for name in tried)


def _score(whose: str, tried: list[str], caught: set[str]) -> None:
    count = sum(name in caught for name in tried)
    print(f"{whose} catch {count} of {len(tried)}: {count / max(1, len(tried)):.0%}")


def _cargo(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(CARGO_MUTANTS), "mutants", "--package", "pixelcore", *arguments]
    environment = {**os.environ, **ENVIRONMENT}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, **options)


def _try_out(every: dict[str, str], chosen: list[str], directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What became of each that was chosen, and its text as a patch.

    Of the files of these cargo-mutants 27.1 tries all that leave out a field, whatever it is asked for.
    """
    pattern = "|".join(re.escape(every[name]).replace(r"\ ", " ") for name in chosen)
    files = {every[name].partition(":")[0] for name in chosen}
    options = ["--colors=never", "--timeout-multiplier=3", "--minimum-test-timeout=60", "--output", str(directory)]
    done = _cargo("--re", f"^({pattern})$", *(f"--file={file}" for file in sorted(files)), *options)
    results = json.loads((directory / "mutants.out" / "outcomes.json").read_text())["outcomes"]
    outcomes: dict[str, str] = {}
    diffs: dict[str, str] = {}
    names = {name: key for key, name in every.items()}
    for result in results:
        if result["scenario"] == "Baseline":
            if result["summary"] != "Success":
                raise SystemExit("the tests fail as they are")
            continue
        key = names[result["scenario"]["Mutant"]["name"]]
        outcomes[key] = result["summary"]
        diffs[key] = (directory / "mutants.out" / result["diff_path"]).read_text()
    if done.returncode not in (0, 2, 3):  # all caught, some missed, some timed out
        raise SystemExit(f"cargo mutants ended with {done.returncode}")
    return outcomes, diffs


def _python_catches(diff: str) -> bool:
    """Whether the tests of Python catch a change, built into an extension of its own."""
    with tempfile.TemporaryDirectory(prefix="pixelcore-mutants-") as directory:
        source = Path(directory, "source")
        # With times of now: by older ones Cargo would take what it built of the last change for what is there.
        shutil.copytree(ROOT / "rust", source / "rust", copy_function=shutil.copy)
        for name in ("Cargo.toml", "Cargo.lock"):
            shutil.copy(ROOT / name, source / name)
        subprocess.run(["patch", "--quiet", "-p0"], input=diff, cwd=source, text=True, check=True)
        environment = {**os.environ, **ENVIRONMENT, "CARGO_PROFILE_DEV_OPT_LEVEL": "1", "PYO3_PYTHON": sys.executable}
        build = ["cargo", "build", "--quiet", "--package", "pixelcore-python", "--features", "pyo3/extension-module"]
        subprocess.run(build, cwd=source, env=environment, check=True)
        package = Path(directory, "package")
        package.mkdir()
        tests = Copy(package)
        extension = next((package / "pixelcore").glob("_core*.so"))
        shutil.copy(TARGET / "debug" / "lib_core.so", extension)
        with contextlib.suppress(FileNotFoundError):
            (TARGET / "debug" / "lib_core.so").unlink()
        return not tests.passes([f"tests/{test}" for test in TESTS_OF_CORE], 600.0)
