"""Section 5 of the contract: a key file that changes under running workers."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.key_files import BROKEN, Judged, judged, outcome, pipeline, put
from tests.support.load import Load
from tests.support.servers import Serve, Server
from tests.support.waiting import stays, wait_for

TAKEN_UP_SECONDS = 20.0
"""Ten times what the contract gives, because a machine may be busy."""


def wait_for_outcome(server: Server, key: str, expected: str) -> None:
    """In all workers; 20 connections reach both of two but once in 500,000."""
    everywhere = {expected}
    wait_for(
        lambda: {outcome(server, key) for _ in range(20)} == everywhere,
        TAKEN_UP_SECONDS,
        f"{key} is not {expected} everywhere in time",
    )


STEADY, CHANGING = "dk_live_steady", "dk_live_changing"
# What the file says of the key, the outcome that shows it, and what its requests become beside that.
PHASES: list[tuple[str, str, str, set[str]]] = [
    ("not there yet", "", "unknown_key", set()),
    ("added", pipeline(CHANGING), "accepted", set()),
    ("disabled", pipeline(CHANGING, enabled=False), "disabled_key", set()),
    ("enabled", pipeline(CHANGING, enabled=True), "accepted", set()),
    ("limited", pipeline(CHANGING, rate_limit_rps=20), "rate_limited", {"accepted"}),
    ("removed", "", "unknown_key", set()),
]


def test_changes_under_load(serve: Serve, tmp_path: Path) -> None:
    """Each worker applies a change of the file soon, and from then on."""
    file = tmp_path / "keys.toml"
    steady = pipeline(STEADY, rate_limit_rps=100_000)
    put(file, steady + PHASES[0][1])
    server = serve({"PIXELCORE_KEYS_FILE": str(file)}, workers=2)
    changes: list[float] = []

    def judged_since(start: float, end: float = math.inf) -> list[Judged]:
        """The outcomes of the requests with the changing key."""
        return sorted(
            found for mid, found in judged(server).items() if mid in loads[1].sent and start <= found.at < end
        )

    def has_settled(mark: str) -> bool:
        """Whether both workers, each with a journal of either kind, have often judged by the current file."""
        journals = Counter(request.journal for request in judged_since(changes[-1]) if request.outcome == mark)
        return len(journals) == 2 and min(journals.values()) > 20

    loads = [Load(server.port, rate=300, connections=24, key=key) for key in (STEADY, CHANGING)]
    with loads[0], loads[1]:
        for name, text, mark, _ in PHASES:
            changes.append(math.floor(time.time() * 1000) / 1000)  # times of receipt are in milliseconds
            put(file, steady + text)
            wait_for(partial(has_settled, mark), 60, name)
    assert [load.failures for load in loads] == [Counter(), Counter()]

    found = judged(server)
    assert found.keys() == loads[0].answered | loads[1].answered, "none is lost, none is there that was not answered"
    assert {found[mid].outcome for mid in loads[0].answered} == {"accepted"}
    assert len({found[mid].journal for mid in loads[0].answered}) == 2, "both workers had requests"
    before: set[str] = set()
    for (name, _, mark, beside), start, end in zip(PHASES, changes, [*changes[1:], math.inf], strict=True):
        requests = judged_since(start, end)
        first: dict[str, float] = {}
        for request in requests:
            if request.outcome == mark:
                first.setdefault(request.journal, request.at)
        taken_up = max(first.values())
        assert len(first) == 2, name
        assert taken_up - start < TAKEN_UP_SECONDS, name
        allowed = {mark} | beside
        assert {request.outcome for request in requests} <= allowed | before, name
        assert {request.outcome for request in requests if request.at > taken_up} <= allowed, name
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


def test_a_broken_file_keeps_the_keys(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    put(file, pipeline("dk_live_good"))
    server = serve({"PIXELCORE_KEYS_FILE": str(file), "PIXELCORE_DEBUG_HEADER": "true"}, workers=2)
    for name, content, said in BROKEN:
        if content is None:
            file.unlink()
        else:
            put(file, content)
        both = f"{name}: not in the log of both workers"
        wait_for(lambda: complaints(server, said) == 2, TAKEN_UP_SECONDS, both)  # noqa: B023
        assert outcome(server, "dk_live_good") == "accepted", name
    stays(lambda: [complaints(server, said) for _, _, said in BROKEN] == [2] * len(BROKEN), 1.5, "once each")
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
