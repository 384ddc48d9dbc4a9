"""The hooks of the site: links of the repository become links of the site, and performance.md begins with what matters first."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from docs import hooks
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("source", "page", "written", "shown"),
    [
        ("ARCHITECTURE.md", "architecture.md", "[a](docs/consent.md#modes)", "[a](consent.md#modes)"),
        ("ARCHITECTURE.md", "architecture.md", "![a](docs/pictures/way.svg)", "![a](pictures/way.svg)"),
        ("docs/performance.md", "performance.md", "[a](../benches/README.md)", "[a](benchmarks.md)"),
        (
            "docs/decisions/0001-x.md",
            "decisions/0001-x.md",
            "[a](../../ARCHITECTURE.md#b)",
            "[a](../architecture.md#b)",
        ),
        ("docs/decisions/0001-x.md", "decisions/0001-x.md", "[a](0002-y.md)", "[a](0002-y.md)"),
        ("docs/missed-goals.md", "missed-goals.md", "[a](../benches/REPORT.md#goals)", "[a](performance.md#goals)"),
        ("benches/REPORT.md", "performance.md", "![a](plots/latency.svg)", "![a](plots/latency.svg)"),
        ("benches/README.md", "benchmarks.md", "[driver.py](driver.py)", "driver.py (`benches/driver.py`)"),
        ("docs/a.md", "a.md", "[a](https://example.com/b)", "[a](https://example.com/b)"),
        ("docs/a.md", "a.md", "[a](#b)", "[a](#b)"),
        ("docs/a.md", "a.md", "```js\nb[0](../c)\n```", "```js\nb[0](../c)\n```"),
    ],
)
def test_links_are_those_of_the_site(source: str, page: str, written: str, shown: str) -> None:
    assert hooks.relinked(written, source, page) == shown


def rendered(name: str) -> str:
    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri=name))
    return hooks.on_page_markdown((ROOT / "docs" / name).read_text(), page)


def test_performance_begins_with_the_one_figure_and_its_plot() -> None:
    _, first, second, *rest = rendered("performance.md").split("\n\n")
    assert re.fullmatch(r"\*\*A request takes \S+ us of CPU, .* With Kafka, exactly once, .*\*\*", first)
    assert second.strip() == "![CPU of a request by server](plots/whole-way.svg)"
    text = "\n\n".join(rest)
    assert "plots/whole-way.svg" not in text
    assert text.index("## Goals") < text.index("plots/latency.svg")
    assert "<!--" not in text


def test_no_page_of_the_site_is_linked_as_a_mere_name() -> None:
    """A link to what is not on the site becomes a name, so a page must not be one."""
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    for name in map(str, pages):
        assert not re.findall(r"\(`(?!benches/results)[\w./-]+\.md`\)", rendered(name)), name
