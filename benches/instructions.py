"""Instructions of one event, counted by callgrind: the one measure that a busy machine does not change.

    python -m benches.instructions            compare with benches/instructions.json; more than 2 % up is an error
    python -m benches.instructions --record   write that file

It counts ``event::write`` of the core (``rust/core/benches/event.rs``) as the difference between two numbers of repetitions, so
that the start does not count. Known names cost less than new ones, so it counts both, and also a signature and a seal.

No query of 8 kB may cost more than ``WORST`` times as much per byte as the email with new names, so that nothing grows faster than
its query. (Those queries mostly have new names.)

Another compiler, or the ``memcpy`` of another processor, makes other instructions of the same source. Where the compiler is not the
recorded one, the comparison allows for that.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from benches.queries import ADVERSARIAL, EMAIL, ESCAPES, ITEMS
from benches.servers import ROOT

RECORD: Final = ROOT / "benches" / "instructions.json"
QUERIES: Final = {"email": EMAIL, "items": ITEMS, "escapes": ESCAPES}
FEW, MANY = 200, 1200
FEW_LONG, MANY_LONG = 2, 10
NEW: Final = ", new names"
PROTECTED: Final = {"email, signed": "signed", "email, sealed": "sealed"}
"""The email once more, at a pipeline with a secret."""
WORST: Final = 3.0
"""How many times the instructions a byte of an email with new names each of the adversarial queries may cost."""
SAME_COMPILER, OTHER_COMPILER = 1.02, 1.25
"""How much more than recorded is allowed."""


def compiler() -> str:
    """The compiler that counts are recorded with."""
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def build() -> Path:
    """The program that writes one event as often as it is told."""
    command = ["cargo", "bench", "--quiet", "--no-run", "-p", "pixelcore", "--bench", "event", "--message-format=json"]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    return next(Path(found) for message in messages if (found := message.get("executable")))


def collected(program: Path, times: int, query: str, *new: str, expected: str = "accepted") -> int:
    """All instructions of one run, which must come to what is expected."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), str(times), query, *new]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    if run.stdout.strip() != expected:
        raise RuntimeError(f"{run.stdout.strip()} instead of {expected}: {query[:80]}")
    match = re.search(r"Collected : (\d+)", run.stderr)
    if match is None:
        raise RuntimeError(f"callgrind says nothing of instructions:\n{run.stderr}")
    return int(match[1])


def count(program: Path) -> dict[str, int]:
    """Instructions an event, by query."""
    runs = {f"{name}{NEW}" if new else name: (query, *new) for name, query in QUERIES.items() for new in ((), ("new",))}
    runs |= {name: (EMAIL, how) for name, how in PROTECTED.items()}
    return {
        name: (collected(program, MANY, *run) - collected(program, FEW, *run)) // (MANY - FEW)
        for name, run in runs.items()
    }


def ratios(program: Path, email: int) -> dict[str, float]:
    """Instructions a byte of each adversarial query, accepted or rejected, to those of an email."""
    found = {}
    for name, (query, reason) in ADVERSARIAL.items():
        few, many = (collected(program, times, query, expected=reason or "accepted") for times in (FEW_LONG, MANY_LONG))
        found[name] = (many - few) / (MANY_LONG - FEW_LONG) / len(query) / (email / len(EMAIL))
    return found


def too_costly(found: dict[str, float]) -> list[str]:
    """A line for each adversarial query that costs more than it may."""
    return [
        f"{name}: {ratio:.2f} times the instructions a byte of an email with new names, allowed {WORST}"
        for name, ratio in found.items()
        if ratio > WORST
    ]


def compare(counted: dict[str, int], recorded: dict[str, int], allowed: float) -> list[str]:
    """A line for each query that costs more than is allowed, or was not recorded."""
    return [
        f"{name}: {now} instructions an event, recorded {recorded.get(name)}"
        for name, now in counted.items()
        if now > recorded.get(name, 0) * allowed
    ]


def main() -> int:
    """Count, and record or compare."""
    parser = argparse.ArgumentParser(description="Count the instructions of one event.")
    parser.add_argument("--record", action="store_true", help="take today's counts as the measure")
    arguments = parser.parse_args()
    now, program = compiler(), build()
    counted = count(program)
    found = ratios(program, counted[f"email{NEW}"])
    if arguments.record:
        RECORD.write_text(json.dumps({"compiler": now, "instructions": counted}, indent=2) + "\n")
    record = json.loads(RECORD.read_text())
    allowed = SAME_COMPILER if record["compiler"] == now else OTHER_COMPILER
    print(f"{now}; recorded with {record['compiler']}, so up to {allowed - 1:.0%} more is let pass")
    for name, count_now in counted.items():
        print(f"{name:20}{count_now:10,} instructions an event{count_now / record['instructions'][name] - 1:+8.1%}")
    for name, ratio in found.items():
        print(f"{name:28}{ratio:6.2f} times the instructions a byte of an email with new names")
    errors = compare(counted, record["instructions"], allowed) + too_costly(found)
    print("\n".join(errors), file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
