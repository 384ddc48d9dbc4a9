"""The changes that no test can see, and why: ``equivalent.toml``.

The file is strict both ways: an entry that some test catches, or that no change fits any more, is an error.
"""

from __future__ import annotations

from pathlib import Path

import tomli

FILE = Path(__file__).with_name("equivalent.toml")


def equivalents(language: str) -> dict[str, str]:
    """The reason by the change, as ``file: name``, of ``python`` or ``rust``."""
    content = tomli.loads(FILE.read_text())
    found: dict[str, str] = {}
    for entry in content.get(language, []):
        for change in entry["changes"]:
            found[f"{entry['file']}: {change}"] = entry["reason"]
    return found


def complaints(listed: dict[str, str], all_changes: set[str], caught: set[str]) -> list[str]:
    """What is wrong with the file."""
    gone = [
        f"equivalent.toml: there is no such change any more: {name}" for name in sorted(listed.keys() - all_changes)
    ]
    seen = [f"equivalent.toml: a test catches it: {name}" for name in sorted(listed.keys() & caught)]
    return gone + seen
