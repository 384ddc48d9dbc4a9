"""A wall clock that can be stepped, preloaded into a gateway: see ``clock.c``."""

from __future__ import annotations

import mmap
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
_WORD = 8


def build(directory: Path) -> Path:
    """Compile the clock. Raises ``OSError`` without a C compiler."""
    library = directory / "clock.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


class Clock:
    """One gateway's."""

    def __init__(self, library: Path, file: Path) -> None:
        file.write_bytes(bytes(_WORD))
        with file.open("r+b") as opened:
            self._nanoseconds = mmap.mmap(opened.fileno(), _WORD)
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}

    def step(self, seconds: float) -> None:
        """Set it so many seconds off the true time."""
        self._nanoseconds[:] = int(seconds * 1e9).to_bytes(_WORD, "little", signed=True)
