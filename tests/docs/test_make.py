"""The messages of ``make`` during long steps, and the address of ``make run``."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.paths import ROOT


def planned(*arguments: str) -> str:
    """The commands of a make that repeats all steps."""
    environment = {**os.environ, "MAKEFLAGS": "", "DEPENDENCIES": "", "BIND": ""}
    plan = ["make", "--no-print-directory", "--dry-run", "--always-make", *arguments]
    return subprocess.run(plan, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


SAID: list[tuple[str, str]] = [
    ("run", "echo 'setting up .venv'"),
    ("run", "echo 'compiling the Rust core, "),
    ("run", "pip install --disable-pip-version-check --editable ."),  # which tells how far it is
    ("docs", f"echo 'the site is in {ROOT}/site/index.html"),
]


@pytest.mark.parametrize(("target", "said"), SAID)
def test_what_takes_long_is_said(target: str, said: str) -> None:
    assert said in planned(target)


SERVED: list[tuple[tuple[str, ...], str]] = [
    ((), ".venv/bin/pixelcore serve"),
    (("BIND=127.0.0.1:9000",), ".venv/bin/pixelcore serve --bind 127.0.0.1:9000"),
]


@pytest.mark.parametrize(("arguments", "command"), SERVED)
def test_make_run_leaves_the_address_to_the_settings(arguments: tuple[str, ...], command: str) -> None:
    assert planned("run", *arguments).splitlines()[-1].strip() == command
