"""What history costs: the first event shipped beside many checkpoints, and a gateway beside many journals.

python -m benches.opening [--quick]
"""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import Producer
from pixelcore.shipping import checkpoints
from pixelcore.shipping.topics import CHECKPOINT_CONFIG, CHECKPOINT_PARTITIONS

from benches import fixtures
from benches.growth import fill, forward
from benches.resources import START_SECONDS, start_seconds
from benches.results import Part, Table, alone, goal
from benches.servers import free_port
from tests.kafka import topics
from tests.support.servers import clean_environment, kafka_settings

CHECKPOINTS: Final = 1_000_000
JOURNALS: Final = 10_000
DAYS: Final = 80
"""Over which the checkpoints were written. They are deleted after 90."""
FLAT: Final = 1.5
JOURNALS_TITLE: Final = "Beside journals of earlier lives"
CHECKPOINTS_TITLE: Final = "A first event beside checkpoints of other journals, pixelcore forward"


def identity(milliseconds: int) -> str:
    """A journal's identity: a UUIDv7 of that time."""
    bits = milliseconds << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    return str(uuid.UUID(int=bits))


def write_checkpoints(bootstrap: str, topic: str, count: int, partitions: int) -> None:
    """Checkpoints of as many journals, the oldest first."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 200_000})
    now = int(time.time() * 1000)
    for number in range(count):
        at = now - DAYS * 86_400_000 + number * (DAYS * 86_400_000 - 3_600_000) // count
        journal = identity(at)
        record = checkpoints.offset_record(journal, 12_345)
        partition = checkpoints.partition_of(journal, partitions)
        while True:
            try:
                producer.produce(topic, record.value, record.key, partition, timestamp=at)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def beside_checkpoints(directory: Path, bootstrap: str, core: int | None, quick: bool) -> Table:
    """Seconds from the start of ``pixelcore forward`` to its end, with one event: medians."""
    count, rounds = (10_000, 1) if quick else (CHECKPOINTS, 5)
    table: Table = {}
    for name, checkpoints_there, partitions in (
        ("none", 0, CHECKPOINT_PARTITIONS),
        (f"{count:,}", count, CHECKPOINT_PARTITIONS),
        (f"{count:,}, in a topic of one partition", count, 1),
    ):
        topic = f"opening-{uuid.uuid4().hex[:8]}"
        topics.create(bootstrap, topic, 4)
        settings = kafka_settings(bootstrap, topic)
        there = settings["PIXELCORE_CHECKPOINT_TOPIC"]
        topics.create(bootstrap, there, partitions, config=CHECKPOINT_CONFIG)
        write_checkpoints(bootstrap, there, checkpoints_there, partitions)
        taken, cpu = [], []
        for number in range(rounds):
            data = directory / f"{topic}-{number}"
            fill(data, 1)
            before = children_cpu()
            taken.append(forward(data, settings, core))
            cpu.append(children_cpu() - before)
        table[name] = {"s": statistics.median(taken), "slowest s": max(taken), "CPU s": statistics.median(cpu)}
    return table


def children_cpu() -> float:
    """CPU seconds of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_journals(data: Path, count: int) -> None:
    """Journals of three events each, as workers leave them that crash in a loop."""
    fill(data, 3)
    (made,) = (data / "events").iterdir()
    (segment,) = made.glob("*.ndjson")
    lines = segment.read_bytes()
    now = int(time.time() * 1000)
    for number in range(count - 1):
        journal = data / "events" / identity(now - (count - number) * 1000)
        journal.mkdir(mode=0o700)
        (journal / segment.name).write_bytes(lines)
        (journal / "lock").touch(0o600)


def beside_journals(directory: Path, core: int | None, quick: bool) -> Table:
    """Seconds of what an operator does beside ten journals and beside many, without Kafka: medians."""
    rounds = 1 if quick else 5
    table: Table = {}
    for count in (10, 100 if quick else JOURNALS):
        data = directory / f"journals-{count}"
        write_journals(data, count)
        port = free_port()
        settings = {"PIXELCORE_DATA_DIR": str(data), "PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{port}"}
        serve = ["pixelcore", "serve", "--bind", "127.0.0.1:{port}"]
        with fixtures.pinned(core):
            starts = [start_seconds(serve, settings, directory) for _ in range(rounds)]
            tails = [seconds_of("tail", data) for _ in range(rounds)]
            checks = [seconds_of("check", data) for _ in range(rounds)]
            scrapes = scrape(settings, port, rounds)
        table[f"{count:,}"] = {
            "start to first answer s": statistics.median(starts),
            "tail s": statistics.median(tails),
            "check s": statistics.median(checks),
            "first scrape s": scrapes[0],
            "scrape s": statistics.median(scrapes[1:]),
        }
    return table


def seconds_of(command: str, data: Path) -> float:
    """How long a command takes."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pixelcore", command, "--data-dir", str(data)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.monotonic() - began


def scrape(settings: Mapping[str, str], port: int, rounds: int) -> list[float]:
    """Seconds of scrapes of a gateway's metrics, once a second."""
    command = [sys.executable, "-m", "pixelcore", "serve", "--bind", f"127.0.0.1:{free_port()}"]
    environment = clean_environment(settings)
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    taken: list[float] = []
    deadline = time.monotonic() + START_SECONDS
    try:
        while len(taken) <= rounds:
            began = time.monotonic()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=START_SECONDS) as answer:
                    answer.read()
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the gateway has no metrics") from None
                time.sleep(0.05)
                continue
            taken.append(time.monotonic() - began)
            time.sleep(1.0)
        return taken
    finally:
        server.terminate()
        server.wait(30)


def measure(directory: Path, quick: bool) -> Part:
    """Both, and what this machine cannot measure is left out by name."""
    cores = fixtures.cores()
    journals = beside_journals(directory, cores.server, quick)
    part: Part = {"figures": {JOURNALS_TITLE: journals}, "goals": [], "left_out": {}}
    few, many = journals.values()
    part["goals"] = [goal(f"{what} beside many journals", many[what], "<=", few[what] + 1) for what in many]
    try:
        with fixtures.broker(directory, cores.broker, gives_way=False) as broker:
            opened = beside_checkpoints(directory, broker.bootstrap, cores.server, quick)
    except fixtures.LeftOutError as error:
        part["left_out"]["a first event beside checkpoints"] = str(error)
        return part
    empty, full, _ = opened.values()
    part["figures"][CHECKPOINTS_TITLE] = opened
    part["goals"].append(goal("a first event beside many checkpoints, to none", full["s"] / empty["s"], "<=", FLAT))
    return part


if __name__ == "__main__":
    sys.exit(alone("opening", measure))
