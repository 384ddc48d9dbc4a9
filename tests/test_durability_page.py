"""The pages on durability and security claim nothing without a test: each that they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "durability.md").read_text()

SECURITY = (ROOT / "SECURITY.md").read_text()

PROOFS = sorted(set(re.findall(r"`([\w/]+\.(?:py|rs)::\w+)`", PAGE + SECURITY)))
FAULTS = sorted(set(re.findall(r"`chaos: ([\w-]+)`", PAGE)))


def test_there_are_some() -> None:
    """Or the patterns have come apart from the page."""
    assert len(PROOFS) > 20
    assert len(FAULTS) > 10


@pytest.mark.parametrize("proof", PROOFS)
def test_a_named_test_is_there(proof: str) -> None:
    file, _, name = proof.partition("::")
    assert re.search(rf"^ *(def|fn) {name}\(", (ROOT / file).read_text(), re.MULTILINE), proof


@pytest.mark.parametrize("fault", FAULTS)
def test_a_named_fault_is_there(fault: str) -> None:
    """Of the chaos run, which each enters into its list by name."""
    texts = "\n".join(path.read_text() for path in ROOT.glob("tests/chaos/*.py"))
    assert re.search(rf'@fault\(\s*"{fault}"', texts), fault


def test_every_row_has_a_proof_or_says_that_there_is_none() -> None:
    """A table's last column names a test, a fault of the chaos run, or says in words why there is none."""
    rows = 0
    for table in re.findall(r"^\|.*\| proof \|\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for row in table.splitlines():
            proof = row.strip("|").split("|")[-1]
            assert re.search(r"::\w+`|`chaos: |none: \w+", proof), row
            rows += 1
    assert rows > 30
