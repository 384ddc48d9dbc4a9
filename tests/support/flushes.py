"""Records the flushes of a process under test, lets them fail on demand, and simulates power cuts. See ``flushes.c``."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("flushes.c")


class Flushes:
    """Records the flushes of the files under ``root``. ``environment`` is for the watched process.

    Without ``record`` flushes only fail on demand, however long the process runs.
    """

    def __init__(self, root: Path, scratch: Path, *, record: bool = True) -> None:
        scratch.mkdir(exist_ok=True)
        library = scratch / "flushes.so"
        command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.root = root
        self._record = scratch / "record"
        self._fail = scratch / "fail"
        self._record.touch()
        self.environment = {
            "LD_PRELOAD": str(library),
            "FLUSHES_ROOT": str(root),
            "FLUSHES_FAIL": str(self._fail),
        }
        if record:
            self.environment["FLUSHES_RECORD"] = str(self._record)

    def fail(self, failing: bool = True) -> None:
        """From now on, let flushes fail with EIO, or succeed again."""
        if failing:
            self._fail.touch()
        else:
            self._fail.unlink()

    def count(self) -> int:
        """The number of files that were flushed so far."""
        return self._record.read_text().count("F ")

    def covered(self) -> tuple[dict[Path, int], set[Path]]:
        """The bytes of each file, and the names, that were flushed so far."""
        sizes: dict[Path, int] = {}
        names: set[Path] = set()
        for line in self._record.read_text().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "E":
                names.add(Path(rest))
            else:
                size, _, path = rest.partition(" ")
                sizes[Path(path)] = max(sizes.get(Path(path), 0), int(size))
        return sizes, names

    def survivors(self, kind: str) -> list[bytes]:
        """The whole lines of one kind of journals that would now survive any power cut."""
        sizes, names = self.covered()
        lines: list[bytes] = []
        for segment in sorted((self.root / kind).glob("*/*.ndjson")):
            if all(path in names for path in (segment, segment.parent, segment.parent.parent, self.root)):
                lines += segment.read_bytes()[: sizes.get(segment, 0)].split(b"\n")[:-1]
        return lines

    def cut_power(self, chance: random.Random) -> None:
        """Do to the journals what a power cut may do: bytes and names that no flush covered are gone, zeros, or there.

        The processes that write must have ended.
        """
        sizes, names = self.covered()
        for journal in [path for kind in ("events", "rejections") for path in (self.root / kind).glob("*")]:
            if journal not in names and chance.random() < 0.5:
                shutil.rmtree(journal)
                continue
            for segment in journal.glob("*.ndjson"):
                size, kept = segment.stat().st_size, sizes.get(segment, 0)
                if segment not in names and chance.random() < 0.5:
                    segment.unlink()
                elif size > kept:
                    kept = chance.randint(kept, size)
                    os.truncate(segment, kept)
                    if chance.random() < 0.5:
                        os.truncate(segment, chance.randint(kept, size))  # a hole reads as zeros
