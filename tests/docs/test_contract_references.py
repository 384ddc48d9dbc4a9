"""References by number, as in "contract, section 3, rule 4", lead to a heading of docs/contract.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.paths import ROOT

PLACES = ("python", "rust", "tests", "benches", "docs", "deploy", "examples", ":(glob)*.md")
SUFFIXES = {".conf", ".css", ".html", ".js", ".md", ".py", ".pyi", ".rs", ".sh", ".toml", ".yaml", ".yml"}

NUMBERS = r"\d+(?:\.\d+)*(?:(?:,? (?:and|or|to) |, )\d+(?:\.\d+)*)*"
REFERENCE = re.compile(
    rf"\bsections? (?P<sections>{NUMBERS})(?:,? rules? (?P<rules>{NUMBERS}))?"
    rf"|\brules? (?P<these>{NUMBERS})(?: of section (?P<this>\d+))?",
    re.IGNORECASE,
)
SOURCE = re.compile(r"(?P<ours>\bcontract\b)|\bRFC \d+|\bstandard\b", re.IGNORECASE)
"""What has numbered sections. A reference is to the last one that was named before, in the same comment or so."""
NEARBY = 350
LINE_BREAK = re.compile(r"\s*\n\s*(?://[/!]?|#+|\*)?\s*")


class Reference(NamedTuple):
    """A section, or a rule of it; a rule alone is one of whichever section has rules."""

    section: str | None
    rule: str | None = None


def expanded(numbers: str) -> Iterator[str]:
    """The numbers of a list such as ``2, 3 and 5`` or ``2 to 4``."""
    if span := re.fullmatch(r"(\d+) to (\d+)", numbers):
        yield from map(str, range(int(span[1]), int(span[2]) + 1))
    else:
        yield from re.findall(r"\d+(?:\.\d+)*", numbers)


def references(text: str) -> Iterator[Reference]:
    """All references to the contract in a text."""
    text = LINE_BREAK.sub(" ", text)
    for match in REFERENCE.finditer(text):
        named = [*SOURCE.finditer(text, max(0, match.start() - NEARBY), match.start())]
        of = re.match(r" of (?:the )?", text[match.end() :])
        source = SOURCE.match(text, match.end() + of.end()) if of else None
        source = source or (named[-1] if named else None)
        if source is not None and source["ours"] is None:
            continue
        if match["these"] is not None:
            yield from (Reference(match["this"], rule) for rule in expanded(match["these"]))
            continue
        sections = [*expanded(match["sections"])]
        yield from map(Reference, sections)
        yield from (Reference(sections[-1], rule) for rule in expanded(match["rules"] or ""))


def headings(text: str) -> dict[str, list[str]]:
    """The rules of each section of a contract, by the sections' numbers."""
    found: dict[str, list[str]] = {}
    for section, rule in re.findall(r"^(?:## (\d+)\. |### Rule (\d+): )", text, re.MULTILINE):
        if section:
            found[section] = []
        else:
            [*found.values()][-1].append(rule)
    return found


CONTRACT = headings((ROOT / "docs" / "contract.md").read_text())


def resolves(reference: Reference) -> bool:
    sections = CONTRACT if reference.section is None else CONTRACT.keys() & {reference.section}
    if reference.rule is None:
        return bool(sections)
    return any(reference.rule in CONTRACT[section] for section in sections)


def written() -> list[Path]:
    """The texts of the repository in which references are looked for: all but this one, which has wrong ones."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PLACES]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [ROOT / name for name in names]
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file() and path != Path(__file__)]


def test_the_contract_has_its_numbers() -> None:
    numbers: dict[str, list[str]] = {str(number): [] for number in range(1, 10)} | {"3": ["1", "2", "3", "4", "5"]}
    assert numbers == CONTRACT


def test_every_reference_leads_to_a_heading() -> None:
    found = {path.relative_to(ROOT).as_posix(): [*references(path.read_text())] for path in written()}
    assert sum(map(len, found.values())) > 80
    for place in ("python", "rust", "tests", "benches"):
        assert any(here for name, here in found.items() if name.startswith(f"{place}/")), place
    wrong = [(name, each) for name, here in found.items() for each in here if not resolves(each)]
    assert not wrong


READ = [
    # name, text, the references in it
    ("a section", "Of requests (contract, section 1).", [("1", None)]),
    ("the other way round", "Section 6 of the contract: a journal.", [("6", None)]),
    ("several", "Sections 1 and 5 of the contract", [("1", None), ("5", None)]),
    ("a list", "(contract, sections 2, 4 and 5)", [("2", None), ("4", None), ("5", None)]),
    ("a range", "(contract, sections 2 to 4)", [("2", None), ("3", None), ("4", None)]),
    ("over two lines", "//! (contract, sections 2\n//! and 3)", [("2", None), ("3", None)]),
    ("a rule", "(contract, section 3, rule 4)", [("3", None), ("3", "4")]),
    ("two rules", "(contract, section 3, rules 2 and 4)", [("3", None), ("3", "2"), ("3", "4")]),
    ("rules of a section", "Rules 2 and 4 of section 3", [("3", "2"), ("3", "4")]),
    ("a rule alone", "# rule 1", [(None, "1")]),
    ("a section alone", "what a gateway takes (section 5)", [("5", None)]),
    ("one that is not there", "contract, section 12", [("12", None)]),
    ("a part of one", "contract, section 5.1", [("5.1", None)]),
    ("an RFC's", "(RFC 9110, section 12.5.4), and so on (section 5.6.1)", []),
    ("a standard's", "the WHATWG URL standard, section 5.1", []),
    ("an RFC's, named behind", "section 5 of RFC 7239", []),
    ("ours after an RFC's", "(RFC 8259, section 7; contract, section 3)", [("3", None)]),
    ("an RFC far away", "RFC 8259. " + "word " * 80 + "Section 3 nests.", [("3", None)]),
    ("none", "A rule of the contract has a row; this section has 3.", []),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_references_are_read(text: str, expected: list[tuple[str | None, str | None]]) -> None:
    assert [*references(text)] == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference("3"), True),
        (Reference("3", "5"), True),
        (Reference(None, "5"), True),
        (Reference("10"), False),
        (Reference("5.1"), False),
        (Reference("3", "6"), False),
        (Reference("2", "1"), False),
        (Reference(None, "6"), False),
    ],
)
def test_references_resolve(reference: Reference, expected: bool) -> None:
    assert resolves(reference) is expected
