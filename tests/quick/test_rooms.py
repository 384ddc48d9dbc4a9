"""The tests' folders: helpers are in tests/support, each folder describes itself, and ``make quick`` is one of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import TESTS

FILES = sorted(TESTS.rglob("*.py"))
ROOMS = sorted(path.parent for path in TESTS.glob("*/*.py") if path.name == "__init__.py")


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, with the names that it takes from them: each may be a module, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_imported_from_a_test(path: Path) -> None:
    assert [name for name in imported(path) if re.match(r"tests\.(conftest\b|(\w+\.)*test_)", name)] == []


def test_every_test_is_in_a_room() -> None:
    assert [path.name for path in TESTS.glob("test_*.py")] == []
    assert {path.parent for path in TESTS.rglob("test_*.py")} <= set(ROOMS)
    assert [path.name for path in (TESTS / "support").glob("test_*.py")] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_is_for(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


# What starts a server, a broker, a browser or the page that has one, and so is not quick.
SLOW = re.compile(r"\b(serve|broker|own_broker|debug_server|Server|Broker|playwright|dump_dom)\b")


@pytest.mark.parametrize("path", sorted((TESTS / "quick").glob("test_*.py")), ids=lambda path: path.stem)
def test_what_is_quick_starts_nothing(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    arguments = {node.arg for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.arg)}
    assert sorted(name for name in names | arguments if SLOW.fullmatch(name)) == []
