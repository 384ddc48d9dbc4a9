"""The parser against its rivals: runs ``test_parser.py`` with pytest-benchmark, and compares its medians with the goals.

python -m benches.parser [--quick]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benches import fixtures
from benches.queries import QUERIES
from benches.results import Goal, Part, Table, alone, goal
from benches.servers import ROOT

OURS: Final = "pixelcore"
ADVERSARIAL: Final = "adversarial"
TITLES: Final = {
    "event": "pixelcore.event, and how many times its time rivals take",
    "nest": "pixelcore.nest, and how many times its time rivals take",
    "pairs": "pixelcore.pairs, and how many times its time rivals take",
    ADVERSARIAL: "pixelcore.event on queries made to be costly",
}
WANTED: Final = {"event": {"urllib+json": 50.0, "fast-query-parsers+orjson": 15.0}}
ORDINARY: Final = "email"


def tables(runs: list[dict[str, Any]]) -> dict[str, Table]:
    """Function to query to contender to the median of its medians, from what pytest-benchmark wrote."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    spreads: dict[tuple[str, str], list[float]] = {}
    sizes: dict[str, int] = {}
    for benchmark in (benchmark for run in runs for benchmark in run["benchmarks"]):
        info, stats = benchmark["extra_info"], benchmark["stats"]
        row = info["function"], info["query"]
        cells.setdefault(row, {}).setdefault(info["contender"], []).append(stats["median"] / info["calls"] * 1e6)
        spreads.setdefault(row, []).append(stats["iqr"] / stats["median"])
        sizes[info["query"]] = info["query_bytes"]
    found: dict[str, Table] = {}
    for (function, query), contenders in cells.items():
        medians = {name: statistics.median(taken) for name, taken in contenders.items()}
        shown: dict[str, Any] = {"bytes": sizes[query], f"{OURS} us": medians.pop(OURS)}
        for name, median in medians.items():
            shown |= {f"{name} us": median, f"{name} x": median / shown[f"{OURS} us"]}
        # How far to trust the row: the interquartile range to the median, of the worst.
        found.setdefault(function, {})[query] = shown | {"spread": max(spreads[function, query])}
    return found


def goals(found: dict[str, Table]) -> list[Goal]:
    """What the parser is to reach (each of the three queries; `pairs` against its fastest rival; the worst of 8 kB)."""
    held = [
        goal(f"event {query}: {rival}, to ours", found["event"][query][f"{rival} x"], ">=", wanted)
        for query in QUERIES
        for rival, wanted in WANTED["event"].items()
    ]
    for query in QUERIES:
        fastest = min(value for column, value in found["pairs"][query].items() if column.endswith(" x"))
        held.append(goal(f"pairs {query}: the fastest rival, to ours", fastest, ">=", 3.0))

    def per_byte(row: dict[str, Any]) -> float:
        return float(row[f"{OURS} us"] / row["bytes"])

    for row in found[ADVERSARIAL].values():
        row[f"per byte, to {ORDINARY}"] = per_byte(row) / per_byte(found["event"][ORDINARY])
    worst, row = max(found[ADVERSARIAL].items(), key=lambda item: per_byte(item[1]))
    held.append(goal(f"per byte, 8 kB of {worst}, to {ORDINARY}", row[f"per byte, to {ORDINARY}"], "<=", 4.0))
    return held


def measure(directory: Path, quick: bool) -> Part:
    """Run it, several times over, since pytest-benchmark times one contender after the other."""
    file = directory / "parser.json"
    command = [sys.executable, "-m", "pytest", "--quiet", "benches/test_parser.py", "--benchmark-only"]
    command += ["--benchmark-quiet", f"--benchmark-json={file}", "--benchmark-min-rounds=3"]
    command += [f"--benchmark-max-time={0.02 if quick else 0.3}"]
    runs = []
    for _ in range(1 if quick else 5):
        with fixtures.pinned(fixtures.cores().driver):
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}")
        runs.append(json.loads(file.read_text()))
    found = tables(runs)
    held = goals(found)
    return {"figures": {TITLES[function]: table for function, table in found.items()}, "goals": held}


if __name__ == "__main__":
    sys.exit(alone("parser", measure))
