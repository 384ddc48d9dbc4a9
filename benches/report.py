"""Print the medians of pytest-benchmark results, and how many times pixelcore's each is.

    python -m benches.report parser.json [another.json ...]

A ratio is only as good as the quiet of the machine. Of several runs each cell has its lowest median, since a
neighbour can only make a run slower. The spread (the interquartile range as a share of that median, the worst of a row)
says how far to trust the row.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final, TypeAlias

Result: TypeAlias = dict[str, Any]
Rows: TypeAlias = dict[tuple[str, str], dict[str, tuple[float, float]]]

OURS: Final = "pixelcore"


def rows(results: list[Result]) -> Rows:
    """``(function, query)`` to contender to ``(median, spread)``, in the order of the runs."""
    found: Rows = {}
    for benchmark in (benchmark for result in results for benchmark in result["benchmarks"]):
        info, stats = benchmark["extra_info"], benchmark["stats"]
        row = found.setdefault((info["function"], info["query"]), {})
        cell = (stats["median"], stats["iqr"] / stats["median"])
        row[info["contender"]] = min(cell, row.get(info["contender"], cell))
    return found


def sizes(results: list[Result]) -> dict[str, int]:
    """Bytes of each query."""
    return {b["extra_info"]["query"]: b["extra_info"]["query_bytes"] for run in results for b in run["benchmarks"]}


def heading(result: Result) -> str:
    """Where and when: a figure without these is a rumour."""
    machine = result["machine_info"]
    cpu = machine.get("cpu", {}).get("brand_raw") or machine.get("processor") or "unknown CPU"
    versions = sorted({b["extra_info"]["pixelcore"] for b in result["benchmarks"]})
    return f"{result['datetime'][:10]}, {cpu}, Python {machine['python_version']}, pixelcore {', '.join(versions)}"


def table(results: list[Result]) -> str:
    """The table, in Markdown, so that it can be pasted into a page."""
    cells = rows(results)
    if not cells:
        return "no benchmarks in this result"
    contenders = list(dict.fromkeys(contender for row in cells.values() for contender in row))
    lines = [["", "bytes", *contenders, "spread"]]
    bytes_of = sizes(results)
    for (function, query), row in cells.items():
        ours = row.get(OURS, (0.0, 0.0))[0]
        line = [f"{function} {query}", str(bytes_of[query])]
        for contender in contenders:
            median = row.get(contender, (0.0, 0.0))[0]
            ratio = f" ({median / ours:.1f}x)" if ours and median and contender != OURS else ""
            line.append(f"{median * 1e6:.2f} us{ratio}" if median else "")
        lines.append([*line, f"{max(spread for _, spread in row.values()):.0%}"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    written = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(written)


def main() -> int:
    """Read the file that the command line names."""
    parser = argparse.ArgumentParser(description="Medians and ratios of a pytest-benchmark result.")
    parser.add_argument("files", type=Path, nargs="+", help="what pytest wrote with --benchmark-json")
    results = [json.loads(file.read_text()) for file in parser.parse_args().files]
    print("\n".join(dict.fromkeys(map(heading, results))))
    print()
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
