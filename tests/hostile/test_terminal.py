"""Strangers' texts reach an operator's terminal as visible text, and the terminal obeys no part of them."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pixelcore
import pytest
from pixelcore import Journal
from pixelcore.observing.log import JsonLineFormatter, PrettyFormatter
from pixelcore.printable import escape, escape_controls

from tests.support.servers import clean_environment

# what it is, and the characters
HOSTILE = {
    "C1: an operating system command": "\x9d52;c;Zm9v\x9c",
    "C0: the same": "\x1b]52;c;Zm9v\x07",
    "DEL": "a\x7fb",
    "directions": "\u202eevil\u202c \u2066x\u2069 \u200f \u061c",
    "invisible": "a\u200bb\u200dc\u2060d\ufeffe\u00adf",
    "fillers": "\u115f\u3164\uffa0\u034f",
    "selectors and tags": "a\ufe0fb\U000e0101\U000e0041",
    "line separators": "a\u2028b\u2029c\x85d",
    "not assigned, private": "\U000e0fff\ue000\ufdd0",
}
FINE = {"words": "Grüße, 世界, مرحبا, שלום 😀", "quotes": "\"\\/'", "blanks": "a b"}


def is_plain(char: str) -> bool:
    """Whether a terminal shows this character and does nothing else: by categories, not by the code that is tested."""
    return char == "\n" or unicodedata.category(char)[0] in "LMNPS" or char == " "


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_of_strangers(name: str) -> None:
    text = json.dumps({"x": HOSTILE[name]}, ensure_ascii=False)
    shown = escape(text)
    assert all(map(is_plain, shown))
    assert HOSTILE[name] not in shown
    assert json.loads(shown) == json.loads(escape_controls(text)) == {"x": HOSTILE[name]}
    assert not re.search(r"[\x7f-\x9f]", escape_controls(text))
    record = logging.LogRecord("pixelcore", logging.WARNING, "", 0, "%s", (HOSTILE[name],), None)
    assert all(map(is_plain, PrettyFormatter().format(record)))
    line = JsonLineFormatter("%(message)s").format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == HOSTILE[name]


@pytest.mark.parametrize("name", FINE)
def test_texts_that_are_fine_stay(name: str) -> None:
    assert escape(FINE[name]) == escape_controls(FINE[name]) == FINE[name]


def hostile_journal(root: Path) -> list[bytes]:
    texts = [*HOSTILE.values(), *FINE.values()]
    events = [
        pixelcore.event(
            "track", f"wk=k&e=E{quote(text)}E&p.{quote(text)}={quote(text)}", received_at=1_740_493_801_250 + i
        )
        for i, text in enumerate(texts)
    ]
    with Journal(root / "events") as journal:
        for event in events:
            journal.append(event)
    return events


def tail(root: Path, stdout: int, *flags: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pixelcore", "tail", "-n", "100", "--data-dir", str(root), *flags],
        env=clean_environment({"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
    )


def test_tail_on_a_terminal(tmp_path: Path) -> None:
    events = hostile_journal(tmp_path)
    ours, theirs = pty.openpty()
    process = tail(tmp_path, theirs, "--pretty")
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(150) == 0
    text = shown.decode().replace("\r\n", "\n")
    assert [char for char in text if not is_plain(char)] == []
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        event, end = decoder.raw_decode(text)
        found.append(event)
        text = text[end:]
    assert found == [json.loads(event) for event in events]


def test_tail_in_a_pipe(tmp_path: Path) -> None:
    events = hostile_journal(tmp_path)
    process = tail(tmp_path, subprocess.PIPE)
    shown, _ = process.communicate(timeout=150)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown.decode())
    assert [json.loads(line) for line in shown.splitlines()] == [json.loads(event) for event in events]
