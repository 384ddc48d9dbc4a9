"""The benches' page: made from a result file, with the measurement of the parser as it is, though quick."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benches import page, parser, parts, results
from benches.growth import COST_TITLE
from benches.latency import EXACTLY_ONCE, GIF_TITLE
from benches.results import Result

WHOLE_WAY = {
    "versions": {"peer": "1.2.3"},
    "servers": {
        "bare": {"cpu": [10.0, 12.0, 11.0], "rate": [9e4, 8e4, 7e4], "driver_busy": [0.5, 0.5, 0.5]},
        "pixelcore, exactly-once": {"cpu": [22.0], "rate": [4e4], "driver_busy": [0.3], "forwarder_cpu": [1.5]},
    },
    "goals": [
        {"name": "exactly-once / bare", "value": 2.0, "goal": "<= 1.25", "met": False},
        {"name": "go / exactly-once", "value": None, "goal": ">= 1.4", "met": None},
    ],
    "left_out": {"go": "no go toolchain"},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    found = results.environment(quick=True)
    found["commit"] = "c0ffee"
    # One contender that gives another output, or a query with another outcome than expected, fails here.
    found["parts"]["parser"] = parser.measure(tmp_path_factory.mktemp("parser"), quick=True)
    found["parts"]["whole_way"] = parts.whole_way_part(WHOLE_WAY)
    found["parts"]["latency"] = {
        "figures": {GIF_TITLE: {name: {"p50 ms": 0.5, "p99 ms": 1234.5} for name in ("bare", EXACTLY_ONCE)}},
        "goals": [results.goal("p99 of the GIF", 1.2, "<=", 1.3), results.goal("drain", 99_999.0, ">=", 100_000)],
    }
    found["parts"]["growth"] = {
        "figures": {
            COST_TITLE: {"64 connections": {"CPU us/request": 20.0}, "10 connections": {"CPU us/request": 30.0}}
        },
        "goals": [],
    }
    samples = {"minutes": [0.1, 0.2], "segments": [1.0, 2.0], "RSS of workers, MB": [60.0, 61.5]}
    found["parts"]["soak"] = {"figures": {"A soak": {"log": {"errors": 0}}}, "goals": [], "series": samples}
    return found


@pytest.fixture
def file(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "SCRATCH", tmp_path / "results")
    return results.write(copy.deepcopy(result))


def test_every_figure_and_goal_is_on_the_page(file: Path, result: Result, tmp_path: Path) -> None:
    text = page.render([file], [file], tmp_path).read_text()
    assert f"commit c0ffee, {result['cpu']}" in text
    assert "these figures are noise" in text
    for part in result["parts"].values():
        for title, table in part["figures"].items():
            section = text.split(f"### {title}\n")[1].split("\n#")[0]
            lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
            cells = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
            for name, row in table.items():
                found = dict(zip(cells[""], cells[name], strict=True))
                assert {column: text for column, text in found.items() if text} == {
                    column: results.shown(value) for column, value in row.items()
                }
    assert "| latency | p99 of the GIF | <= 1.3 | 1.2 | met |" in text
    assert "| latency | drain | >= 100,000 | 99,999 | MISSED |\n" in text
    assert "| whole_way | go / exactly-once | >= 1.4 | - | not measured |" in text
    short = text.split("fall short:")[1].split("Left out:")[0]
    assert "- latency: drain: 99,999\n" in short
    assert "p99 of the GIF" not in short
    assert "- whole_way: go: no go toolchain\n- durable: not run\n- resources: not run\n" in text


def test_plots_are_svg_that_depends_on_the_result_alone(file: Path, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    for folder in (first, second):
        folder.mkdir()
        page.render([file], [file, file], folder)
    names = {plot.file for plot in page.PLOTS} | {page.TREND, "soak.svg"}
    assert {path.name for path in (first / "plots").iterdir()} == names
    for name in names:
        drawn = (first / "plots" / name).read_bytes()
        assert drawn == (second / "plots" / name).read_bytes()
        assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
        assert f"(plots/{name})" in (first / "REPORT.md").read_text()
        dark = drawn.decode().split("@media (prefers-color-scheme: dark) {")[1].split("</style>")[0]
        assert all(f': {light}"]' in dark and other in dark for light, other in page.DARK.items())
        used = drawn.decode().split("</style>")[1]
        assert f"fill: {page.INK}" in used
        assert f"fill: {page.PAPER}" in used
        assert "#000000" not in used
    assert b"RSS of workers, MB" in (first / "plots" / "soak.svg").read_bytes()
    assert b"pixelcore, exactly-once" in (first / "plots" / "trend.svg").read_bytes()


def test_the_page_begins_with_the_one_figure(file: Path, result: Result, tmp_path: Path) -> None:
    assert page.render([file], [file], tmp_path).read_text().startswith("# Benchmark report\n\n`make bench-report`")
    found = copy.deepcopy(result)
    rows = found["parts"]["whole_way"]["figures"][parts.WHOLE_WAY_TITLE]
    rows["pixelcore, journal only"] = {"CPU us/request": 9.9, "to bare": 0.9}
    file.write_text(json.dumps(found))
    assert page.render([file], [file], tmp_path).read_text().split("\n\n")[1] == (
        "**A request takes 9.9 us of CPU, 0.9 times as much as bare Granian's empty GIF."
        " With Kafka, exactly once, it takes 22 us, 2 times as much.**"
    )


def test_parts_that_were_not_run_again_stay_in_the_file(file: Path, result: Result) -> None:
    again: Result = {**result, "parts": {"growth": {"figures": {}, "goals": []}}}
    assert results.write(again) == file
    kept = results.read(file)["parts"]
    assert kept == {**result["parts"], "growth": {"figures": {}, "goals": []}}


def test_each_part_is_from_the_newest_result_that_has_it(file: Path, result: Result, tmp_path: Path) -> None:
    part = {"figures": {"CPU": {"ours": {"us": 7.0}}}, "goals": []}
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps({**result, "date": "2999-01-01", "commit": "f00d", "parts": {"growth": part}}))
    text = page.render([newer, file], [], tmp_path).read_text()
    assert "2999-01-01, commit f00d" in text
    assert f"## Latency\n\nMeasured {result['date'][:10]}, commit c0ffee.\n" in text
    assert "## Growth\n\n### CPU\n" in text


@pytest.mark.parametrize(
    ("value", "comparison", "met"),
    [(1.0, "<=", True), (1.0, "<", False), (1.0, ">=", True), (1.1, "<=", False), (0.9, ">=", False), (0.9, "<", True)],
)
def test_a_goal_is_held_against_its_value(value: float, comparison: str, met: bool) -> None:
    found = results.goal("x", value, comparison, 1.0)  # type: ignore[arg-type]
    assert (found["met"], found["goal"]) == (met, f"{comparison} 1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (123.45, "123.5"),
        (12.345, "12.3"),
        (0.01234, "0.0123"),
        (20_000, "20,000"),
        (None, "-"),
        ("", ""),
    ],
)
def test_figures_are_shown_with_three_digits(value: object, text: str) -> None:
    assert results.shown(value) == text
