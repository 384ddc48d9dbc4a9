"""`pixelcore.Event` and its JSON Schema describe exactly the events that the code writes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pixelcore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pixelcore import Event, Rejection, _core, model
from pixelcore._core import Counters

from tests.support.paths import ROOT

SCHEMAS = {"event": Event, "rejection": Rejection}


def closed(schema: Any) -> Any:
    """A schema that allows only the members that it names: what a reader must not rely on, but the code keeps to."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(part) for name, part in schema.items()}
    return found | {"additionalProperties": False} if "properties" in found and "type" in found else found


EVENTS = Draft202012Validator(closed(model.schema(Event)), format_checker=Draft202012Validator.FORMAT_CHECKER)
REJECTIONS = Draft202012Validator(closed(model.schema(Rejection)), format_checker=Draft202012Validator.FORMAT_CHECKER)

SECRET = "example-secret-0123456789abcdefghijklmnop"
ANY = "wk=k&e=E&mid=m&p.a=1&t.b=2"
CAMPAIGN = "&".join(f"utm_{name}=x" for name in ("source", "medium", "campaign", "term", "content"))
# Together they have every member that there is.
REQUESTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("the least", "identify", "wk=k", {}),
    ("ids", "track", f"{ANY}&uid=u&aid=a&gid=g", {"ip": "192.0.2.1", "user_agent": "x", "locale": "de"}),
    ("a name", "page", ANY, {"referer": "https://example.com/"}),
    ("a campaign", "group", f"{ANY}&{CAMPAIGN}", {}),
    ("consent", "page", ANY, {"gpc": "1", "dnt": "1"}),
    ("a client", "page", ANY, {"purpose": "prefetch"}),
    ("a repair", "page", f"{ANY}&ts=soon", {}),
    ("a seal", "track", f"wk=k&x={_core.seal('track', 'k', 'e=E', SECRET, bytes(12))}", {"secrets": [SECRET]}),
    ("ids that are not UTF-8", "page", "wk=k&uid=%FF&aid=%FF&gid=%FF&mid=%FF&utm_id=1", {}),
    ("typed values", "page", f"{ANY}&p.n=1.5&p.t=true&p.l.0=1", {"typed_values": True}),
]


@pytest.mark.parametrize(("type", "query", "options"), [pytest.param(*row[1:], id=row[0]) for row in REQUESTS])
def test_events(type: str, query: str, options: dict[str, Any]) -> None:
    event = pixelcore.event(type, query, **options)
    EVENTS.validate(json.loads(event))
    assert msgspec.json.decode(event, type=Event) == json.loads(event), "the type keeps every member"


def test_every_member_is_in_some_event() -> None:
    def paths(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        for name in schema.get("properties", {}):
            if value is None or name in value:
                yield f"{path}.{name}"
                yield from paths(None if value is None else value[name], schema["properties"][name], f"{path}.{name}")

    schema = model.schema(Event)
    definitions = schema["$defs"]
    found = {
        path
        for _, kind, query, options in REQUESTS
        for path in paths(json.loads(pixelcore.event(kind, query, **options)), schema)
    }
    # Only a key file's keys have pipelines, which look persons up, and only a server has unreadable headers: see the collector below.
    assert found | {".pipelineId", ".context.unreadable", ".context.consent.mode"} == set(paths(None, schema))


TEXTS = st.text(max_size=8) | st.sampled_from(["", "%", "%00", "%22", "+", "\u200b", "1740493800000", "true"])
NAMES = st.sampled_from(
    [
        "wk",
        "e",
        "uid",
        "aid",
        "gid",
        "mid",
        "ts",
        "p.a",
        "p.a.b",
        "p.0",
        "t.x",
        "amp;p.z",
        "cb",
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "utm_term",
        "utm_content",
    ]
) | st.text(max_size=4)


@given(
    st.sampled_from(get_args(model.Type)),
    st.lists(st.tuples(NAMES, TEXTS)),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("ip", "user_agent", "referer", "locale", "gpc", "dnt", "purpose"), TEXTS)
        | {"typed_values": st.booleans()},
    ),
)
def test_whatever_comes_in_fits(type: str, pairs: list[tuple[str, str]], options: dict[str, Any]) -> None:
    query = "wk=k&e=E&" + "&".join(f"{name}={value}" for name, value in pairs)
    event = pixelcore.event(type, query.encode("utf-8", "replace"), **options)
    EVENTS.validate(json.loads(event))


def test_reasons() -> None:
    names = Counters().slots()
    reasons = [name.split()[2] for name in names if name.startswith("requests track ")]
    assert [reason for reason in reasons if reason not in ("accepted", "lost")] == list(get_args(model.Reason))


def test_what_the_collector_writes(tmp_path: Path) -> None:
    events, rejections = (pixelcore.Journal(tmp_path / name) for name in ("events", "rejections"))
    collector = pixelcore.Collector(events, rejections)
    collector.set_keys('[[pipeline]]\nid = "pip_x"\nkey = "dk_test_k"\n')
    known = ANY.replace("wk=k", "wk=dk_test_k")
    for kind, query in (("track", known), ("none", ANY), ("track", ANY), ("track", "wk=dk_test_k"), ("", "wk=%FF")):
        collector.collect(kind, query, "192.0.2.1:1", ("x", True, None, None, "1"))
    (event,) = pixelcore.JournalReader(Path(events.path)).lines(10, 1 << 20)
    EVENTS.validate(json.loads(event))
    decoded = msgspec.json.decode(event, type=Event)
    assert (decoded.get("pipelineId"), decoded["context"].get("unreadable")) == ("pip_x", ["referer"])
    records = pixelcore.JournalReader(Path(rejections.path)).lines(10, 1 << 20)
    assert len(records) == 4
    for record in records:
        REJECTIONS.validate(json.loads(record))
        assert msgspec.json.decode(record, type=Rejection) == json.loads(record)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("another type", {"type": "alias"}),
    ("a time without milliseconds", {"timestamp": "2025-02-25T14:30:00Z"}),
    ("a key of two words", {"pipelineKey": "a b"}),
    ("an empty id", {"userId": ""}),
    ("a null", {"anonymousId": None}),
    ("a list of properties", {"properties": []}),
    ("a member that is none", {"userid": "u"}),
    ("no library", {"context": {}}),
]


@pytest.mark.parametrize("members", [pytest.param(row[1], id=row[0]) for row in WRONG])
def test_what_does_not_fit(members: dict[str, Any]) -> None:
    event = json.loads(pixelcore.event("track", ANY))
    assert EVENTS.is_valid(event)
    assert not EVENTS.is_valid(event | members)


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schemas(name: str) -> None:
    """Those of the documentation are those that ``pixelcore schema`` prints."""
    published = ROOT / "docs" / f"{name}.schema.json"
    text = json.dumps(model.schema(SCHEMAS[name]), indent=2, ensure_ascii=False) + "\n"
    Draft202012Validator.check_schema(json.loads(text))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        published.write_text(text)
    assert published.read_text() == text
