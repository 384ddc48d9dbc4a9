"""What is preloaded into a gateway: see ``shim.c``."""

from __future__ import annotations

import errno
import mmap
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
_WORD = 8
_CLOCK, _ERRNO = 0, _WORD


def build(directory: Path) -> Path:
    """Compile the shim. Raises ``OSError`` without a C compiler."""
    library = directory / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


class Shim:
    """One gateway's clock and flushes."""

    def __init__(self, library: Path, control: Path, root: Path) -> None:
        control.write_bytes(bytes(2 * _WORD))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 2 * _WORD)
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CONTROL": str(control), "CHAOS_ROOT": str(root)}

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock so many seconds beside the true one."""
        self._set(_CLOCK, int(seconds * 1e9))

    def fail_flushes(self, fail: bool) -> None:
        """Let fsync(2) and fdatasync(2) of files in the data directory fail with EIO, or work again."""
        self._set(_ERRNO, errno.EIO if fail else 0)

    def _set(self, at: int, value: int) -> None:
        self._control[at : at + _WORD] = value.to_bytes(_WORD, "little", signed=True)
