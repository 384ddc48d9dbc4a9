"""Runs all measurements, and compares them with their goals.

python -m benches                           into benches/results/<date>-<commit>.json
python -m benches --only parser,latency     these parts; the others of the same day and commit stay in the file
python -m benches --quick                   a trial run, into .benchmarks
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from benches import results
from benches.fixtures import LeftOutError
from benches.parts import PARTS
from benches.results import Measure, Part


def names(text: str) -> list[str]:
    """What ``--only`` names."""
    if unknown := set(wanted := text.split(",")) - PARTS.keys():
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return wanted


def run(name: str, measure: Measure, quick: bool) -> Part:
    """One measurement in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix=f"pixelcore-bench-{name}-") as directory:
        try:
            return measure(Path(directory), quick)
        except LeftOutError as error:
            return {"figures": {}, "goals": [], "left_out": {name: str(error)}}


def main() -> int:
    """Measure what the command line asks for; 1 when something could not be, whatever became of the goals."""
    arguments = argparse.ArgumentParser(prog="python -m benches", description="Measure, and hold to the goals.")
    arguments.add_argument("--quick", action="store_true", help="to see that it works; the figures are noise")
    arguments.add_argument("--only", type=names, default=list(PARTS), metavar="PART,PART", help=", ".join(PARTS))
    wanted = arguments.parse_args()
    results.clean_up_when_terminated()
    result = results.environment(wanted.quick)
    failed = []
    for name in wanted.only:
        print(f"--- {name}", file=sys.stderr, flush=True)
        try:
            part = run(name, PARTS[name], wanted.quick)
        except Exception:  # noqa: BLE001
            # What an hour has measured is not thrown away for what comes last.
            traceback.print_exc()
            failed.append(name)
            continue
        result["versions"] |= part.pop("versions", {})
        result["parts"][name] = part
        results.write(result)
    print(results.goals_table(result["parts"]))
    for name in failed:
        print(f"{name:10} FAILED: see above")
    print(results.file_of(result))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
