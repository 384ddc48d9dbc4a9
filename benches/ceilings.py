"""Ten million ceilings: the size of the list, and the cost of a look-up per request (contract, section 9).

``rust/core/benches/ceilings.rs`` makes the list and looks persons up. This process measures the cost per request, by user time. The
same requests are collected in turns with a key file that looks persons up, and with one that does not.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from pixelcore._core import HEADERS, Ceilings, Collector, Journal
from pixelcore.serving.collector import collector
from pixelcore.settings import load

from benches.results import Part, goal
from benches.servers import ROOT

SECRET: Final = "k1:fRz3t8Qh2mWc6XeJ0LpVnYbA4sGdUo95"
KEY: Final = '[[pipeline]]\nid = "pip_newsletter"\nkey = "dk_test_news"\nrate_limit_rps = 1e9\n'
PERSONS, FEW_PERSONS = 10_000_000, 10_000
ROUNDS, FEW_ROUNDS = 41, 3
REQUESTS = 5000


def program() -> Path:
    """The program that makes a list and looks into it."""
    command = [
        "cargo",
        "bench",
        "--quiet",
        "--no-run",
        "-p",
        "pixelcore",
        "--bench",
        "ceilings",
        "--message-format=json",
    ]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    return next(Path(found) for message in messages if (found := message.get("executable")))


def collecting(directory: Path, keys: str, listed: Ceilings | None) -> Collector:
    """A collector as a worker has it."""
    settings = load({})
    events, rejections = (Journal(directory / kind) for kind in ("events", "rejections"))
    found = collector(settings, events, rejections)
    found.set_ceilings(listed)
    found.set_keys(keys)
    return found


def user_us(collect: Any, persons: list[str]) -> float:
    """Microseconds of user time that a request of these persons takes."""
    headers = (None,) * len(HEADERS)
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for person in persons:
        collect("track", f"wk=dk_test_news&e=Open&uid={person}", "192.0.2.1:1", headers)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun) * 1e6 / len(persons)


def seconds_to_set(directory: Path, count: int) -> float:
    """How long the command takes for so many people, without Kafka."""
    ids = "".join(f"user_{number}\n" for number in range(count))
    command = [sys.executable, "-m", "pixelcore", "consent", "set", "--scope", "s", "--kind", "uid", "--file", "-"]
    environment = {**os.environ, "PIXELCORE_DATA_DIR": str(directory)}
    begun = time.monotonic()
    subprocess.run([*command, "--mode", "none"], input=ids, text=True, env=environment, check=True, capture_output=True)
    return time.monotonic() - begun


def measure(directory: Path, quick: bool) -> Part:
    """The list's size, a look's time, and what a request costs more."""
    count, rounds = (FEW_PERSONS, FEW_ROUNDS) if quick else (PERSONS, ROUNDS)
    listed = directory / "list"
    listed.mkdir()
    ran = subprocess.run([program(), listed, str(count)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(ran.stdout)
    chance = random.Random(1)
    without = collecting(directory / "without", KEY, None)
    looking = collecting(directory / "looking", KEY + 'consent = "uid"\n', Ceilings(listed, SECRET))
    more, plain = [], []
    for _ in range(rounds):
        persons = [f"user_{chance.randrange(count):08}" for _ in range(REQUESTS)]
        plain.append(user_us(without.collect, persons))
        more.append(user_us(looking.collect, persons) - plain[-1])
    added = statistics.median(more)
    setting = seconds_to_set(directory / "set", count // 10)
    goals = [
        goal("seconds to set the ceilings of a million people", setting, "<", 10.0),
        goal("bytes of a list of ten million", found["bytes"], "<=", 300e6),
        goal("ns of a look into it", found["ns_a_look"], "<=", 300.0),
        goal("us more for a request that looks a person up", added, "<=", 0.3),
    ]
    row = {name: float(value) for name, value in found.items() if name != "found"}
    return {
        "figures": {
            "A list of ceilings": {"the list": {**row, "s to set a tenth of it": setting}},
            "User time of a request in the core": {
                "nobody is looked up": {"us": statistics.median(plain)},
                "looked up in the list": {"us": statistics.median(plain) + added},
            },
        },
        "goals": [] if quick else goals,
        "left_out": {},
        "versions": {},
    }
