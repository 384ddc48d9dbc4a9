"""Compares a topic with the answered requests, and runs forwarders to their end."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.kafka.topics import Message, Reader
from tests.support.load import Load
from tests.support.servers import forward


def arrived(bootstrap: str, topic: str, expected: Iterable[str], timeout: float = 120) -> list[Message]:
    """The topic's messages, a second after all expected messageIds are there, so that repeats would also be there."""
    wanted = set(expected)
    seen: set[str] = set()
    read = 0

    def complete(messages: list[Message]) -> bool:
        nonlocal read
        seen.update(message.mid for message in messages[read:])
        read = len(messages)
        return wanted <= seen

    with Reader(bootstrap, topic, timeout) as reader:
        reader.until(complete, timeout)
        reader.poll(1)
        return reader.messages


def check(messages: list[Message], answered: set[str], sent: set[str], *, repeats: bool = False) -> None:
    """Assert that no answered event is missing, that every event was sent, and that none is repeated."""
    mids = Counter(message.mid for message in messages)
    missing = sorted(answered - mids.keys())
    strangers = sorted(mids.keys() - sent)
    repeated = [] if repeats else sorted(mid for mid, count in mids.items() if count > 1)
    assert not missing + strangers + repeated, (
        f"of {len(answered)} answered {len(missing)} are missing {missing[:5]}, {len(repeated)} repeated {repeated[:5]}, "
        f"{len(strangers)} strangers {strangers[:5]}"
    )


def check_load(bootstrap: str, topic: str, load: Load, *, repeats: bool = False) -> None:
    assert load.answered
    check(arrived(bootstrap, topic, load.answered), load.answered, load.sent, repeats=repeats)


def finish(process: subprocess.Popen[str], timeout: float = 150) -> tuple[int, str]:
    """A forwarder's exit code and output."""
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"pixelcore forward did not end in {timeout} s:\n{output}")
    return process.returncode, output


def ship(data_dir: Path, settings: dict[str, str]) -> str:
    """Run ``pixelcore forward`` to its end: everything is shipped, without errors."""
    code, output = finish(forward(data_dir, settings))
    assert code == 0, output
    assert "Traceback" not in output
    return output


def says(process: subprocess.Popen[str], words: str) -> None:
    """Wait until a forwarder prints these words. What it printed until then is not in its later output."""
    assert process.stdout is not None
    assert any(words in line for line in process.stdout), f"it has ended, and did not say {words!r}"
