"""The log if stderr is a terminal, a pipe, or systemd's journal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import IO

import pytest

from tests.support.servers import clean_environment

SCRIPT = """
import logging
from pixelcore import settings
from pixelcore.observing import log
log.configure(settings.load())
logging.getLogger("pixelcore").warning("a %s", "text")
logging.getLogger("pixelcore").info("over")
logging.getLogger("pixelcore").error("failed")
logging.getLogger("pixelcore").debug("seen")
"""


def logged(stderr: IO[bytes] | int, **environment: str) -> None:
    environment["PIXELCORE_LOG_LEVEL"] = "debug"
    subprocess.run([sys.executable, "-c", SCRIPT], env=clean_environment(environment), stderr=stderr, check=True)


@pytest.mark.parametrize(("log_format", "is_pretty"), [("auto", True), ("pretty", True), ("json", False)])
def test_on_a_terminal(log_format: str, is_pretty: bool) -> None:
    ours, theirs = pty.openpty()
    logged(theirs, PIXELCORE_LOG_FORMAT=log_format)
    os.close(theirs)
    shown = b""
    while shown.count(b"\n") < 4:
        shown += os.read(ours, 65536)
    os.close(ours)
    lines = shown.decode().splitlines()
    assert [line.startswith("{") for line in lines] == [not is_pretty] * 4
    assert "a text" in lines[0]


@pytest.mark.parametrize(("log_format", "is_pretty"), [("auto", False), ("pretty", True), ("json", False)])
def test_in_a_pipe(log_format: str, is_pretty: bool) -> None:
    ours, theirs = os.pipe()
    logged(theirs, PIXELCORE_LOG_FORMAT=log_format)
    status = os.fstat(theirs)
    logged(theirs, PIXELCORE_LOG_FORMAT=log_format, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
    logged(theirs, PIXELCORE_LOG_FORMAT=log_format, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino + 1}")
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as pipe:
        lines = pipe.read().splitlines()
    begins = [*[""] * 4, "<4>", "<6>", "<3>", "<7>", *[""] * 4]
    for line, begin in zip(lines, begins, strict=True):
        assert line.startswith(begin)
        assert line.removeprefix(begin).startswith("{") != is_pretty, line
