"""Section 5 of the contract: the rejections of `pixelcore.event` and their order, and that it rejects nothing else."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pixelcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import oracle
from tests.support.queries import QUERIES

DEEP = "p." + ".".join(["a"] * 33)

UNKNOWN_TYPES = ["", "Track", "tracks", "track ", "track.gif", "page/", "screen", "\u00e9"]
# The reason and queries that have it; all but a missing event are tried as pages.
REJECTED: dict[str, list[str]] = {
    "query_too_long": ["wk=k&cb=" + "x" * 8_185, "wk=k&cb=" + "\u00e9" * 4_093, "&" * 8_193],
    "too_many_parameters": ["wk=k" + "&x" * 256, "&&=&" * 257],
    "missing_key": ["", "e=E", "wk", "wk=", "wk=+%00", "WK=k", "p.wk=k", "wk=&wk=+", "amp:wk=k", "+wk=k"],
    "malformed_key": [
        *(f"wk={key}" for key in ("a.b", "a+b", "%C3%A9", "a%0Ab", "\u0661", "%FF", "k/", "k%", "%22k%22", "a" * 65)),
        "wk=&wk=!&wk=k",  # the first non-empty one counts
    ],
    "missing_event": ["wk=k", "wk=k&e", "wk=k&e=", "wk=k&E=E", "wk=k&p.e=E"],
    "too_deep": [
        f"wk=k&{DEEP}=1",
        f"wk=k&t{DEEP[1:]}",
        f"wk=k&amp;{DEEP.replace('.', '%2E')}",
        "wk=k&p." + "." * 32,  # empty segments count
    ],
}
ACCEPTED: list[tuple[str, str]] = [
    ("a key of 64", "wk=" + "a" * 64),
    ("every kind of character", "wk=-_azAZ09"),
    ("a key trimmed", "wk=%E2%80%8B+k%0A"),
    ("amp; before the key", "amp;wk=k"),
    ("8,192 bytes", "wk=k&cb=" + "x" * 8_184),
    ("8,192 bytes of UTF-8", "wk=k&cb=" + "\u00e9" * 4_092),
    ("256 parameters", "wk=k" + "&x" * 255),
    ("empty sequences are no parameters", "&" * 4_000 + "wk=k" + "&" * 4_000),
    ("32 segments", f"wk=k&{DEEP[:-2]}=1&t{DEEP[1:-2]}=1"),
    ("32 empty segments", "wk=k&p." + "." * 31),
    ("other names may be as deep as they like", f"wk=k&x{DEEP[1:]}=1&uid.{DEEP}=1&p{DEEP}=2"),
    ("a value has no segments", f"wk=k&p.a={DEEP}"),
]


def reason_of(type: str, query: str | bytes, **options: Any) -> str:
    with pytest.raises(pixelcore.Rejected) as caught:
        pixelcore.event(type, query, **options)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize("type", UNKNOWN_TYPES)
def test_unknown_type(type: str) -> None:
    assert reason_of(type, "wk=k&e=E") == "unknown_type"


@pytest.mark.parametrize(("reason", "input"), [(reason, query) for reason in REJECTED for query in REJECTED[reason]])
def test_rejected(reason: str, input: str) -> None:
    for query in (input, input.encode()):
        assert reason_of("track" if reason == "missing_event" else "page", query) == reason


@pytest.mark.parametrize("input", [pytest.param(query, id=name) for name, query in ACCEPTED])
def test_accepted(input: str) -> None:
    for query in (input, input.encode()):
        assert len(json.loads(pixelcore.event("page", query))["pipelineKey"]) in (1, 8, 64)


LIMITS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("query_too_long", "wk=k&e=E", {"max_query_bytes": 8}, {"max_query_bytes": 7}),
    ("query_too_long", "wk=k&cb=" + "x" * 60_000, {"max_query_bytes": 65_536}, {}),
    ("too_many_parameters", "wk=k&&e=E&", {"max_parameters": 2}, {"max_parameters": 1}),
    ("too_many_parameters", "wk=k" + "&x" * 1_000, {"max_parameters": 1_001}, {}),
    ("too_deep", "wk=k&p.a.b=1", {"max_depth": 2}, {"max_depth": 1}),
    ("too_deep", f"wk=k&{DEEP}=1", {"max_depth": 33}, {}),
]


@pytest.mark.parametrize(("reason", "input", "enough", "too_little"), LIMITS)
def test_limits_are_arguments(reason: str, input: str, enough: dict[str, Any], too_little: dict[str, Any]) -> None:
    pixelcore.event("page", input, **enough)
    assert reason_of("page", input, **too_little) == reason


# Each fault in the contract's order, as what it adds to the query; the two of the key exclude each other.
FAULTS = {
    "unknown_type": "",
    "query_too_long": "cb=" + "x" * 9_000,
    "too_many_parameters": "&".join("x" * 300),
    "missing_key": "wk=",
    "malformed_key": "wk=!",
    "missing_event": "e=",
    "too_deep": DEEP,
}
SETS = [chosen for size in range(1, 8) for chosen in combinations(FAULTS, size)]


@pytest.mark.parametrize("faults", [chosen for chosen in SETS if not {"missing_key", "malformed_key"} <= {*chosen}])
def test_the_first_fault_is_the_reason(faults: tuple[str, ...]) -> None:
    parts = [FAULTS[fault] for fault in reversed(faults)]  # the order within the query must not matter
    parts += [] if {"missing_key", "malformed_key"} & {*faults} else ["wk=k"]
    parts += [] if "missing_event" in faults else ["e=E"]
    assert reason_of("nothing" if "unknown_type" in faults else "track", "&".join(parts)) == faults[0]


@given(st.sampled_from(["track", "page", "page", "identify", "group", "x"]), QUERIES, st.text())
@settings(max_examples=300, deadline=None)
def test_every_query_is_an_event_or_a_rejection(type: str, query: str, header: str) -> None:
    limits: dict[str, Any] = {"max_parameters": 14, "max_depth": 4}
    headers: dict[str, Any] = dict.fromkeys(["ip", "user_agent", "referer", "locale", "gpc", "dnt"], header)
    expected = oracle.rejection(type, query, max_bytes=100, **limits)
    if expected is not None:
        assert reason_of(type, query, max_query_bytes=100, **limits, **headers) == expected
        return
    event = pixelcore.event(type, query, max_query_bytes=100, **limits, **headers)
    assert not {*b"\n\r"} & {*event}
    found = json.loads(event)
    assert json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() == event
    for member, prefix in (("properties", "p."), ("traits", "t.")):
        assert json.dumps(found.get(member, {})) == json.dumps(oracle.nest(query, prefix))
