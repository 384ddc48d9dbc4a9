"""Section 5 of the contract: a key file that changes under running workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Serve
from tests.load import Load
from tests.servers import Server
from tests.test_worker import wait_for
from tests.wire import ask

TAKEN_UP_SECONDS = 2.0


def pipeline(key: str, **more: object) -> str:
    """A key's part of the file; values are written as JSON, which is TOML, too, for all that is here."""
    lines = [f"{name} = {str(value).lower() if isinstance(value, bool) else value}" for name, value in more.items()]
    return "\n".join(["[[pipeline]]", f'id = "pip_{key[8:]}"', f'key = "{key}"', *lines, ""])


def put(file: Path, text: str) -> None:
    """In one step, as a file that is read meanwhile should be."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def outcome(server: Server, key: str, headers: dict[str, str] | None = None) -> str | None:
    """What a worker makes of a request, each on a connection of its own; ``X-Pixelcore`` says."""
    return ask(server, f"/v1/pixel/track?wk={key}&e=E", headers=headers).header("x-pixelcore")


def wait_for_outcome(server: Server, key: str, expected: str) -> None:
    """In all workers, within the time that the contract gives; 20 connections reach both of two but once in 500,000."""
    deadline = time.monotonic() + TAKEN_UP_SECONDS
    while {outcome(server, key) for _ in range(20)} != {expected}:
        assert time.monotonic() < deadline, f"{key} is not {expected} everywhere in time"
        time.sleep(0.05)


class Judged(NamedTuple):
    """A request in a journal: when, of which worker's journal, and what became of it."""

    at: float
    journal: str
    outcome: str


def judged(server: Server) -> dict[str, Judged]:
    """All requests of the journals by messageId."""
    found: dict[str, Judged] = {}
    for kind in ("events", "rejections"):
        for segment in server.data_dir.glob(f"{kind}/*/*.ndjson"):
            for line in segment.read_bytes().splitlines():
                record = json.loads(line)
                mid = record.get("messageId") or record["query"].partition("mid=")[2].partition("&")[0]
                at = datetime.fromisoformat(record["receivedAt"].replace("Z", "+00:00")).timestamp()
                assert mid not in found, "one request, one record"
                found[mid] = Judged(at, segment.parent.name, record.get("reason", "accepted"))
    return found


STEADY, CHANGING = "dk_live_steady", "dk_live_changing"
# What the file says of the key, and what its requests become.
PHASES: list[tuple[str, str, set[str]]] = [
    ("not there yet", "", {"unknown_key"}),
    ("added", pipeline(CHANGING), {"accepted"}),
    ("disabled", pipeline(CHANGING, enabled=False), {"disabled_key"}),
    ("enabled", pipeline(CHANGING, enabled=True), {"accepted"}),
    ("limited", pipeline(CHANGING, rate_limit_rps=20), {"accepted", "rate_limited"}),
    ("removed", "", {"unknown_key"}),
]


def test_changes_under_load(serve: Serve, tmp_path: Path) -> None:
    """Every request is judged as the file says, in both workers, from two seconds after each change at the latest."""
    file = tmp_path / "keys.toml"
    steady = pipeline(STEADY, rate_limit_rps=100_000)
    put(file, steady + PHASES[0][1])
    server = serve({"PIXELCORE_KEYS_FILE": str(file)}, workers=2)
    changes: list[float] = []
    loads = [Load(server.port, rate=300, connections=24, key=key) for key in (STEADY, CHANGING)]
    with loads[0], loads[1]:
        for _, text, _ in PHASES:
            put(file, steady + text)
            changes.append(time.time())
            time.sleep(TAKEN_UP_SECONDS + 1)
    ended = time.time()
    assert [load.failures for load in loads] == [Counter(), Counter()]

    found = judged(server)
    assert found.keys() == loads[0].answered | loads[1].answered, "none is lost, none is there that was not answered"
    assert {found[mid].outcome for mid in loads[0].answered} == {"accepted"}
    assert len({found[mid].journal for mid in loads[0].answered}) == 2, "both workers had requests"
    requests = [found[mid] for mid in loads[1].answered]
    before: set[str] = set()
    for (name, _, allowed), start, end in zip(PHASES, changes, [*changes[1:], ended], strict=True):
        early = {request.outcome for request in requests if start <= request.at < start + TAKEN_UP_SECONDS}
        assert early <= allowed | before or not before, name
        late = [request for request in requests if start + TAKEN_UP_SECONDS <= request.at < end]
        assert {request.outcome for request in late} == allowed, name
        workers = {request.journal for request in late if request.outcome != "accepted"}
        assert len(workers) == (0 if allowed == {"accepted"} else 2), name
        before = allowed
    assert "keep" not in server.log()


def renamed(file: Path) -> Callable[[str], None]:
    return lambda text: put(file, text)


def written_in_place(file: Path) -> Callable[[str], None]:
    return lambda text: [file.write_text(text)].clear()


def mounted_by_kubernetes(file: Path) -> Callable[[str], None]:
    """``keys.toml -> ..data/keys.toml``, ``..data -> ..<version>``, and the second link is put in place of the first."""
    file.symlink_to(Path("..data") / file.name)
    mount = file.parent

    def update(text: str) -> None:
        version = mount / f"..{time.time_ns()}"
        version.mkdir()
        (version / file.name).write_text(text)
        old = (mount / "..data").resolve()
        (mount / "..data_tmp").symlink_to(version.name)
        (mount / "..data_tmp").replace(mount / "..data")
        if old.name != "..data":
            shutil.rmtree(old)

    return update


def linked_from_elsewhere(file: Path) -> Callable[[str], None]:
    """Nothing happens in the file's own directory then."""
    (elsewhere := file.parent / "elsewhere").mkdir()
    file.symlink_to(elsewhere / file.name)
    return renamed(elsewhere / file.name)


def a_directory_anew(file: Path) -> Callable[[str], None]:
    def update(text: str) -> None:
        shutil.rmtree(file.parent, ignore_errors=True)
        file.parent.mkdir()
        file.write_text(text)

    return update


WAYS = [renamed, written_in_place, mounted_by_kubernetes, linked_from_elsewhere, a_directory_anew]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_ways_to_change_a_file(serve: Serve, tmp_path: Path, way: Callable[[Path], Callable[[str], None]]) -> None:
    (there := tmp_path / "keys").mkdir()
    update = way(there / "keys.toml")
    update(pipeline("dk_live_1"))
    settings = {"PIXELCORE_KEYS_FILE": str(there / "keys.toml"), "PIXELCORE_DEBUG_HEADER": "true"}
    server = serve(settings, workers=2)
    for number in (2, 3):
        update(pipeline(f"dk_live_{number}"))
        wait_for_outcome(server, f"dk_live_{number}", "accepted")
        assert outcome(server, f"dk_live_{number - 1}") == "unknown_key"


# What happens to the file, and what the log says of it, once.
BROKEN: list[tuple[str, str | bytes | None, str]] = [
    ("no TOML", "[[pipeline]]\nid = 'pip_1'\nkey = \n", "line 3: "),
    ("a key that is none", "\n[[pipeline]]\nid = 'pip_1'\nkey = 'dk_live_a!'\n", "line 4: key "),
    ("no text", b"#\n\xff\n", "line 2: is not UTF-8"),
    ("empty, as one that is being written", "", "line 1: no [[pipeline]]"),
    ("gone", None, "No such file or directory"),
]


def test_a_broken_file_keeps_the_keys(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    put(file, pipeline("dk_live_good"))
    server = serve({"PIXELCORE_KEYS_FILE": str(file), "PIXELCORE_DEBUG_HEADER": "true"}, workers=2)
    for name, content, said in BROKEN:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        deadline = time.monotonic() + TAKEN_UP_SECONDS
        while complaints(server, said) < 2:
            assert time.monotonic() < deadline, f"{name}: not in the log of both workers:\n{server.log()}"
            time.sleep(0.05)
        assert outcome(server, "dk_live_good") == "accepted", name
    time.sleep(1.5)
    assert [complaints(server, said) for _, _, said in BROKEN] == [2] * len(BROKEN), "once each"
    put(file, pipeline("dk_live_mended"))
    wait_for_outcome(server, "dk_live_mended", "accepted")
    assert outcome(server, "dk_live_good") == "unknown_key"


def complaints(server: Server, said: str) -> int:
    lines = [line for line in server.log().splitlines() if "PIXELCORE_KEYS_FILE: " in line and "ERROR" in line]
    return sum(said in line for line in lines)


def test_a_worker_that_comes_back_has_the_last_good_keys(serve: Serve, tmp_path: Path) -> None:
    """Also while the file is wrong, which ends only a server that begins."""
    file = tmp_path / "keys.toml"
    put(file, pipeline("dk_live_old"))
    server = serve({"PIXELCORE_KEYS_FILE": str(file), "PIXELCORE_DEBUG_HEADER": "true"}, workers=2)
    put(file, pipeline("dk_live_good"))
    wait_for_outcome(server, "dk_live_good", "accepted")
    file.unlink()
    wait_for(lambda: complaints(server, "No such file") == 2)
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: complaints(server, "No such file") == 3)
    wait_for_outcome(server, "dk_live_good", "accepted")
    assert outcome(server, "dk_live_old") == "unknown_key"
    (kept,) = (server.data_dir / "keys").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    put(file, pipeline("dk_live_mended"))
    wait_for_outcome(server, "dk_live_mended", "accepted")
    server.terminate()

    file.unlink()
    for command in ("pixelcore", "granian"):
        server.command = command
        with pytest.raises(RuntimeError, match=r"PIXELCORE_KEYS_FILE: .*: No such file"):
            server.start()
