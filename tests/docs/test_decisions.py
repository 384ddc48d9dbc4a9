"""The architecture's page is short, and each decision says why, what else there was, and what follows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
HEADINGS = ["Context", "Decision", "Alternatives", "Consequences"]


def test_the_architecture_is_on_a_page() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 200


def test_decisions_are_numbered() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == [*range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_parts(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert all(part.strip() for part in re.split(r"^#.*$", text, flags=re.MULTILINE)[2:])


def test_the_index_has_each_decision_by_its_title() -> None:
    index = re.sub(r"\s+", " ", (ROOT / "docs" / "decisions" / "README.md").read_text())
    listed = re.findall(r"- \[(\d+\. [^\]]+)\]\(([\w-]+\.md)\)", index)
    titles = [(path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in DECISIONS]
    assert sorted(listed) == sorted(titles)
