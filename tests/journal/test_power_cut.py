"""Section 6 of the contract: the permitted losses of a power cut and of a failing device, checked with recorded flushes.

A power cut is a ``kill -9`` of everything, after which the journals lose what no flush had covered. The cut at every byte
of a journal is in ``rust/core/tests/power_cut.rs``.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, External, free_port
from tests.kafka.topics import read_committed
from tests.support.flushes import Flushes
from tests.support.journals import numbers
from tests.support.load import Load
from tests.support.servers import Serve, clean_environment, kafka_settings
from tests.support.waiting import stays, wait_for
from tests.support.wire import GOOD, ask, assert_pixel


@pytest.fixture
def flushes(tmp_path: Path) -> Flushes:
    """Of a data directory that is not made yet, nor the one that it is in."""
    return Flushes(tmp_path / "new" / "data", tmp_path / "flushes")


PRELUDE = """
import json, os, pathlib, sys
from pixelcore import Journal, JournalError
root, control = pathlib.Path(os.environ["FLUSHES_ROOT"], "events"), pathlib.Path(os.environ["FLUSHES_FAIL"])

def fail(failing):
    control.touch() if failing else control.unlink()

def line(number):
    return json.dumps({"n": number, "x": "x" * (number % 50)}).encode()

def flushed(journal):
    try:
        return journal.sync()
    except JournalError as error:
        return str(error)
"""


def run(flushes: Flushes, script: str) -> list[str]:
    """The output lines of a script, after the prelude."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        env=clean_environment(flushes.environment),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("segment_bytes", [200, 2**20])
def test_what_sync_says_is_flushed(flushes: Flushes, segment_bytes: int) -> None:
    """Every byte below the offset that `Journal.sync` returns, and every name on the way to it."""
    script = f"""
journal = Journal(root, segment_bytes={segment_bytes})
for number in range(40):
    journal.append(line(number))
    if number in (0, 1, 17, 18, 39):
        before = len(pathlib.Path(os.environ['FLUSHES_RECORD']).read_text())
        print(number, journal.sync() == journal.end)
        os._exit(0) if number == int(sys.argv[1]) else None
"""
    for last in (0, 1, 17, 39):
        fresh = Flushes(flushes.root.parent / str(last) / "data", flushes.root.parent.parent / f"flushes-{last}")
        printed = run(fresh, script.replace("int(sys.argv[1])", str(last)))
        assert printed[-1] == f"{last} True"
        assert numbers(fresh.survivors("events")) == list(range(last + 1))
        _, names = fresh.covered()
        assert {fresh.root, fresh.root.parent} <= names, "directories that were made for it, too"


def test_nothing_new_is_nothing_to_flush(flushes: Flushes) -> None:
    script = """
record = pathlib.Path(os.environ['FLUSHES_RECORD'])
journal = Journal(root)
journal.append(line(0))
journal.sync()
before = record.read_text()
journal.sync(); journal.sync()
print(record.read_text() == before)
journal.append(line(1))
journal.sync()
print(record.read_text() == before)
"""
    assert run(flushes, script) == ["True", "False"]


def test_a_segment_whose_flush_failed_is_left(flushes: Flushes) -> None:
    """The segment's next flush would succeed and prove nothing, as PostgreSQL found in 2018."""
    script = """
journal = Journal(root)
journal.append(line(0)); print(flushed(journal) == journal.end)
journal.append(line(1)); fail(True); print(flushed(journal))
fail(False); print(flushed(journal) == journal.end)
end = journal.end
journal.append(line(2)); print(flushed(journal) == journal.end)
print(sorted(path.stem for path in pathlib.Path(journal.path).glob('*.ndjson')) == [f"{0:020}", f"{end:020}"])
"""
    before, failed, nothing_new, after, segments = run(flushes, script)
    assert "Input/output error" in failed
    assert (before, nothing_new, after, segments) == ("True",) * 4
    assert numbers(flushes.survivors("events")) == [0, 2], "of the line between nothing is known"


def test_lines_that_came_while_a_flush_failed(flushes: Flushes) -> None:
    """They went to the same segment, so the flush that should have covered them also fails, with the reason."""
    script = """
import threading
journal = Journal(root)
journal.append(line(0)); journal.sync()
told = ""
while "whose flush has failed" not in told:
    fail(True)
    thread = threading.Thread(target=flushed, args=(journal,))
    journal.append(line(1))
    thread.start()
    while thread.is_alive():
        journal.append(line(1))
    fail(False)
    told = str(flushed(journal))  # no line came where the flush was faster
journal.append(line(2))
print(flushed(journal) == journal.end)
"""
    assert run(flushes, script) == ["True"]
    survivors = flushes.survivors("events")
    assert numbers(survivors)[0] == 0
    assert numbers(survivors)[-1] == 2
    sizes, _ = flushes.covered()
    assert sizes[min(sizes)] == len(survivors[0]) + 1, "the first segment was not flushed again"


def identified(lines: list[bytes]) -> set[str]:
    return {json.loads(line)["messageId"] for line in lines}


def shipped(data: Path, bootstrap: str, topic: str) -> Counter[str]:
    """How often a topic has each messageId, once no journal is left: a server without requests makes none."""
    wait_for(lambda: not list(data.glob("events/*-*")), 180)
    return Counter(message.mid for message in read_committed(bootstrap, topic))


@pytest.mark.kafka
@pytest.mark.parametrize("fsync", ["always", "200ms"])
def test_a_power_cut_under_load(
    fsync: str, serve: Serve, flushes: Flushes, broker: Broker | External, topic: str
) -> None:
    """Answered events are in the topic once, also those that were shipped before the power cut removed them from the disk."""
    seed = random.randrange(2**32) if not os.environ.get("CI") else 1
    chance = random.Random(seed)
    print(f"seed {seed}")
    settings = kafka_settings(broker.bootstrap, topic) | flushes.environment
    settings |= {"PIXELCORE_FSYNC": fsync, "PIXELCORE_DATA_DIR": str(flushes.root)}
    server = serve(settings | {"PIXELCORE_JOURNAL_SEGMENT_BYTES": "16KiB"})
    sent: set[str] = set()
    expected: set[str] = set()
    for _ in range(3):
        with Load(server.port, rate=2000, connections=20) as load:
            load.wait(chance.randint(100, 800))
            # The disk is what it is when the last process stops; what is answered until then counts.
            server.kill()
        sent |= load.sent
        expected |= identified(flushes.survivors("events"))
        if fsync == "always":
            expected |= load.answered
        assert load.answered, load.failures
        flushes.cut_power(chance)
        server.start()
    assert ask(server, "/readyz").status == 200
    found = shipped(flushes.root, broker.bootstrap, topic)
    assert not expected - found.keys(), "answered or flushed, and lost"
    assert not found.keys() - sent, "nobody sent it"
    assert not [mid for mid, count in found.items() if count > 1], "repeated"


def test_a_device_that_fails_for_a_while(serve: Serve, flushes: Flushes) -> None:
    """With ``always``, an unflushed request is not answered as accepted. It is counted as lost once, and /readyz says so."""
    settings = {"PIXELCORE_FSYNC": "always", "PIXELCORE_DEBUG_HEADER": "true", "PIXELCORE_DATA_DIR": str(flushes.root)}
    metrics = f"127.0.0.1:{free_port()}"
    server = serve(settings | flushes.environment | {"PIXELCORE_METRICS_ADDRESS": metrics})
    accepted: list[str] = []
    lost: list[str] = []

    def ask_once() -> None:
        mid = f"m{len(accepted) + len(lost)}"
        reply = ask(server, f"{GOOD}&mid={mid}")
        (accepted if reply.header("x-pixelcore") == "accepted" else lost).append(mid)

    for _ in range(20):
        ask_once()
    assert not lost
    flushes.fail()
    for _ in range(20):
        ask_once()
    assert len(lost) == 20
    assert ask(server, "/readyz").status == 503
    # Two rounds of the housekeeper.
    stays(lambda: ask(server, "/readyz").status == 503, 2.5, "nobody has seen the device work again")
    flushes.fail(False)
    wait_for(lambda: ask(server, "/readyz").status == 200, 60)
    for _ in range(20):
        ask_once()
    assert len(accepted) == 40
    assert set(accepted) <= identified(flushes.survivors("events"))
    with urllib.request.urlopen(f"http://{metrics}/metrics") as answer:
        counted = re.findall(r'_requests_total\{.*outcome="(\w+)".*\} ([\d.]+)', answer.read().decode())
    assert sorted((outcome, float(count)) for outcome, count in counted if float(count)) == [
        ("accepted", 40),
        ("lost", 20),
    ]
    assert server.log().count("events are being lost") == 1, "a flood of them is one line"


def test_an_interval_is_kept(serve: Serve, flushes: Flushes) -> None:
    """A flush in so many seconds and no more, since a device may be slow."""
    server = serve(flushes.environment | {"PIXELCORE_FSYNC": "6s", "PIXELCORE_DATA_DIR": str(flushes.root)})

    def wait_for_flush(number: int) -> float:
        """Returns the last moment at which it had not been yet, as far as is known."""
        before = time.monotonic()

        def has_been() -> bool:
            nonlocal before
            assert_pixel(ask(server, GOOD))
            now = time.monotonic()
            if flushes.count() >= number:
                return True
            before = now
            return False

        wait_for(has_been, 60, "nothing is flushed")
        return before

    before_first = wait_for_flush(1)
    wait_for_flush(2)
    assert time.monotonic() - before_first > 3, "not every second"

    server.restart(PIXELCORE_FSYNC="60s")
    before = set(flushes.root.glob("events/*/*.ndjson"))
    assert_pixel(ask(server, GOOD))
    (segment,) = set(flushes.root.glob("events/*/*.ndjson")) - before
    segment.unlink()
    wait_for(segment.exists)  # what else a worker looks after does not wait for a flush
