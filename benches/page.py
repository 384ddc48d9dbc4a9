"""Makes the report of the results: ``REPORT.md`` and its plots. Nobody types a figure by hand.

python -m benches.page                   each part from the newest of benches/results that has it
python -m benches.page FILE --to FOLDER  from another file, to another folder
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from benches import results
from benches.goals import BARE, EXACTLY_ONCE, JOURNAL
from benches.growth import COST_TITLE
from benches.latency import GIF_TITLE
from benches.parser import OURS, TITLES
from benches.parts import PARTS, WHOLE_WAY_TITLE
from benches.results import Result, Table, shown, verdict
from benches.servers import ROOT

HEADINGS: Final = {"parser": "The parser", "whole_way": "The whole way"}


@dataclass(frozen=True)
class Bars:
    """A plot of some columns, those that end so, of one table."""

    file: str
    part: str
    table: str
    columns: tuple[str, ...]


PLOTS: Final = (
    Bars("parser.svg", "parser", TITLES["event"], (" x",)),
    Bars("whole-way.svg", "whole_way", WHOLE_WAY_TITLE, ("CPU us/request",)),
    Bars("latency.svg", "latency", GIF_TITLE, ("p50 ms", "p99 ms")),
    Bars("growth.svg", "growth", COST_TITLE, ("CPU us/request",)),
)
TREND: Final = "trend.svg"
WIDTH: Final = 5.2
"""Inches of a plot: its text stays readable on a telephone."""

INK, PAPER, FRAME = "#1d1f23", "#ffffff", "#cccccc"
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "pixelcore",  # the same result must give the same bytes
    "svg.fonttype": "none",
    "font.size": 9,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "legend.edgecolor": FRAME,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": cycler(color=["#4a78e0", "#d9772b", "#2f9e6e", "#c2519b", "#8a7ad6", "#a8862d"]),
}
DARK: Final = {INK: "#e6e6e3", PAPER: "#1e2129", FRAME: "#53575e"}
"""What a colour becomes where the reader prefers a dark scheme."""


def dark() -> str:
    """The rules of CSS by which a plot follows the reader's scheme."""
    rules = [
        f'[style*="{name}: {light}"] {{ {name}: {other} !important }}'
        for light, other in DARK.items()
        for name in ("fill", "stroke")
    ]
    return "\n@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}\n"


def save(figure: Figure, file: Path) -> None:
    """Write an SVG file for light and dark schemes, without the date and the name of the program."""
    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    before, end, after = drawn.getvalue().partition("</style>")
    file.write_text(before + dark() + end + after)


def columns_of(table: Table) -> list[str]:
    """All columns of a table, in the order in which they appear."""
    return list(dict.fromkeys(column for row in table.values() for column in row))


def bars(plot: Bars, table: Table) -> Figure:
    """A group of horizontal bars for each row."""
    columns = [column for column in columns_of(table) if column.endswith(plot.columns)]
    figure = Figure(figsize=(WIDTH, 1.2 + 0.28 * len(table) * len(columns)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(columns)
    for number, column in enumerate(columns):
        places = [place + number * height for place in range(len(table))]
        drawn = axes.barh(places, [row.get(column, 0) for row in table.values()], height, label=column)
        axes.bar_label(drawn, [shown(row[column]) if column in row else "" for row in table.values()], padding=3)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(table))], list(table))
    axes.invert_yaxis()
    axes.margins(x=0.16)
    figure.suptitle(plot.table, fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(columns) if len(columns) < 3 else 1)
    return figure


def trend(history: Sequence[Result]) -> Figure:
    """Ours over time: a request's CPU as a ratio to bare Granian's, and microseconds of `pixelcore.event`."""
    figure = Figure(figsize=(WIDTH, 9), layout="constrained")
    labels = [f"{result['date'][:10]} {result['commit']}" for result in history]
    wanted = (
        ("CPU of a request, to bare Granian's", "whole_way", WHOLE_WAY_TITLE, "to bare"),
        ("pixelcore.event, us", "parser", TITLES["event"], f"{OURS} us"),
    )
    for axes, (title, part, table, column) in zip(figure.subplots(2), wanted, strict=True):
        lines: dict[str, list[tuple[int, float]]] = {}
        for place, result in enumerate(history):
            rows = result["parts"][part]["figures"].get(table, {}) if part in result["parts"] else {}
            for name, row in rows.items():
                if part == "parser" or name.startswith(OURS):
                    lines.setdefault(name, []).append((place, row[column]))
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_title(title)
        if lines:
            axes.set_ylim(0, 1.1 * max(value for points in lines.values() for _, value in points))
            axes.legend(loc="best")
    return figure


def over_minutes(series: Mapping[str, Sequence[float]]) -> Figure:
    """The samples of one run: a small plot for each name. Each begins at zero, so that a slope shows as one."""
    names = [name for name in series if name != "minutes"]
    figure = Figure(figsize=(WIDTH, 1.1 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), sharex=True, squeeze=False)[:, 0], names, strict=True):
        axes.plot(series["minutes"], series[name], linewidth=0.8)
        axes.set_ylim(0, 1.1 * max(*series[name], 1))
        axes.set_title(name, loc="left", fontsize=8)
    axes.set_xlabel("minutes")
    return figure


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def headline(result: Result) -> Iterator[str]:
    """The one figure that matters first: the CPU of a request, and its ratio to bare Granian's."""
    rows = result["parts"].get("whole_way", {"figures": {}})["figures"].get(WHOLE_WAY_TITLE, {})
    if not {BARE, JOURNAL, EXACTLY_ONCE} <= rows.keys():
        return
    cpu, ratio = ({name: shown(row[column]) for name, row in rows.items()} for column in ("CPU us/request", "to bare"))
    yield (
        f"**A request takes {cpu[JOURNAL]} us of CPU, {ratio[JOURNAL]} times as much as bare Granian's empty GIF."
        f" With Kafka, exactly once, it takes {cpu[EXACTLY_ONCE]} us, {ratio[EXACTLY_ONCE]} times as much.**"
    )


def goals(result: Result) -> Iterator[str]:
    """Every goal with its figure, then by name the goals that are missed and the parts that are left out."""
    every = [(part, goal) for part, found in result["parts"].items() for goal in found["goals"]]
    yield "## Goals"
    rows = [[part, goal["name"], goal["goal"], shown(goal["value"]), verdict(goal)] for part, goal in every]
    yield markdown(["part", "goal", "wanted", "measured", ""], rows)
    if short := [f"- {part}: {goal['name']}: {shown(goal['value'])}" for part, goal in every if goal["met"] is False]:
        yield f"{len(short)} of {len(every)} fall short:\n\n" + "\n".join(short)
    left_out = [
        f"- {part}: {name}: {reason}"
        for part, found in result["parts"].items()
        for name, reason in found.get("left_out", {}).items()
    ] + [f"- {name}: not run" for name in PARTS if name not in result["parts"]]
    if left_out:
        yield "Left out:\n\n" + "\n".join(left_out)


def tables(result: Result, folder: Path) -> Iterator[str]:
    """Every part with its plot and tables."""
    for part, found in result["parts"].items():
        yield f"## {HEADINGS.get(part, part.capitalize())}"
        if "measured" in found:
            yield f"Measured {found['measured']}."
        for title, table in found["figures"].items():
            yield f"### {title}"
            for plot in PLOTS:
                if (plot.part, plot.table) == (part, title):
                    save(bars(plot, table), folder / "plots" / plot.file)
                    yield f"![{title}](plots/{plot.file})"
            columns = columns_of(table)
            yield markdown(
                ["", *columns],
                [[name, *(shown(row.get(column, "")) for column in columns)] for name, row in table.items()],
            )
        if "series" in found:
            save(over_minutes(found["series"]), folder / "plots" / f"{part}.svg")
            yield f"![{part.capitalize()}](plots/{part}.svg)"


def render(files: Sequence[Path], history: Sequence[Path], folder: Path) -> Path:
    """Write the report of result files, and the trend over ``history`` if that has several."""
    result = results.merged(files)
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    where = f"{result['date'][:10]}, commit {result['commit']}, {result['cpu']}, {result['cores']} cores. {versions}."
    made = (
        "`make bench-report` makes this page from the files in `results`. [How it is measured](README.md),"
        " [missed goals](../docs/missed-goals.md), [optimisations](../docs/optimisations.md)."
    )
    blocks = ["# Benchmark report", *headline(result), made, where]
    if result["quick"]:
        blocks.append("**A quick run: these figures are noise.**")
    with mpl.rc_context(STYLE):
        blocks += [*goals(result), *tables(result, folder)]
        if len(history) > 1:
            save(trend([results.read(old) for old in history]), folder / "plots" / TREND)
            blocks += ["## Over time", f"![Over time](plots/{TREND})"]
    page = folder / "REPORT.md"
    page.write_text("\n\n".join(blocks) + "\n")
    return page


def main() -> int:
    """Render what the command line names."""
    parser = argparse.ArgumentParser(description="Make the report of a result file.")
    parser.add_argument("file", type=Path, nargs="?", help="default: all of benches/results")
    parser.add_argument("--to", type=Path, default=ROOT / "benches", metavar="FOLDER")
    arguments = parser.parse_args()
    kept = results.kept()
    if not (arguments.file or kept):
        parser.error(f"{results.RESULTS} has no result: run make bench first")
    print(render([arguments.file] if arguments.file else kept, kept, arguments.to))
    return 0


if __name__ == "__main__":
    sys.exit(main())
