"""Section 5 of the contract: a rejected request can be replayed, and never becomes two events."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pixelcore
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pixelcore import _core
from pixelcore.commands import replay
from pixelcore.commands.main import main

from tests.kafka.broker import Broker, External
from tests.kafka.topics import read_committed
from tests.support.commands import replayed, run
from tests.support.delivery import ship
from tests.support.journals import segments
from tests.support.servers import Serve, clean_environment, journal_lines, kafka_settings

DEEP = "p." + ".".join(["a"] * 33)
RAISED = ("--max-depth", "40")


def record(number: int, *, reason: str = "too_deep", query: str = DEEP, context: dict[str, Any] | None = None) -> bytes:
    """The record of a rejection that was received at its number's second of 2025, and names it as its messageId."""
    received_at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1735689600 + number))
    members = {"reason": reason, "type": "page", "query": f"wk=k&mid=m{number}&{query}", "receivedAt": received_at}
    return json.dumps({**members, "context": context or {}}).encode()


def fill(data_dir: Path, *lines: bytes) -> pixelcore.Journal:
    """A journal of rejections; its writer lives until it is closed."""
    journal = pixelcore.Journal(data_dir / "rejections", segment_bytes=1 << 20)
    for line in lines:
        journal.append(line)
    return journal


def events(data_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_lines(data_dir / "events")]


def mids(data_dir: Path) -> list[str]:
    return [event["messageId"] for event in events(data_dir)]


def files(data_dir: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


def test_raised_limits(serve: Serve) -> None:
    """From a real request to the event that it would have been."""
    server = serve({"PIXELCORE_MAX_QUERY_BYTES": "100", "PIXELCORE_MAX_PARAMETERS": "5", "PIXELCORE_MAX_DEPTH": "2"})
    headers = {
        "User-Agent": "Mozilla/5.0",
        "Referer": "https://example.com/",
        "Accept-Language": "de-CH, en",
        "DNT": "1",
        "Sec-Purpose": "prefetch;prerender",
    }
    for query in ("mid=long&p.x=" + "x" * 200, "mid=many&a&b&c&d", "mid=deep&p.a.b.c=1&ts=1", "mid=none&wk="):
        key = "" if "none" in query else "wk=dk_test_1&"
        assert server.get(f"/v1/pixel/page?{key}{query}", headers).is_pixel
    before = [record["receivedAt"] for record in server.rejections()]
    assert len(before) == 4
    rows = replayed(server.data_dir)
    assert rows == [
        ["missing_key", "1", "0"],
        ["query_too_long", "0", "1"],
        ["too_deep", "0", "1"],
        ["too_many_parameters", "0", "1"],
        ["total", "1", "3"],
    ]
    found = {event["messageId"]: event for event in server.events()}
    assert [event["receivedAt"] for event in found.values()] == before[:3]
    deep = found["deep"]
    assert deep["timestamp"] == deep["receivedAt"]
    assert deep["properties"] == {"a": {"b": {"c": "1"}}}
    assert deep["context"] == {
        "ip": "127.0.0.1",
        "userAgent": "Mozilla/5.0",
        "locale": "de-CH",
        "page": {"url": "https://example.com/"},
        "consent": {"dnt": True},
        "client": {"name": "prefetch", "automated": True},
        "repaired": {"ts": "1"},
        "library": {"name": "pixelcore", "version": pixelcore.__version__},
    }
    assert [record["receivedAt"] for record in server.rejections()] == before, "the records stay"
    # The writer lives: what comes later is found the next time, and only that.
    assert server.get("/v1/pixel/page?wk=dk_test_1&mid=later&p.a.b.c=1").is_pixel
    assert replayed(server.data_dir)[-1] == ["total", "1", "1"]
    assert sorted(event["messageId"] for event in server.events()) == ["deep", "later", "long", "many"]


@pytest.mark.kafka
def test_replayed_events_are_shipped(serve: Serve, broker: Broker | External, topic: str) -> None:
    server = serve({"PIXELCORE_MAX_DEPTH": "1", **kafka_settings(broker.bootstrap, topic)})
    for number in range(50):
        assert server.get(f"/v1/pixel/page?wk=k&p.a.b=1&uid=u&mid=m{number}").is_pixel
    for expected in ("50", "0"):
        assert replayed(server.data_dir)[-1] == ["total", "0", expected]
    messages = read_committed(broker.bootstrap, topic, expect=50)
    assert server.terminate() == 0
    ship(server.data_dir, kafka_settings(broker.bootstrap, topic))
    messages = read_committed(broker.bootstrap, topic)
    assert Counter(message.mid for message in messages) == Counter(f"m{number}" for number in range(50))
    assert {message.key for message in messages} == {b"u"}
    # Shipping and deleting events does not restart the replay.
    assert server.events() == []
    assert replayed(server.data_dir)[-1] == ["total", "0", "0"]
    assert server.events() == []


CHOICES: list[tuple[str, list[str], list[int]]] = [
    ("all", [], [1, 2, 3, 4]),
    ("one reason", ["--reason", "too_deep"], [1, 3]),
    ("two reasons", ["--reason", "too_deep", "--reason", "query_too_long"], [1, 2, 3, 4]),
    ("another reason", ["--reason", "missing_key"], []),
    ("since", ["--since", "2025-01-01T00:00:03Z"], [3, 4]),
    ("until", ["--until", "2025-01-01T00:00:03.000Z"], [1, 2]),
    ("between", ["--since", "2025-01-01T00:00:02", "--until", "2025-01-01T00:00:03.001"], [2, 3]),
    ("another zone", ["--since", "2025-01-01T02:00:03+02:00"], [3, 4]),
    ("a day", ["--since", "2025-01-02"], []),
]


@pytest.mark.parametrize(("arguments", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CHOICES])
def test_a_choice_leaves_the_rest_for_later(tmp_path: Path, arguments: list[str], expected: list[int]) -> None:
    fill(tmp_path, *(record(n, reason="too_deep" if n % 2 else "query_too_long") for n in range(1, 5))).close()
    replayed(tmp_path, *RAISED, *arguments)
    assert mids(tmp_path) == [f"m{number}" for number in expected]
    replayed(tmp_path, *RAISED)
    assert sorted(mids(tmp_path)) == ["m1", "m2", "m3", "m4"]


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    with fill(tmp_path, record(1), record(2), record(3, query="p.a")):
        before = files(tmp_path)
        assert replayed(tmp_path, "--dry-run", "--max-depth", "1") == [["too_deep", "2", "1"], ["total", "2", "1"]]
        assert files(tmp_path) == before
    replayed(tmp_path, *RAISED, "--reason", "too_deep", "--until", "2025-01-01T00:00:02Z")
    assert replayed(tmp_path, "--dry-run", *RAISED)[-1] == ["total", "0", "2"], "m1 is no longer counted"


def test_nothing_to_replay(tmp_path: Path) -> None:
    data_dir = tmp_path / "pixelcore-data"
    (data_dir / "rejections").mkdir(parents=True)
    ended = run("replay", cwd=tmp_path)
    assert ended.returncode == 3
    assert ended.stderr == "nothing to replay in pixelcore-data: no such rejection is left\n"
    assert ended.stdout.split() == ["reason", "still", "rejected", "accepted", "total", "0", "0"]
    assert run("replay", "--dry-run", cwd=tmp_path).returncode == 3


def test_records_that_are_none(tmp_path: Path) -> None:
    journal = fill(tmp_path, b'{"reason":"too_deep"}', b"{}", b"torn", record(1), record(2), b'{"receivedAt":1}')
    journal.close()
    ended = run("replay", *RAISED, "--data-dir", str(tmp_path), cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stderr.endswith("; 3 records could not be read\n")
    assert mids(tmp_path) == ["m1", "m2"]
    # Damage moves no offsets: what was replayed is known where it lies.
    assert replayed(tmp_path, *RAISED)[-1] == ["total", "0", "0"]


def test_a_budget_without_room(tmp_path: Path) -> None:
    fill(tmp_path, *(record(n, query=f"{DEEP}={'x' * 3000}") for n in range(400))).close()
    ended = run("replay", *RAISED, "--data-dir", ".", "--journal-max-bytes", "1MiB", cwd=tmp_path)
    assert ended.returncode == 1
    (complaint,) = ended.stderr.splitlines()
    assert "are used" in complaint
    assert (mids(tmp_path), journal_lines(tmp_path / "replay")) == ([], [])
    assert replayed(tmp_path, *RAISED)[-1] == ["total", "0", "400"]
    assert len(mids(tmp_path)) == 400


def test_the_note_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash before the note means that there was no replay."""
    fill(tmp_path, *map(record, range(100))).close()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(replay, "replace", full)
        ended = CliRunner().invoke(main, ["replay", "--data-dir", str(tmp_path), *RAISED])
    assert (ended.exit_code, ended.stderr) == (1, "Error: No space left on device\n")
    assert (mids(tmp_path), journal_lines(tmp_path / "replay")) == ([], [])
    assert replayed(tmp_path, *RAISED)[-1] == ["total", "0", "100"]
    assert len(mids(tmp_path)) == 100


def test_a_crash_behind_the_note(tmp_path: Path) -> None:
    """A crash after the note means that there was a replay, whose journal must still be moved."""
    fill(tmp_path, *map(record, range(100))).close()
    replayed(tmp_path, *RAISED)
    (journal,) = (tmp_path / "events").iterdir()
    journal.rename(tmp_path / "replay" / journal.name)
    assert mids(tmp_path) == []
    assert replayed(tmp_path, *RAISED)[-1] == ["total", "0", "0"]
    assert mids(tmp_path) == [f"m{number}" for number in range(100)]


# The command kills itself as it comes to a record.
CUT_OFF = """
import itertools, os, signal, sys
from pixelcore.commands import replay
from pixelcore.commands.main import main
left = itertools.count(int(sys.argv.pop(1)), -1)
records = replay._records
def until_killed(journal):
    for record in records(journal):
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        yield record
replay._records = until_killed
main(prog_name="pixelcore")
"""


def test_replay_is_killed_again_and_again(tmp_path: Path) -> None:
    count = 15_000
    for part in range(3):
        fill(tmp_path, *map(record, range(part * count // 3, (part + 1) * count // 3))).close()
    for written in (1, 300, 6_000, 14_999):
        process = subprocess.run(
            [sys.executable, "-c", CUT_OFF, str(written), "replay", "--data-dir", str(tmp_path), *RAISED],
            env=clean_environment({}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert process.returncode == -signal.SIGKILL
        # What the one before left is deleted first.
        assert len(journal_lines(tmp_path / "replay")) == written, "it was cut off in the middle"
        assert mids(tmp_path) == []
    replayed(tmp_path, *RAISED)
    assert Counter(mids(tmp_path)) == Counter(f"m{number}" for number in range(count))
    assert journal_lines(tmp_path / "replay") == []


def test_one_at_a_time(tmp_path: Path) -> None:
    fill(tmp_path, record(1)).close()
    (tmp_path / "replay").mkdir()
    with (tmp_path / "replay" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run("replay", *RAISED, "--data-dir", ".", cwd=tmp_path)
    assert ended.returncode == 1
    assert "another replay is running" in ended.stderr
    assert mids(tmp_path) == []


def test_dropped_journals_are_forgotten(tmp_path: Path) -> None:
    gone, kept = fill(tmp_path, record(1)), fill(tmp_path, record(2))
    replayed(tmp_path, *RAISED)
    for journal in (gone, kept):
        journal.close()
    pixelcore.JournalReader(gone.path).delete_journal()
    fill(tmp_path, record(3), record(4), record(5, query=f"{DEEP}.a.a.a.a.a.a.a.a")).close()
    replayed(tmp_path, *RAISED)
    note = json.loads((tmp_path / "replay" / "replayed.json").read_text())
    assert gone.id not in note["ranges"]
    assert [len(ranges) for ranges in note["ranges"].values()] == [1, 1], "neighbours are one range"
    assert sorted(mids(tmp_path)) == ["m1", "m2", "m3", "m4"]


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), min_size=40, max_size=40))
def test_ranges_are_what_they_cover(first: list[bool], second: list[bool]) -> None:
    """Records of 10 bytes, some replayed in a first and some in a second run."""
    ranges: replay.Ranges = []
    for run_of in (first, second):
        new = [
            (i * 10, i * 10 + 10) for i, chosen in enumerate(run_of) if chosen and not replay._covers(ranges, i * 10)
        ]
        ranges = replay._merged(ranges + new)
    flags = [a or b for a, b in zip(first + [False] * (40 - len(first)), second, strict=True)]
    assert [replay._covers(ranges, i * 10) for i in range(41)] == [*flags, False]
    assert len(ranges) == len(re.findall("1+", "".join("01"[flag] for flag in flags)))


KEYS = """
[[pipeline]]
id = "pip_1"
key = "dk_live_open"

[[pipeline]]
id = "pip_2"
key = "dk_live_closed"
enabled = false

[[pipeline]]
id = "pip_3"
key = "dk_live_ours"
domain_allowlist = ["example.com"]
rate_limit_rps = 1
"""
OURS = {"page": {"url": "https://shop.example.com/"}}


@pytest.mark.parametrize(
    ("name", "reason", "wk", "context", "expected"),
    [
        ("a key that is known now", "unknown_key", "dk_live_open", {}, "pip_1"),
        ("still unknown", "unknown_key", "dk_live_new", {}, "unknown_key"),
        ("still disabled", "disabled_key", "dk_live_closed", {}, "disabled_key"),
        ("the page is allowed now", "domain_not_allowed", "dk_live_ours", OURS, "pip_3"),
        ("an Origin that was not kept", "domain_not_allowed", "dk_live_ours", {}, "domain_not_allowed"),
        ("an Origin that does not matter any more", "domain_not_allowed", "dk_live_open", {}, "pip_1"),
        ("a mail", "unknown_key", "dk_live_ours", {}, "pip_3"),
        ("too fast then", "rate_limited", "dk_live_ours", OURS, "pip_3"),
    ],
)
def test_keys(name: str, reason: str, wk: str, context: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pixelcore.Journal(tmp_path) as journal:
        judge = _core.Collector(journal, journal)
        judge.set_keys(KEYS)
        line = record(1, reason=reason, query="", context=context).replace(b"wk=k", b"wk=" + wk.encode())
        for _ in range(3):  # no rate limit applies
            if expected.startswith("pip_"):
                assert json.loads(judge.replay(line))["pipelineId"] == expected, name
            else:
                with pytest.raises(pixelcore.Rejected, match=f"^{expected}$"):
                    judge.replay(line)


def test_the_function(tmp_path: Path) -> None:
    line = record(1, context={"ip": "203.0.113.7", "page": {"url": "https://example.com/"}, "consent": {"gpc": True}})
    with pixelcore.Journal(tmp_path) as journal:
        with pytest.raises(pixelcore.Rejected, match=r"^too_deep$"):
            _core.Collector(journal, journal).replay(line)
        event = json.loads(_core.Collector(journal, journal, max_depth=33, ip="truncated").replay(line))
        assert event["context"]["consent"] == {"gpc": True}
        assert event["context"]["ip"] == "203.0.113.0"
        assert event["receivedAt"] == "2025-01-01T00:00:01.000Z"
        private = json.loads(_core.Collector(journal, journal, max_depth=33, respect_gpc=True).replay(line))
        assert "ip" not in private["context"]
        with pytest.raises(ValueError, match="missing field"):
            _core.Collector(journal, journal).replay(b"{}")


def test_who_withdrew_meanwhile_has_no_event(tmp_path: Path) -> None:
    """A record from a time when the whole event could be kept, judged when it may not be kept."""
    keys = tmp_path / "keys.toml"
    keys.write_text("[[pipeline]]\nid = 'pip_a'\nwrite_key = 'k'\nmax = 'deliverability'\n")
    line = record(1, context={})
    fill(tmp_path, line)
    with pixelcore.Journal(tmp_path / "unused") as journal:
        judge = _core.Collector(journal, journal, max_depth=33)
        assert judge.replay(line) != b""
        judge.set_keys(keys.read_text())
        assert judge.replay(line) == b""
    ended = run("replay", "--keys-file", str(keys), "--max-depth", "33", "--data-dir", str(tmp_path), cwd=tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    assert journal_lines(tmp_path / "events") == [], "and it stays a rejection"


def test_records_have_offsets(tmp_path: Path) -> None:
    with fill(tmp_path, record(1), b"damage", *map(record, range(2, 100))) as journal:
        whole = b"".join(path.read_bytes() for path in segments(journal))
        found = pixelcore.JournalReader(journal.path).records(1000, 1 << 20)
    assert len(found) == 99
    for offset, line in found:
        assert whole[offset : offset + len(line) + 1] == line + b"\n"
