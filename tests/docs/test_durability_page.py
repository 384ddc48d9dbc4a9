"""The pages on durability and security claim nothing without a test: each that they name is there."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

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


PROOF = r"::\w+`|`chaos: |[Nn]one: \w+"


def test_every_mode_has_a_proof() -> None:
    """The table's last column names a test."""
    (table,) = re.findall(r"^\|.*\| proof \|\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = table.splitlines()
    assert len(rows) == 3
    assert all(re.search(PROOF, row.strip("|").split("|")[-1]) for row in rows)


def test_every_fault_has_a_note_with_a_proof() -> None:
    """Each row of a matrix has a note. The note names a test or a fault of the chaos run, or says why there is none."""
    matrix_and_notes = r"^\| fault \|.*\n\|[-|]+\n((?:\|.*\n)+)\n### Notes.*\n\n((?:.*\n)+?)(?=\n## )"
    matrices = re.findall(matrix_and_notes, PAGE, re.MULTILINE)
    assert len(matrices) == 2
    faults = 0
    for matrix, notes in matrices:
        numbers = [int(number) for number in re.findall(r"^\| (\d+)\. ", matrix, re.MULTILINE)]
        first, *others = re.split(r"^(\d+)\. ", notes, flags=re.MULTILINE)
        assert first == ""
        assert numbers == [int(number) for number in others[::2]] == [*range(1, len(numbers) + 1)]
        for number, note in zip(numbers, others[1::2], strict=True):
            assert re.search(PROOF, " ".join(note.partition("*Proof:*")[2].split())), number
        assert len(numbers) == len(matrix.splitlines())
        faults += len(numbers)
    assert faults > 30
