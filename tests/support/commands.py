"""Commands that end by themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.servers import clean_environment


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pixelcore", *arguments]


def run(*arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        command(*arguments),
        # Wide, so that each option is on one line.
        env=clean_environment({"COLUMNS": "120", **(environment or {})}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def replayed(data_dir: Path, *arguments: str, code: int | None = None) -> list[list[str]]:
    """The rows of ``pixelcore replay``'s table, without the header."""
    ended = run("replay", "--data-dir", str(data_dir), *arguments, cwd=data_dir)
    rows = [line.split() for line in ended.stdout.splitlines()[1:]]
    nothing = 3 if rows == [["total", "0", "0"]] else 0
    assert ended.returncode == (nothing if code is None else code), ended.stderr
    assert "Traceback" not in ended.stderr
    return rows
