"""Rows of the matrix that need no minute; ``make brokers`` has all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers.rows import ROWS, carry_out
from tests.brokers.run import OLDEST, VERSIONS, Outcome
from tests.kafka.broker import kafka_jars
from tests.support.paths import ROOT

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(("name", "version"), [("plain", OLDEST), ("oauth", VERSIONS[0])])
def test_a_row(tmp_path: Path, name: str, version: str) -> None:
    kafka_jars(None if version == VERSIONS[0] else version)
    outcome = carry_out(ROWS[name], version, tmp_path)
    assert outcome.ok, outcome


VERDICTS: list[tuple[str, dict[str, int | str | None], bool]] = [
    ("all arrived once", {}, True),
    ("one is missing", {"missing": 1}, False),
    ("one is there twice", {"repeated": 1}, False),
    ("nothing was answered", {"answered": 0}, False),
    ("the operator was not told", {"trouble": "the log does not say so"}, False),
]


@pytest.mark.parametrize(("changed", "is_ok"), [pytest.param(*line[1:], id=line[0]) for line in VERDICTS])
def test_verdicts(changed: dict[str, int | str | None], is_ok: bool) -> None:
    good = {"sent": 9, "answered": 8, "in_topic": 9, "missing": 0, "repeated": 0, "told": (), "trouble": None}
    assert Outcome(**{"version": "", "title": "", **good, **changed}).ok is is_ok  # type: ignore[arg-type]


def test_the_page_has_every_row() -> None:
    """docs/brokers.md shows a run with each row and each of its versions, and nothing went wrong in it."""
    lines = (ROOT / "docs" / "brokers.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    shown = {(row[0], row[1]): row[5:7] for row in cells if len(row) == 8 and row[0] in VERSIONS}
    assert shown == {(version, row.title): ["0", "0"] for row in ROWS.values() for version in row.versions}
