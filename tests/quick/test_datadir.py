"""The data directory at the start: for its user alone at any depth, and with a warning if others could interfere."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixelcore import files
from pixelcore.datadir import NAMES, DataDirLock, existing, exposure, locked, prepare, served_at
from pixelcore.errors import SettingsError
from pixelcore.settings import Settings


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """That of this process, which a start changes."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("below", ["data", "new/data", "new/deep/er/data"])
def test_it_is_made_with_those_above_it(tmp_path: Path, below: str, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / below
    prepare(Settings(data_dir=root))
    assert mode(root) == 0o700
    (root / "file").touch()
    assert mode(root / "file") == 0o600, "and so is all that this process makes"
    prepare(Settings(data_dir=root))
    assert caplog.messages == [], "nothing is to be said of it"


def test_rights_of_others_are_taken_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    root.mkdir(0o777)
    root.chmod(0o777)
    for name, directory in (("events", True), ("undeliverable.ndjson", False), ("gateway.lock", False)):
        path = root / name
        path.mkdir() if directory else path.touch()
        path.chmod(0o755 if directory else 0o644)
    (root / "theirs").touch()
    (root / "theirs").chmod(0o644)
    with caplog.at_level(logging.WARNING, "pixelcore"):
        prepare(Settings(data_dir=root))
    assert [record.message for record in caplog.records] == [
        f"{root} was writable for other users: pixelcore has removed that right"
    ]
    assert {path.name: mode(path) for path in root.iterdir()} == {
        "events": 0o700,
        "undeliverable.ndjson": 0o600,
        "gateway.lock": 0o600,
        "theirs": 0o644,
    }
    assert mode(root) == 0o755, "what others may read is theirs to say"


EXPOSED: list[tuple[str, int, int, str | None]] = [
    # name, the directory's mode, the mode of events/ in it, what is said
    ("nobody else", 0o700, 0o700, None),
    ("others may look, and see nothing of ours", 0o755, 0o700, None),
    ("any user may write", 0o707, 0o700, "{root} is writable for any user, who can remove and replace the files in it"),
    (
        "a group may write",
        0o770,
        0o700,
        "{root} is writable for group {group}, who can remove and replace the files in it",
    ),
    ("what is in it is open", 0o755, 0o750, "{root}/events is readable for others"),
    ("what is in it is open, but nobody gets there", 0o700, 0o755, None),
]


@pytest.mark.parametrize(("outer", "inner", "said"), [pytest.param(*row[1:], id=row[0]) for row in EXPOSED])
def test_exposure(tmp_path: Path, outer: int, inner: int, said: str | None) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events").chmod(inner)
    tmp_path.chmod(outer)
    expected = said and said.format(root=tmp_path, group=tmp_path.stat().st_gid)
    assert exposure(tmp_path) == expected


EXISTING: list[tuple[str, list[str], bool, bool | str]] = [
    # name, what is in the directory, whether somebody waits for a gateway, whether there is something, or the error
    ("events", ["events"], False, True),
    ("rejections alone", ["rejections", "mine"], False, True),
    ("nothing yet", [], True, False),
    ("nothing", [], False, "no gateway has written to it: it has no events/"),
    ("another's", ["mine"], False, "no gateway has written to it: it has no events/"),
]


@pytest.mark.parametrize(("names", "coming", "expected"), [pytest.param(*row[1:], id=row[0]) for row in EXISTING])
def test_what_a_command_finds(tmp_path: Path, names: list[str], coming: bool, expected: bool | str) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    if isinstance(expected, bool):
        assert existing(tmp_path, or_coming=coming) == expected
        return
    with pytest.raises(SettingsError) as raised:
        existing(tmp_path, or_coming=coming)
    assert str(raised.value) == f"PIXELCORE_DATA_DIR: {tmp_path}: {expected}"


WRONG: list[tuple[str, str]] = [
    ("file", "{path}: is not a directory"),
    ("file/below", "{path}: Not a directory"),
]


@pytest.mark.parametrize(("below", "said"), WRONG)
def test_what_cannot_be_a_directory(tmp_path: Path, below: str, said: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / below
    with pytest.raises(SettingsError) as raised:
        prepare(Settings(data_dir=path))
    assert str(raised.value) == f"PIXELCORE_DATA_DIR: {said.format(path=path)}"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", full)
    prepare(Settings(data_dir=tmp_path / "data"))


@pytest.mark.parametrize("name", NAMES)
def test_a_key_file_among_our_own_is_refused(tmp_path: Path, name: str) -> None:
    """pixelcore deletes and replaces what has these names."""
    for file in (tmp_path / name, tmp_path / name / "deeper" / "keys.toml"):
        with pytest.raises(
            SettingsError, match=r"^PIXELCORE_KEYS_FILE: .* is in a directory in which pixelcore deletes files"
        ):
            prepare(Settings(data_dir=tmp_path, keys_file=file))
    prepare(Settings(data_dir=tmp_path, keys_file=tmp_path / f"{name}.toml"))


def test_the_lock_is_one_servers(tmp_path: Path) -> None:
    server = os.getpid()
    first, second = DataDirLock(tmp_path, server), DataDirLock(tmp_path, server)
    with pytest.raises(
        SettingsError, match=rf"^PIXELCORE_DATA_DIR: {tmp_path} is in use by another gateway: .*{server}"
    ):
        DataDirLock(tmp_path, os.getppid(), patience=0.0)
    first.release()
    first.release()
    assert (tmp_path / "gateway.lock").exists(), "a sibling has it still"
    with pytest.raises(SettingsError, match="is in use by another gateway"):
        DataDirLock(tmp_path, os.getppid(), patience=0.0)
    second.release()
    assert not (tmp_path / "gateway.lock").exists(), "the last one puts out the light"
    DataDirLock(tmp_path, os.getppid(), patience=0.0).release()


def test_a_lock_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk, the gateway still answers with the GIF. Any other error stops the start."""
    (tmp_path / "gateway.lock").mkdir()
    with pytest.raises(SettingsError, match=r"^PIXELCORE_DATA_DIR: .*gateway\.lock"):
        DataDirLock(tmp_path, os.getpid())
    (tmp_path / "gateway.lock").rmdir()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pixelcore.datadir.open_own", full)
    with caplog.at_level(logging.WARNING, "pixelcore"):
        DataDirLock(tmp_path, os.getpid()).release()
    (told,) = caplog.messages
    assert told.endswith("No space left on device: the data directory is not locked against a second gateway")


def test_where_a_gateway_answers(tmp_path: Path) -> None:
    assert served_at(tmp_path) is None
    (tmp_path / "gateway.url").write_text("http://127.0.0.1:1")
    lock = DataDirLock(tmp_path, os.getpid())
    assert served_at(tmp_path) == "http://127.0.0.1:1"
    (tmp_path / "gateway.url").unlink()
    assert served_at(tmp_path) is None
    lock.release()
    (tmp_path / "gateway.lock").touch()
    (tmp_path / "gateway.url").write_text("http://127.0.0.1:1")
    assert served_at(tmp_path) is None, "one that was killed says nothing"


def test_a_gateway_has_the_directory_while_it_runs(tmp_path: Path) -> None:

    def hold(fails: bool) -> None:
        with locked(tmp_path, "http://127.0.0.1:1"):
            assert served_at(tmp_path) == "http://127.0.0.1:1"
            with pytest.raises(SettingsError, match="is in use by another gateway"):
                DataDirLock(tmp_path, os.getppid(), patience=0.0)
            if fails:
                raise RuntimeError("a defect")

    hold(fails=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="a defect"):
        hold(fails=True)
    assert list(tmp_path.iterdir()) == [], "and leaves nothing, however it ends"


def test_only_files_of_such_names_are_removed(tmp_path: Path) -> None:
    names = re.compile(r"[0-9]+\.ours")
    (tmp_path / "2.ours").symlink_to(tmp_path / "theirs")
    (tmp_path / "3.ours").mkdir()
    for name in ("theirs", "x1.ours", "1.ours.bak", "1.ours", "4.ours"):
        (tmp_path / name).touch()
    os.utime(tmp_path / "4.ours", (time.time() - 3600,) * 2)
    left = {"2.ours", "3.ours", "theirs", "x1.ours", "1.ours.bak"}
    for older_than, expected in ((7200.0, {"1.ours", "4.ours"}), (1800.0, {"1.ours"}), (0.0, set())):
        files.remove_own(tmp_path, names, older_than=older_than)
        assert {path.name for path in tmp_path.iterdir()} == left | expected
    (tmp_path / "1.ours").touch()
    files.remove_own(tmp_path, names)
    assert {path.name for path in tmp_path.iterdir()} == left
    files.remove_own(tmp_path / "missing", names)


@pytest.mark.parametrize("durable", [True, False])
def test_only_what_is_to_be_durable_waits_for_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(
        "pixelcore.files.os.fsync", lambda file: flushed.append(Path(f"/proc/self/fd/{file}").readlink().name)
    )
    files.replace(tmp_path / "another", "text")
    assert flushed == [], "unless it is asked for"
    files.replace(tmp_path / "note", "text", durable=durable)
    assert flushed == ([f"{os.getpid()}.new", tmp_path.name] if durable else []), "the text, and then its name"


def test_files_are_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "made" / "note"
    for text in ("one", "two"):
        files.replace(path, text)
        assert (path.read_text(), mode(path), [other.name for other in path.parent.iterdir()]) == (
            text,
            0o600,
            ["note"],
        )
    assert mode(path.parent) == 0o700
    (path.parent / f"{os.getpid()}.new").write_text("left by an earlier process of this number")
    files.replace(path, "three")
    assert [other.read_text() for other in path.parent.iterdir()] == ["three"]


OPENED: list[tuple[str, int]] = [
    ("to read", os.O_RDONLY | os.O_CREAT),
    ("to write", os.O_WRONLY | os.O_CREAT),
    ("to lock", os.O_RDWR | os.O_CREAT),
]


@pytest.mark.parametrize("flags", [pytest.param(flags, id=name) for name, flags in OPENED])
def test_our_own_files_are_opened_for_us_alone(tmp_path: Path, flags: int) -> None:
    """No other user can read them, no child process inherits them, and no symbolic link leads elsewhere."""
    os.umask(0)
    path, link, target = tmp_path / "own", tmp_path / "link", tmp_path / "target"
    file = files.open_own(path, flags)
    try:
        assert mode(path) == 0o600
        assert fcntl.fcntl(file, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
        assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == flags & os.O_ACCMODE
    finally:
        os.close(file)
    link.symlink_to(target)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        files.open_own(link, flags)
    assert not target.exists()


def test_texts_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    write = (
        "import sys; from pathlib import Path; from pixelcore import files; files.replace(Path(sys.argv[1]), chr(0xFC))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", write, tmp_path / "note"], env=environment, check=True)
    assert (tmp_path / "note").read_bytes() == b"\xc3\xbc"
