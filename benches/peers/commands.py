"""Builds and starts each peer, or gives the reason why it cannot take part here.

Peers read ``PORT``, and those that produce ``BOOTSTRAP`` and ``TOPIC``, from their environment.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benches.peers.bare import GIF
from benches.servers import FLAGS, ROOT

HERE: Final = Path(__file__).parent
BUILD: Final = ROOT / "target" / "peers"

NGINX_GIF: Final = (
    b"GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff"
    b"!\xf9\x04\x01\x00\x00\x01\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02L\x01\x00;"
)


@dataclass(frozen=True)
class Peer:
    """One rival.

    ``program`` is what must be on the PATH, with the flag that makes it tell its version; ``distributions`` are
    Python's. ``build`` runs in ``folder``, whose ``lock`` has the versions of ``libraries``.
    """

    name: str
    command: tuple[str, ...]
    produces: bool = True
    gif: bytes = GIF
    program: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    folder: Path = HERE
    lock: str = ""
    libraries: tuple[str, ...] = ()

    def obstacle(self) -> str | None:
        """Build it where it needs building; the reason why it cannot take part, None if it can."""
        if self.program and self._program() is None:
            return f"no {self.program[0]} on the PATH"
        for distribution in self.distributions:
            if importlib.util.find_spec(distribution) is None:
                return f"no Python package {distribution}: pip install --group peers"
        if self.build:
            print(f"building {self.name}", file=sys.stderr)
            done = subprocess.run(self.build, cwd=self.folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return "; ".join(["it does not build", *done.stderr.strip().splitlines()[-3:]])
        return None

    def _program(self) -> str | None:
        # Debian has nginx where only root looks.
        return shutil.which(self.program[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

    def versions(self) -> dict[str, str]:
        """The versions of what it is made of."""
        found = {name: importlib.metadata.version(name) for name in self.distributions}
        if self.program:
            done = subprocess.run(
                (self._program() or "", *self.program[1:]), capture_output=True, text=True, check=True
            )
            if number := re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr):
                found[self.program[0]] = number[0]
        lock = (self.folder / self.lock).read_text() if self.lock else ""
        for library in self.libraries:
            # `example.org/library v1.2.3` in go.mod, `name = "library"` and `version = "1.2.3"` in Cargo.lock.
            if number := re.search(rf'\b{library}"?\s+(?:version = ")?v?(\d[\w.+-]*)', lock):
                found[library] = number[1]
        return found


UVICORN: Final = (sys.executable, "-m", "uvicorn", "--port", "{port}", "--loop", "uvloop", "--http", "httptools")
# uvicorn's defaults that are of no use here: a line per request, and looking for a proxy's headers.
UVICORN_FLAGS: Final = ("--no-access-log", "--log-level", "warning", "--no-proxy-headers")
GRANIAN_ASGI: Final = tuple("asgi" if flag == "rsgi" else flag for flag in FLAGS)

NGINX: Final = 'PATH=$PATH:/usr/sbin; sed "s/[$]PORT/$PORT/" "$0" >"$1/nginx.conf" && exec nginx -p "$1" -c nginx.conf'

PEERS: Final = (
    Peer(
        "nginx",
        ("sh", "-c", NGINX, str(HERE / "nginx.conf"), "{directory}"),
        produces=False,
        gif=NGINX_GIF,
        program=("nginx", "-v"),
    ),
    Peer(
        "axum",
        (str(BUILD / "rust" / "release" / "peer"),),
        program=("cargo", "--version"),
        build=("cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(BUILD / "rust")),
        folder=HERE / "rust",
        lock="Cargo.lock",
        libraries=("axum", "rdkafka"),
    ),
    Peer(
        "go",
        (str(BUILD / "go"),),
        program=("go", "version"),
        build=("go", "build", "-o", str(BUILD / "go"), "."),
        folder=HERE / "go",
        lock="go.mod",
        libraries=("franz-go",),
    ),
    Peer(
        "blacksheep",
        (sys.executable, "-m", "granian", *GRANIAN_ASGI, "--port", "{port}", "benches.peers.blacksheep_app:app"),
        distributions=("blacksheep",),
    ),
    Peer(
        "starlette",
        (*UVICORN, *UVICORN_FLAGS, "benches.peers.starlette_app:app"),
        distributions=("starlette", "uvicorn", "httptools"),
    ),
    Peer(
        "fastapi",
        (*UVICORN, *UVICORN_FLAGS, "benches.peers.fastapi_app:app"),
        distributions=("fastapi", "uvicorn", "httptools"),
    ),
)

PYTHON: Final = ("blacksheep", "starlette", "fastapi")
