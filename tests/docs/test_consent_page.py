"""docs/consent-list.md: its blocks run in a real PostgreSQL, and a gateway accepts the result."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pixelcore._core import Ceilings

from tests.support.consents import SECRET, key_of, listed
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "consent-list.md").read_text()


def block(kind: str) -> str:
    """The only block of a language on the page."""
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture
def psql() -> Iterator[list[str]]:
    """The command that runs SQL in the test's own PostgreSQL, which does not run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    assert initdb, "postgresql is needed: see tests/system_packages.sh"
    owner: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    home = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())  # a socket's path has 107 bytes
    try:
        if owner:
            shutil.chown(home, owner["user"])
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": home, **owner}
        subprocess.run([initdb, "-D", home / "data", "-A", "trust", "-U", "postgres"], check=True, **quiet)
        control: list[str | Path] = [Path(initdb).with_name("pg_ctl"), "-D", home / "data", "-l", home / "log"]
        subprocess.run([*control, "-o", f"-k {home} -h ''", "start"], check=True, **quiet)
        try:
            yield ["psql", "-h", str(home), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt"]
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, **quiet)
    finally:
        shutil.rmtree(home)


def test_an_outbox_makes_records_that_a_gateway_takes(psql: list[str], tmp_path: Path) -> None:
    before = f"SET consent.secret = '{SECRET[3:]}'; CREATE EXTENSION pgcrypto;\n"
    after = "SELECT json_build_object('key', key, 'value', value) FROM consent_outbox;"
    ended = subprocess.run(psql, input=before + block("sql") + after, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    row = json.loads(ended.stdout)
    assert row["key"].encode() == key_of("user_1")
    listed(tmp_path / "list", [(row["key"].encode(), json.dumps(row["value"]).encode(), None)])
    assert Ceilings(tmp_path / "list", SECRET).ceiling("pip_news", "uid", b"user_1") == (
        "of",
        "none",
        row["value"]["time"],
    )


def test_the_connector_has_all_that_it_names() -> None:
    properties = dict(line.split("=", 1) for line in block("properties").splitlines())
    transforms = properties["transforms"].split(",")
    assert {name for name in properties if name.endswith(".type")} == {f"transforms.{name}.type" for name in transforms}
    table = re.search(r"consent_outbox \((.*?)\);", block("sql"))
    assert table
    columns = re.findall(r"\b(?:key|value|at)\b", table[1])
    assert {properties["transforms.key.fields"], properties["timestamp.column.name"]} <= set(columns)
