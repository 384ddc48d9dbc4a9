"""A data directory with other users' files: pixelcore does not delete, overwrite or follow them, and others cannot read its files."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pixelcore import Journal, JournalReader
from pixelcore.datadir import NAMES, exposure, hazard, prepare
from pixelcore.errors import SettingsError
from pixelcore.journals import EVENTS, JournalDirectory
from pixelcore.settings import load

from tests.kafka.broker import free_port
from tests.support.servers import Serve, clean_environment
from tests.support.wire import GOOD

NOBODY = 65534
KEYS = '[[pipeline]]\nid = "pip_x"\nkey = "dk_test_1"\n'
STRANGERS = {
    "notes.txt": "mine",
    "events/notes.txt": "mine",
    "events/0-README/notes.txt": "mine",
    "keys/keys.toml": KEYS,
    "keys/1-2-3.toml": "mine",
    "metrics/dashboard.json": "mine",
    "metrics/not-a-uuid.counters": "mine",
    "rates/limits.json": "mine",
    "rates/notes.txt": "mine",
    "replay/notes.txt": "mine",
}
"""The operator's files next to pixelcore's, with similar names."""
OURS = (
    "keys/1-2.toml",
    "metrics/01a2287d-0000-7000-8000-000000000000.counters",
    "rates/1-2-128.buckets",
    "rates/1-2-128.345",
)
"""Files that an earlier gateway left."""
DAY = 86_400


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def fill(root: Path) -> None:
    for name in (*STRANGERS, *OURS):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STRANGERS.get(name, ""))
        os.utime(path, (path.stat().st_atime - DAY, path.stat().st_mtime - DAY))


def test_only_files_of_our_own_are_deleted(serve: Serve, tmp_path: Path) -> None:
    root, keys = tmp_path / "server-0" / "data", tmp_path / "keys.toml"
    fill(root)
    keys.write_text(KEYS)
    server = serve({"PIXELCORE_KEYS_FILE": str(keys), "PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}"})
    assert server.get(GOOD).is_pixel
    server.terminate()
    assert {name: (root / name).read_text() for name in STRANGERS} == STRANGERS
    assert not [name for name in OURS if (root / name).exists()]


def test_a_journal_is_deleted_without_files_of_others(tmp_path: Path) -> None:
    for strangers in ([], ["notes.txt"]):
        with Journal(tmp_path) as journal:
            journal.append(b"{}")
        directory = JournalDirectory(Path(journal.path))
        directory.mark_shipped()
        directory.commit(3)
        for name in strangers:
            (directory.path / name).write_text("mine")
        directory.delete()
        assert not directory.path.exists()
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == strangers
        JournalReader(directory.path).delete_journal()  # it is gone, which is what was wanted


@pytest.mark.parametrize("name", NAMES)
def test_symbolic_links_are_not_followed(tmp_path: Path, name: str) -> None:
    root, target = tmp_path / "data", tmp_path / "target"
    root.mkdir()
    target.write_text("precious")
    (root / name).symlink_to(target)
    failed = run_serve(root)
    assert "is a symbolic link" in failed.stderr
    assert_one_line(failed, "PIXELCORE_DATA_DIR")
    assert target.read_text() == "precious"
    checked = run("check", root)
    assert "FAIL data directory" in checked.stdout
    assert "is a symbolic link" in checked.stdout


def assert_one_line(failed: subprocess.CompletedProcess[str], setting: str) -> None:
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"Error: {setting}: ")


def run(command: str, root: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pixelcore", command, "--data-dir", str(root), *flags],
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def run_serve(root: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A server that must not start."""
    return run("serve", root, "--bind", f"127.0.0.1:{free_port()}", **settings)


@pytest.mark.parametrize("place", ["keys/keys.toml", "rates/pipelines/keys.toml", "events/keys.toml"])
def test_a_key_file_in_a_folder_of_ours_is_refused(tmp_path: Path, place: str) -> None:
    keys = tmp_path / "data" / place
    keys.parent.mkdir(parents=True)
    keys.write_text(KEYS)
    failed = run_serve(tmp_path / "data", PIXELCORE_KEYS_FILE=str(keys))
    assert_one_line(failed, "PIXELCORE_KEYS_FILE")
    assert keys.read_text() == KEYS
    checked = run("check", tmp_path / "data", PIXELCORE_KEYS_FILE=str(keys))
    assert "FAIL key file" in checked.stdout


# who owns the directory, who owns what is in it, its mode; whether it may be used, what is wrong with it for check
DIRECTORIES = [
    ("ours", 0, 0, 0o700, None, None),
    ("ours, readable", 0, 0, 0o755, None, None),
    ("ours, writable for all", 0, 0, 0o777, None, "any user"),
    ("ours, writable for a group", 0, 0, 0o770, None, "group 0"),
    ("another's", NOBODY, 0, 0o700, "belongs to user 65534", None),
    ("ours with another's journals", 0, NOBODY, 0o700, "belongs to user 65534", None),
]


@pytest.mark.parametrize(
    ("name", "owner", "inner", "rights", "wrong", "open_to"), DIRECTORIES, ids=[row[0] for row in DIRECTORIES]
)
def test_whose_directory_it_is(
    tmp_path: Path, name: str, owner: int, inner: int, rights: int, wrong: str | None, open_to: str | None
) -> None:
    del name
    us = os.geteuid()
    root = tmp_path / "data"
    (root / EVENTS).mkdir(parents=True)
    if us == 0:
        os.chown(root / EVENTS, inner, -1)
        os.chown(root, owner, -1)
    elif NOBODY in (owner, inner):
        return  # only root can give files away: for others, nobody can have put it there in their name
    root.chmod(rights)
    assert (wrong or "") in (hazard(root) or "")
    assert (hazard(root) is None) == (wrong is None)
    if open_to is not None:
        assert open_to in (exposure(root) or "")
    chosen = load({"PIXELCORE_DATA_DIR": str(root)})
    before = os.umask(0o022)
    try:
        if wrong is not None:
            with pytest.raises(SettingsError, match=wrong):
                prepare(chosen)
            return
        prepare(chosen)
        assert not mode(root) & 0o022
        assert mode(root / EVENTS) == 0o700
        assert exposure(root) is None
    finally:
        os.umask(before)
        shutil.rmtree(root)


def test_what_a_gateway_makes_is_its_users_alone(serve: Serve, tmp_path: Path) -> None:
    """Though the directory was made by somebody else, with an open umask and things of an older version in it."""
    root = tmp_path / "server-0" / "data"
    (root / "events").mkdir(parents=True, mode=0o755)
    root.chmod(0o755)
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    server = serve({"PIXELCORE_KEYS_FILE": str(keys)}, command="granian")
    assert server.get(GOOD).is_pixel
    assert server.get("/v1/pixel/track").is_pixel
    made: dict[Path, int] = {}
    for path in root.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a file that has taken another one's place meanwhile
            made[path] = mode(path)
    assert len(made) > 5
    assert {path: rights for path, rights in made.items() if rights & 0o077} == {}
    server.terminate()


def test_a_library_users_journal_is_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Journal(tmp_path / "a" / "b") as journal:
            journal.append(b"{}")
            made = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
            assert len(made) == 5
            assert [path for path in made if mode(path) & 0o077] == []
    finally:
        os.umask(before)
