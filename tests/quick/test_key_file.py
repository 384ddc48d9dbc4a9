"""A worker and its key file: it applies each change once, and reports each error once, with the previous keys in force."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pixelcore import Journal, SettingsError
from pixelcore._core import Collector, Counters
from pixelcore.serving import key_file
from pixelcore.serving.key_file import KeyFileWatcher
from pixelcore.serving.persons import Persons
from pixelcore.settings import DEFAULTS

ONE = '[[pipeline]]\nid = "pip_1"\nkey = "dk_live_one"\n'
TWO = ONE + '[[pipeline]]\nid = "pip_2"\nkey = "dk_live_two"\n'
WRONG = "[[pipeline]]\nid = 1\n"

Step = Callable[[Path], object]


def write(text: str) -> Step:
    return lambda file: file.write_text(text)


def nothing(_: Path) -> None:
    pass


def touch(file: Path) -> None:
    os.utime(file, (time.time() + 60,) * 2)


def remove(file: Path) -> None:
    file.unlink()


TOOK_ONE, TOOK_TWO = "INFO: keys from FILE: 1", "INFO: keys from FILE: 2"
COMPLAINS = "ERROR: PIXELCORE_KEYS_FILE: FILE: line 2: invalid type: integer `1`, expected a string; the previous keys stay in force"
GONE = "ERROR: PIXELCORE_KEYS_FILE: FILE: No such file or directory; the previous keys stay in force"
STEPS: list[tuple[str, list[Step], list[str], str | None]] = [
    # name, what becomes of the file from look to look, what is logged, and what the second key is answered with then
    ("nothing changes", [nothing, nothing], [], "unknown_key"),
    ("it is touched", [touch, nothing, touch], [], "unknown_key"),
    ("it says the same", [write(ONE)], [], "unknown_key"),
    ("it says more", [write(TWO), nothing], [TOOK_TWO], None),
    ("more, and less", [write(TWO), write(ONE)], [TOOK_TWO, TOOK_ONE], "unknown_key"),
    ("it is wrong", [write(WRONG), nothing, touch], [COMPLAINS], "unknown_key"),
    ("wrong, and right again", [write(WRONG), write(TWO)], [COMPLAINS, TOOK_TWO], None),
    ("wrong, and as it was", [write(TWO), write(WRONG), write(TWO)], [TOOK_TWO, COMPLAINS, TOOK_TWO], None),
    ("it is gone, and comes back", [remove, nothing, write(TWO)], [GONE, TOOK_TWO], None),
]


def nobody(collector: Collector) -> Persons:
    """No pipeline here looks persons up."""
    return Persons(DEFAULTS, collector)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("steps", "logged", "answer"), [pytest.param(*row[1:], id=row[0]) for row in STEPS])
def test_looks(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    steps: list[Step],
    logged: list[str],
    answer: str | None,
    told: bool,
) -> None:
    """``told`` says that the system tells of changes; else the file's status does."""
    file = tmp_path / "keys.toml"
    file.write_text(ONE)
    with Journal(tmp_path / "events") as journal:
        collector = Collector(journal, journal, counters=Counters([]))
        watcher = KeyFileWatcher(file, tmp_path / "data", collector, nobody(collector))

        def looks() -> Iterator[bool]:
            for step in steps:
                step(file)
                yield told and step is not nothing

        watcher._looks = looks  # type: ignore[method-assign]
        with caplog.at_level(logging.INFO, "pixelcore"):
            watcher.run()
        assert [
            f"{record.levelname}: {record.message}".replace(str(file), "FILE") for record in caplog.records
        ] == logged
        watcher.stop()
        asked = collector.collect("page", "wk=dk_live_two", "192.0.2.1:80", (), None, None, None)
        assert asked == answer


def test_who_begins_while_it_is_wrong_has_what_it_said_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As long as the server is the same one: another should say at once what is wrong."""
    file, kept = tmp_path / "keys.toml", tmp_path / "data" / "keys"
    with Journal(tmp_path / "events") as journal:
        collector = Collector(journal, journal)

        def watcher() -> KeyFileWatcher:
            return KeyFileWatcher(file, tmp_path / "data", collector, nobody(collector))

        file.write_text(WRONG)
        with pytest.raises(SettingsError, match="line 2"):
            watcher()
        kept.mkdir(parents=True)
        for name in ("1-1.toml", "1-?.toml", "mine.toml"):
            (kept / name).write_text(TWO)
        file.write_text(ONE)
        watcher().stop()
        own = [path for path in kept.iterdir() if path.name != "mine.toml"]
        assert [path.read_text() for path in own] == [ONE], "those of other servers go, and what is nobody's stays"
        assert (kept / "mine.toml").exists()
        file.write_text(WRONG)
        caplog.clear()
        with caplog.at_level(logging.ERROR, "pixelcore"):
            watcher().stop()
        assert [message.replace(str(file), "FILE") for message in caplog.messages] == [COMPLAINS.partition(": ")[2]]


READ: list[tuple[str, bytes | None, str]] = [
    ("no file", None, "No such file or directory"),
    ("no UTF-8", b"[[pipeline]]\nid = '\xff'\n", "line 2: is not UTF-8"),
    ("no UTF-8 below an empty line", b"\n\xff", "line 2: is not UTF-8"),
    ("no keys", b"", "line 1: no [[pipeline]]"),
]


@pytest.mark.parametrize(("content", "said"), [pytest.param(*row[1:], id=row[0]) for row in READ])
def test_what_is_wrong_with_a_file(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "keys.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        key_file.count(file)
    assert str(raised.value) == f"PIXELCORE_KEYS_FILE: {file}: {said}"


def test_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(SettingsError, match="is not a regular file"):
            key_file.read(path)
    (tmp_path / "keys.toml").write_text(TWO)
    assert key_file.count(tmp_path / "keys.toml") == 2
