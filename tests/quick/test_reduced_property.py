"""For any request: the data that its mode leaves out is in no file (contract, section 9).

``PIXELCORE_TEST_REQUESTS=100000`` asks for so many; a few thousand are asked otherwise.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pixelcore
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pixelcore._core import take_ignored_names
from pixelcore.folding import Folder
from pixelcore.settings import Settings

from tests.support.key_files import pipeline

REQUESTS = 25
"""Of one directory."""
EXAMPLES = int(os.environ.get("PIXELCORE_TEST_REQUESTS", "2500")) // REQUESTS

KEYS: dict[str, dict[str, object]] = {
    "dk_live_day": {"max": '"deliverability"'},
    "dk_live_sum": {"max": '"aggregate"', "aggregate_properties": '["named", "of.two"]', "aggregate_minimum": 1},
    "dk_live_none": {"max": '"none"'},
    "dk_live_asks": {"consent": '"uid"'},
    "dk_live_aid": {"consent": '"aid"', "unknown": '"deliverability"', "refuse_addresses": True},
    "dk_live_default": {"default": '"none"'},
    "dk_live_seal": {"max": '"aggregate"', "secrets": '["a-secret-of-the-tests-0123456789"]'},
}
FILE = "\n".join(pipeline(key, **more) for key, more in KEYS.items())
NUMBERS = itertools.count()

# What is written where a personal text goes, and around it.
SHAPES = ["{}", "{}@example.com", "{}%40example.com", " {} ", '"{}"', "%00{}", "é{}", "{}%FF", "{{{{{}}}}}"]
NAMES = [
    "uid",
    "aid",
    "gid",
    "mid",
    "p.x",
    "p.a.b",
    "t.x",
    "t.a.b",
    "t.",
    "p.",
    "named",
    "utm_source",
    "cb",
    "ts",
    "s",
    "x",
]
NAMES += ["amp;uid", "%75id", "UID", "userId", "properties.x", "traits.x", "context.x", "data"]
PLAIN = [
    "m=d",
    "m=a",
    "m=n",
    "m=",
    "m=?",
    "amp;m=n",
    "%6d=a",
    "m=none",
    "e=Open",
    "e=",
    "p.named=spring",
    "p.of.two=x",
    "",
    "&",
    "=",
]
MODES = st.sampled_from(["m=n", "m=d", "m=a", "m=none&m=i", "m=?", "", "m=i"])


def token() -> str:
    """A text that is nowhere else."""
    return f"Zq{next(NUMBERS):06d}qZ"


class Asked:
    """A request, and its personal texts by the name of their parameter."""

    def __init__(self, kind: str, query: str, headers: tuple[Any, ...], peer: str, secrets: dict[str, str]) -> None:
        self.kind, self.query, self.headers, self.peer, self.secrets = kind, query, headers, peer, secrets

    def __repr__(self) -> str:
        return f"{self.kind}?{self.query} {self.headers}"


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    secrets: dict[str, str] = {}
    key = draw(st.sampled_from([*KEYS, "dk_live_nobody", ""]))
    parts = [f"wk={key}"] if key else []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            name, text = draw(st.sampled_from(NAMES)), token()
            shaped = draw(st.sampled_from(SHAPES)).format(text)
            secrets.setdefault(text, name)
            parts.append(f"{name}={quote(shaped, safe='%') if draw(st.booleans()) else shaped.replace('&', '')}")
        else:
            parts.append(draw(st.sampled_from(PLAIN)))
    if draw(st.booleans()):
        text = token()  # a name that means nothing may name somebody, too
        secrets[text] = "a name"
        parts.append(f"{text}=1")
    parts.append(draw(MODES))
    headers = tuple(draw(st.sampled_from([None, token(), token().encode()])) for _ in range(3))
    for header in headers:
        if header is not None:
            secrets[header if isinstance(header, str) else header.decode()] = "a header"
    kind = draw(st.sampled_from(["track", "track", "track", "page", "identify", "group", "none"]))
    address = f"198.51.{next(NUMBERS) % 250}.{next(NUMBERS) % 250}"
    secrets[address] = "an address"
    query = "&".join(draw(st.permutations(parts)))
    return Asked(kind, query, (*headers, draw(st.sampled_from([None, "1"])), None), f"{address}:1", secrets)


def content(directory: Path) -> bytes:
    """All names and bytes of files."""
    return b"\n".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in directory.rglob("*")
    )


@pytest.fixture(scope="module", autouse=True)
def _nothing_ignored() -> Iterator[None]:
    take_ignored_names()
    yield
    take_ignored_names()


@pytest.mark.timeout(7200)
# Of these nothing of a person is kept in any mode that this file has for them; an uid or aid may be the person of a last opening.
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.lists(requests(), min_size=REQUESTS, max_size=REQUESTS), st.booleans())
def test_what_a_mode_leaves_out_is_in_no_file(asked: list[Asked], compat: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        journals = {kind: pixelcore.Journal(root / kind) for kind in ("events", "rejections", "openings", "loads")}
        collector = pixelcore.Collector(
            journals["events"],
            journals["rejections"],
            openings=journals["openings"],
            loads=journals["loads"],
            window_ms=1,
            compat=("segment", "rudderstack") if compat else (),
        )
        collector.set_keys(FILE)
        whole: set[str] = set()
        for one in asked:
            before = journals["events"].end + journals["rejections"].end
            collector.collect(one.kind, one.query, one.peer, one.headers)
            if journals["events"].end + journals["rejections"].end > before:
                # An event, or a record of one: only where the default is what would say no, and the URL says yes.
                assert "wk=dk_live_default" in one.query, one
                assert "m=i" in one.query, one
                whole.update(one.secrets)
        written = content(root)
        for journal in journals.values():
            journal.close()
        Folder(Settings(data_dir=root), clock=lambda: 4e9).round()
        written += content(root)
        names = " ".join(take_ignored_names())
        for one in asked:
            for secret, where in one.secrets.items():
                may_be_person = where in ("uid", "aid", "amp;uid", "%75id", "userId")
                if secret not in whole and not may_be_person:
                    assert secret.encode() not in written, (where, one)
                    assert secret not in names, (where, one)
                if may_be_person and secret.encode() in written and secret not in whole:
                    assert "wk=dk_live_day" in one.query or "wk=dk_live_aid" in one.query or "m=d" in one.query, one
