"""Section 6 of the contract: the owner of a data directory that is copied, restored, or used by two gateways."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pixelcore
import pytest

from tests.kafka.broker import Broker, External, free_port
from tests.support.delivery import arrived, check, finish
from tests.support.journals import segments
from tests.support.load import Load
from tests.support.servers import Command, Serve, Server, clean_environment, forward, kafka_settings
from tests.support.waiting import wait_for

LOCK = "gateway.lock"


def second(data_dir: Path, command: Command) -> tuple[int, list[str]]:
    """Start another gateway on a directory that has one; its exit code and the lines that speak of the directory."""
    where = {
        "pixelcore": ["pixelcore", "serve", "--bind", f"127.0.0.1:{free_port()}"],
        "granian": ["granian", "pixelcore.app:app", "--port", str(free_port())],
    }
    ended = subprocess.run(
        [sys.executable, "-m", *where[command]],
        env=clean_environment({"PIXELCORE_DATA_DIR": str(data_dir)}),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert "Traceback" not in ended.stdout + ended.stderr
    if command == "pixelcore":
        return ended.returncode, ended.stderr.splitlines()
    return ended.returncode, [line for line in ended.stderr.splitlines() if "PIXELCORE" in line]


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
def test_a_second_gateway_on_one_directory_refuses(serve: Serve, token: str, command: Command) -> None:
    server = serve(workers=2, command="granian" if command == "pixelcore" else "pixelcore")
    code, lines = second(server.data_dir, command)
    assert code != 0
    (line,) = lines
    assert "PIXELCORE_DATA_DIR" in line
    assert server.process is not None
    assert f"process {server.process.pid} " in line, "who has it"
    assert server.get(f"/v1/pixel/track?wk=dk_1&e=E&mid={token}").is_pixel, "the first is none the worse for it"
    assert [event["messageId"] for event in server.events()] == [token]
    # What runs beside a gateway by right is not kept from it.
    for beside, expected in (("tail", 0), ("replay", 3)):  # there is an event, and no rejection
        environment = clean_environment({"PIXELCORE_DATA_DIR": str(server.data_dir)})
        ended = subprocess.run([sys.executable, "-m", "pixelcore", beside], env=environment, check=False, timeout=150)
        assert ended.returncode == expected


def test_workers_of_one_gateway_share_it(serve: Serve) -> None:
    """Also those that replace others: killed ones, and on SIGHUP all, the new one before the old one has gone."""
    server = serve(workers=2)
    wait_for(lambda: len(server.workers()) == 2, 60)
    process = server.process
    assert process is not None
    for whom, number, staying in ((server.workers()[0], signal.SIGKILL, 1), (process.pid, signal.SIGHUP, 0)):
        before = server.workers()
        os.kill(whom, number)
        wait_for(partial(server.has_replaced, before, staying), 90, "they are not replaced")
    assert "another gateway" not in server.log()
    assert (server.data_dir / LOCK).exists()
    assert server.terminate() == 0
    assert not (server.data_dir / LOCK).exists(), "the last one leaves no file"


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
def test_a_killed_servers_workers_let_go(serve: Serve, command: Command) -> None:
    """Old workers ship the rest without delaying a successor. A gateway that starts at once waits for them."""
    server = serve({"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, workers=2, command=command)
    wait_for(lambda: len(server.workers()) == 2, 60)
    assert server.get("/v1/pixel/track?wk=dk_1&e=E").is_pixel
    orphans, process = server.workers(), server.process
    assert process is not None
    process.kill()
    process.wait()
    server.process = None
    server.start()
    try:
        assert "another gateway" not in server.log()
        assert server.get("/v1/pixel/track?wk=dk_1&e=E").is_pixel
    finally:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_lock_file_without_a_gateway_is_no_obstacle(serve: Serve) -> None:
    """Neither what a power cut leaves nor what a copied directory brings along."""
    server = serve()
    content = (server.data_dir / LOCK).read_bytes()
    assert server.terminate() == 0
    for left in (b"", b"\0" * 10_000, b"\xff\n", content):
        (server.data_dir / LOCK).write_bytes(left)
        server.start()
        assert (server.data_dir / LOCK).read_bytes()[:200].strip() != left.strip()
        server.kill()


def append(directory: Path, mids: list[str]) -> Path:
    """A finished journal of these events."""
    with pixelcore.Journal(directory / "events", segment_bytes=20_000) as journal:
        for mid in mids:
            journal.append(pixelcore.event("track", f"wk=dk_test_twin&e=E&mid={mid}"))
    return Path(journal.path)


def as_it_is(_: Path) -> None:
    """A copy between two lines."""


def in_the_middle(journal: Path) -> None:
    """A copy that was made while a line was written: its last one is torn."""
    last = segments(journal)[-1]
    os.truncate(last, last.stat().st_size - 7)


@pytest.mark.kafka
@pytest.mark.parametrize("cut", [as_it_is, in_the_middle])
@pytest.mark.parametrize("first", ["copy", "original", "neither"])
def test_a_cloned_machine(
    serve: Serve, broker: Broker | External, topic: str, tmp_path: Path, cut: Callable[[Path], None], first: str
) -> None:
    """The copy has the beginning of the same journal, the original goes on with it. Whoever ships, each event is there once.

    Where both ship at the same time, the one that is fenced looks again later whether something is left.
    """
    settings = kafka_settings(broker.bootstrap, topic)
    original = serve()  # without Kafka, so that all is there to be copied
    with Load(original.port) as before:
        before.wait(answers=200)
    copy = Server(tmp_path / "copy")
    shutil.copytree(original.data_dir, copy.data_dir)
    (journal,) = (copy.data_dir / "events").iterdir()
    cut(journal)
    with Load(original.port) as after:
        after.wait(answers=200)
    answered, sent = before.answered | after.answered, before.sent | after.sent
    twins = [copy, original] if first == "copy" else [original, copy]
    try:
        for twin in twins:
            twin.restart(**settings)
            with Load(twin.port) as more:
                more.wait(answers=50)
            answered, sent = answered | more.answered, sent | more.sent
            if first != "neither":
                wait_for(lambda: not (twin.data_dir / "events" / journal.name).exists(), 150)  # noqa: B023
        check(arrived(broker.bootstrap, topic, answered), answered, sent)
        for twin in twins:
            wait_for(lambda: not (twin.data_dir / "events" / journal.name).exists(), 150)  # noqa: B023
            assert "Traceback" not in twin.log()
        torn = cut is in_the_middle and first == "copy"
        assert first == "neither" or ("bytes of a torn line" in copy.log()) == torn, copy.log()
    finally:
        copy.kill()


@pytest.mark.kafka
def test_a_clone_of_a_shipping_gateway_is_fenced_and_says_so(
    serve: Serve, broker: Broker | External, topic: str, tmp_path: Path
) -> None:
    """The later process has the journal. The other one names it in the log, and continues with a journal without a copy."""
    settings = kafka_settings(broker.bootstrap, topic)
    original = serve(settings)
    with Load(original.port) as before:
        before.wait(answers=200)
    (journal,) = (original.data_dir / "events").iterdir()
    arrived(broker.bootstrap, topic, before.answered)  # it has nothing left to ship
    shutil.copytree(original.data_dir, tmp_path / "copy")
    code, output = finish(forward(tmp_path / "copy", settings))
    assert code == 0, output
    with Load(original.port) as after:
        after.wait(answers=200)
    answered, sent = before.answered | after.answered, before.sent | after.sent
    check(arrived(broker.bootstrap, topic, answered), answered, sent)
    assert original.get("/healthz").status == 200
    assert f"journal {journal.name} is forwarded by " in original.log()
    assert "from a copy of the data directory" in original.log()
    wait_for(lambda: not journal.exists(), 150)


@pytest.mark.kafka
def test_a_restored_backup_repeats_nothing(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    """Backups of three ages, restored when all was shipped and deleted, each together with what came since."""
    settings = kafka_settings(broker.bootstrap, topic)
    data, sent, backups = tmp_path / "data", set[str](), list[Path]()
    for age in range(3):
        mids = [f"backup-{age}-{number}" for number in range(300)]
        sent |= set(mids)
        append(data, mids)
        backups.append(tmp_path / f"backup-{age}")
        shutil.copytree(data, backups[-1])
        if age != 1:  # the second backup has two journals
            ship(data, settings)
    for number, backup in enumerate(backups):
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        mid = f"since-{number}"
        append(data, [mid])
        sent.add(mid)
        ship(data, settings)
        assert list((data / "events").iterdir()) == []
    check(arrived(broker.bootstrap, topic, sent), sent, sent)


def ship(data_dir: Path, settings: dict[str, str]) -> None:
    code, output = finish(forward(data_dir, settings))
    assert code == 0, output
