"""The consent list on the disk: its answers in any order of records, after crashes, and for damaged files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pixelcore._core import Ceilings, CeilingsWriter, consent_keys

from tests.support.consents import OTHER, SCOPE, SECRET, Record, key_of, listed, now_ms, record, value_of
from tests.support.paths import ROOT

MODES = ("individual", "deliverability", "aggregate", "none")
NOON = 1_796_040_000_000


def meet(one: str, other: str) -> str:
    """The most that both allow, as a table says it."""
    return (
        one
        if one == other
        else {frozenset(("individual", mode)): mode for mode in MODES}.get(frozenset((one, other)), "none")
    )


RECORDS = st.lists(
    st.tuples(st.sampled_from([f"user_{number}" for number in range(12)]), st.sampled_from(MODES), st.integers(0, 6)),
    max_size=60,
)


@hypothesis_settings(max_examples=200)
@given(records=RECORDS, order=st.randoms(use_true_random=False), split=st.integers(1, 20))
def test_the_newest_record_wins_in_whatever_order(
    records: list[tuple[str, str, int]], order: random.Random, split: int
) -> None:
    oracle: dict[str, tuple[str, int]] = {}
    for person, mode, at in records:
        known = oracle.get(person)
        if known is None or at > known[1]:
            oracle[person] = mode, at
        elif at == known[1]:
            oracle[person] = meet(known[0], mode), at
    shuffled = [record(person, mode, NOON + at) for person, mode, at in records]
    order.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as directory:
        writer = CeilingsWriter(directory)
        for begin in range(0, len(shuffled), split):
            writer.apply(shuffled[begin : begin + split])
        known_list = Ceilings(directory, SECRET)
        for number in range(12):
            person = f"user_{number}"
            found = oracle.get(person)
            expected = ("of", found[0], NOON + found[1]) if found is not None else ("unknown", None, None)
            assert known_list.ceiling(SCOPE, "uid", person.encode()) == expected, person
        assert known_list.count == len(oracle) + bool(oracle)


def test_a_list_grows_while_it_is_looked_at(tmp_path: Path) -> None:
    """Each growth replaces the file, and readers open the new one by themselves."""
    writer = listed(tmp_path, [])
    looking = Ceilings(tmp_path, SECRET)
    sizes = set()
    for begin in range(0, 60_000, 1000):
        persons = [f"user_{number}" for number in range(begin, begin + 1000)]
        keys = consent_keys(SECRET, SCOPE, "uid", [person.encode() for person in persons])
        writer.apply([(key, value_of("none", NOON + begin), NOON) for key in keys])
        sizes.add((tmp_path / "ceilings").stat().st_size)
        for person in (persons[0], persons[-1], "user_0"):
            assert looking.ceiling(SCOPE, "uid", person.encode())[0] == "of", person
        assert looking.ceiling(SCOPE, "uid", b"nobody")[0] == "unknown"
    assert len(sizes) > 4
    assert looking.count == 60_001
    assert (tmp_path / "ceilings").stat().st_size < 65_536 + 60_001 * 30
    assert {path.name for path in tmp_path.iterdir()} == {"ceilings", "lock"}
    assert stat.S_IMODE((tmp_path / "ceilings").stat().st_mode) == 0o600


WRITES = """
import sys
from pixelcore._core import CeilingsWriter, consent_keys
directory, secret, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
writer = CeilingsWriter(directory)
for begin in range(first, first + 400_000, 500):
    ids = [b"user_%d" % number for number in range(begin, begin + 500)]
    value = b'{"scope":"pip_news","mode":"none","time":%d}' % (1_796_040_000_000 + begin)
    writer.apply([(key, value, None) for key in consent_keys(secret, "pip_news", "uid", ids)])
    writer.sync([(0, begin + 500)])
    print(begin + 500, flush=True)
"""


def test_kill_9_leaves_each_record_as_it_was_or_as_it_is(tmp_path: Path) -> None:
    """A writer is killed repeatedly, also while it replaces the file by a larger one. All acknowledged records are there."""
    listed(tmp_path, [])
    looking = Ceilings(tmp_path, SECRET)
    chance, end, sizes, kills = random.Random(7), 0, set[int](), 0
    while kills < 25 or len(sizes) <= 3:  # several growths
        kills += 1
        arguments = [sys.executable, "-c", WRITES, str(tmp_path), SECRET, str(end)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
            assert writer.stdout is not None
            line = writer.stdout.readline()
            time.sleep(chance.uniform(0, 0.15))
            os.kill(writer.pid, signal.SIGKILL)
            end = int([line, *writer.stdout.read().splitlines()][-1] or line)
        looking.refresh()
        again = Ceilings(tmp_path, SECRET)
        for number in {0, end // 2, end - 1, *(chance.randrange(end) for _ in range(200))}:
            expected = ("of", "none", NOON + number // 500 * 500)
            person = f"user_{number}".encode()
            assert looking.ceiling(SCOPE, "uid", person) == again.ceiling(SCOPE, "uid", person) == expected, number
        assert end < again.count <= end + 502
        assert CeilingsWriter(tmp_path).offsets(0)[:1] in ([end], [end + 500])
        sizes.add((tmp_path / "ceilings").stat().st_size)


DAMAGED = [
    # name, what becomes of the file
    ("cut off", lambda data: data[:-16]),
    ("longer", lambda data: data + bytes(16)),
    ("its head alone", lambda data: data[:4096]),
    ("empty", lambda data: data[:0]),
    ("another file", lambda data: b"{}" + data[2:]),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGED, ids=[row[0] for row in DAMAGED])
def test_what_is_no_list_says_nothing_and_is_replaced(tmp_path: Path, name: str, damage: object) -> None:
    listed(tmp_path, [record("user_1", "individual", NOON)]).sync([(0, 7)])
    whole = (tmp_path / "ceilings").read_bytes()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "ceilings").write_bytes(damage(whole))  # type: ignore[operator]
    assert Ceilings(copy, SECRET).ceiling(SCOPE, "uid", b"user_1")[0] == "unknown", name
    writer = CeilingsWriter(copy)
    assert writer.damaged
    assert not CeilingsWriter(tmp_path).damaged
    assert writer.offsets(0) == []


def test_a_copy_of_a_list_is_a_list(tmp_path: Path) -> None:
    listed(tmp_path / "a", [record("user_1", "individual", NOON)]).sync([(0, 7), (2, 9)])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert Ceilings(tmp_path / "b", SECRET).ceiling(SCOPE, "uid", b"user_1") == ("of", "individual", NOON)
    assert CeilingsWriter(tmp_path / "b").offsets(0) == [7, 0, 9]


def test_offsets_are_of_one_topic(tmp_path: Path) -> None:
    writer = listed(tmp_path, [record("user_1", "none", NOON)])
    writer.begin(1 << 100 | 5)
    writer.sync([(0, 7)])
    writer.heard(NOON)
    assert writer.offsets(1 << 100 | 5) == [7]
    assert writer.offsets(5) == []
    writer.begin(5)
    assert writer.offsets(5) == []
    known = Ceilings(tmp_path, SECRET)
    assert known.heard == 0, "the list of another topic is not whole"
    assert known.ceiling(SCOPE, "uid", b"user_1")[0] == "of"


# name, records, secrets, of whom, what the list says
K1, K2 = SECRET, OTHER
READ: list[tuple[str, list[Record], str, str, str]] = [
    ("nobody", [], K1, SCOPE, "unknown"),
    ("another scope", [record("u", "none", NOON, scope="other")], K1, SCOPE, "unknown"),
    ("a key that is not here", [record("x", "none", NOON, K2)], K1, SCOPE, "unreadable"),
    ("beside one that is", [record("u", "individual", NOON), record("x", "none", NOON, K2)], K1, SCOPE, "unreadable"),
    (
        "in another scope",
        [record("u", "individual", NOON), record("x", "none", NOON, K2, "other")],
        K1,
        SCOPE,
        "individual",
    ),
    (
        "once it is here",
        [record("u", "individual", NOON), record("x", "none", NOON, K2)],
        f"{K1},{K2}",
        SCOPE,
        "individual",
    ),
    (
        "the newer of two keys",
        [record("u", "individual", NOON), record("u", "none", NOON + 1, K2)],
        f"{K2},{K1}",
        SCOPE,
        "none",
    ),
    (
        "the newer is older",
        [record("u", "individual", NOON + 2), record("u", "none", NOON, K2)],
        f"{K2},{K1}",
        SCOPE,
        "individual",
    ),
    ("the old key is gone", [record("u", "none", NOON)], K2, SCOPE, "unreadable"),
    ("a tombstone", [record("u", "individual", NOON), (key_of("u"), None, NOON + 1)], K1, SCOPE, "none"),
    ("a tombstone before", [(key_of("u"), None, NOON - 1), record("u", "individual", NOON)], K1, SCOPE, "individual"),
]


@pytest.mark.parametrize(("name", "records", "secrets", "scope", "expected"), READ, ids=[row[0] for row in READ])
def test_keys(tmp_path: Path, name: str, records: list[Record], secrets: str, scope: str, expected: str) -> None:
    listed(tmp_path, records)
    state, mode, _ = Ceilings(tmp_path, secrets).ceiling(scope, "uid", b"u")
    assert (mode or state) == expected, name


def test_more_keys_than_there_is_room_for_hide_no_record(tmp_path: Path) -> None:
    """Beyond 63 key ids, all further ones count as one, for which there is no secret."""
    many = [record("x", "none", NOON, f"key{number}:{SECRET[3:]}", f"scope_{number}") for number in range(100)]
    listed(tmp_path, many)
    known = Ceilings(tmp_path, SECRET)
    assert len(known.key_ids) == 64
    assert {known.ceiling(f"scope_{number}", "uid", b"u")[0] for number in range(100)} == {"unreadable"}
    assert known.ceiling("scope_100", "uid", b"u")[0] == "unknown"


def test_a_key_id_that_comes_later_is_noticed_at_once(tmp_path: Path) -> None:
    writer = listed(tmp_path, [record("u", "individual", NOON)])
    known = Ceilings(tmp_path, SECRET)
    assert known.ceiling(SCOPE, "uid", b"u") == ("of", "individual", NOON)
    assert writer.apply([record("x", "none", NOON, OTHER)])[2] == [("k2", SCOPE)]
    assert known.ceiling(SCOPE, "uid", b"u") == ("unreadable", None, None)


def test_a_list_that_is_too_old_restricts_and_allows_nothing(tmp_path: Path) -> None:
    writer = listed(tmp_path, [record("yes", "individual", NOON), record("no", "none", NOON)])
    known, patient = (Ceilings(tmp_path, SECRET, timedelta(seconds=seconds)) for seconds in (60, 10**9))

    def states(which: Ceilings) -> list[str]:
        return [which.ceiling(SCOPE, "uid", person)[0] for person in (b"yes", b"no", b"nobody")]

    assert states(known) == ["stale", "stale", "unknown"], "never read to its end"
    writer.begin(1)
    writer.heard(now_ms())
    assert states(known) == ["of", "of", "unknown"]
    writer.heard(now_ms() - 61_000)
    assert states(known) == ["stale", "stale", "unknown"]
    assert states(patient) == ["of", "of", "unknown"]
    assert states(Ceilings(tmp_path, SECRET)) == ["of", "of", "unknown"], "without a topic a list is never old"


def test_a_file_that_was_replaced_without_a_word_is_taken_up(tmp_path: Path) -> None:
    """Like after a writer was killed between the rename and its announcement, or after a backup was restored."""
    listed(tmp_path / "a", [record("u", "individual", NOON)])
    listed(tmp_path / "b", [record("u", "none", NOON + 1)])
    known = Ceilings(tmp_path / "a", SECRET)
    (tmp_path / "b" / "ceilings").replace(tmp_path / "a" / "ceilings")
    assert known.ceiling(SCOPE, "uid", b"u")[1] == "individual"
    known.refresh()
    assert known.ceiling(SCOPE, "uid", b"u")[1] == "none"


def test_writers_take_turns(tmp_path: Path) -> None:
    """Two processes write at the same time, through several growths, and neither undoes the other's changes."""
    listed(tmp_path, [])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITES.replace("+ 400_000", "+ 20_000"), str(tmp_path), SECRET, str(first)],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
        for first in (0, 1_000_000)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    known = Ceilings(tmp_path, SECRET)
    for number in (*range(0, 20_000, 97), *range(1_000_000, 1_020_000, 97)):
        assert known.ceiling(SCOPE, "uid", f"user_{number}".encode())[1] == "none", number
    assert known.count == 40_001
    assert not (tmp_path / "ceilings.new").exists()
