"""Serious and critical findings of npm's axe-core on a page."""

from __future__ import annotations

import functools

from playwright.sync_api import Page

from tests.kafka.broker import unavailable
from tests.support.paths import TESTS

AXE = TESTS / "npm" / "node_modules" / "axe-core" / "axe.min.js"
FINDINGS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .flatMap(({ id, nodes }) => nodes.slice(0, 5).map(({ target, failureSummary }) =>
      `${id}: ${target.join(" ")}: ${failureSummary.split("\\n")[1]?.trim()}`));
}"""


@functools.cache
def source() -> str:
    if not AXE.is_file():
        unavailable("no npm packages: run make tests/npm/node_modules")
    return AXE.read_text()


def serious(page: Page) -> list[str]:
    """The rule, the element, and the fault."""
    page.evaluate(source())
    found: list[str] = page.evaluate(FINDINGS)
    return found
