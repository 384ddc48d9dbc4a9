"""Runs ``pixelcore`` a thousand times without importing it as often: ``python -m tests.support.forking`` forks for each line on stdin.

A line is a case in JSON: arguments, environment and directory, and where the output goes. A fork ends as a process of
its own does, with the interpreter's own words for what nobody caught. The answer on stdout is its exit code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from typing import Any

from pixelcore.commands.main import main

# The modules that commands import on demand, so that forks need not import them.
for needed in (
    "rich.console",
    "rich.highlighter",
    "pixelcore.model",
    "pixelcore.serving.key_file",
    "pixelcore.commands.checks",
):
    importlib.import_module(needed)

SECONDS = 60
GONE = "gone"
"""A placeholder for a deleted directory."""


def become(case: dict[str, Any]) -> None:
    """Act as the process of a case."""
    signal.alarm(SECONDS)
    if case["directory"] == GONE:
        os.mkdir(GONE)  # noqa: PTH102
        os.chdir(GONE)
        os.rmdir(os.path.join("..", GONE))  # noqa: PTH106, PTH118
    else:
        os.chdir(case["directory"])
    os.environ.clear()
    os.environ.update(case["environment"])
    for number, name in ((0, os.devnull), (1, case["stdout"]), (2, case["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["pixelcore", *case["arguments"]]


if __name__ == "__main__":
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            main(prog_name="pixelcore")
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
