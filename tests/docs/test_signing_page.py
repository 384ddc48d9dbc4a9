"""docs/signing.md: its test vectors, checked by another construction, and its code in other languages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pixelcore
import pytest
from pixelcore import _core

from tests.support import signing_oracle as oracle
from tests.support.paths import ROOT
from tests.support.signing import event_of, said

PAGE = (ROOT / "docs" / "signing.md").read_text()


def block(kind: str) -> str:
    """The only block of a language on the page."""
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


VECTORS = json.loads(block("json"))


def test_the_vectors() -> None:
    secret, kind = VECTORS["secret"], VECTORS["type"]
    assert oracle.derived(secret, b"pixelcore sign v1").hex() == VECTORS["signing_key"]
    assert oracle.derived(secret, b"pixelcore seal v1").hex() == VECTORS["sealing_key"]
    for vector in VECTORS["signed"]:
        assert oracle.message(kind, vector["query"]).hex() == vector["message"]
        assert oracle.sign(kind, vector["query"], secret) == vector["s"] == _core.sign(kind, vector["query"], secret)
        event = pixelcore.event(kind, f"{vector['query']}&s={vector['s']}", secrets=[secret], require_signature=True)
        assert json.loads(event)["context"]["signed"] is True
    for vector in VECTORS["sealed"]:
        nonce = bytes.fromhex(vector["nonce"])
        arguments = (kind, vector["wk"], vector["query"], secret, nonce)
        assert oracle.seal(*arguments) == vector["x"] == _core.seal(*arguments)
        event = pixelcore.event(kind, f"wk={vector['wk']}&x={vector['x']}", secrets=[secret])
        assert json.loads(event)["context"]["sealed"] is True


LANGUAGES = [
    ("php", "pixel.php", ["php"]),
    ("java", "Pixel.java", ["java"]),
    ("go", "pixel.go", ["go", "run"]),
]


@pytest.mark.timeout(600)  # Go compiles what it imports, without a cache
@pytest.mark.parametrize(("kind", "file", "command"), [pytest.param(*row, id=row[0]) for row in LANGUAGES])
def test_the_page_in_other_languages(kind: str, file: str, command: list[str], tmp_path: Path) -> None:
    """The page's code runs, and its URLs become the vector's event."""
    program = shutil.which(command[0])
    assert program, f"{command[0]} is needed: see tests/system_packages.sh"
    (tmp_path / file).write_text(block(kind), "utf-8")
    own = {"NEWSLETTER_SECRET": VECTORS["secret"], "GO111MODULE": "off", "GOCACHE": str(tmp_path), "LC_ALL": "C.UTF-8"}
    ended = subprocess.run(
        [program, *command[1:], file],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    signed, sealed = ended.stdout.splitlines()
    (vector,) = VECTORS["signed"]
    assert signed.endswith(f"&s={vector['s']}")
    expected = event_of(f"/track?{vector['query']}")
    for query, protection in ((signed, (True, False)), (sealed, (True, True))):
        event = event_of(f"/track?{query}", VECTORS["secret"], required=True)
        assert (said(event), event) == (protection, expected)
