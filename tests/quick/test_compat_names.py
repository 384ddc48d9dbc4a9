"""``compat``: the long names, and the gate that foreign requests go through like any other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pixelcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracle
from tests.support.compat import BOTH, encoded, page, read, reason_of, said
from tests.support.events import AT, LIBRARY, cases
from tests.support.queries import QUERIES
from tests.support.servers import journal_lines

LONG: list[tuple[str, Any, Any]] = [
    ("ids", "writeKey=+k&userId=+u&anonymousId=%22a%22&groupId=g&messageId=m&name=N",
        {"name": "N", "messageId": "m", "userId": "u", "anonymousId": "a", "groupId": "g"}),
    ("values stay strings", "writeKey=k&properties.a=1&traits.b=true&context.c=2",
        {"properties": {"a": "1"}, "traits": {"b": "true"}, "context": {"c": "2"}}),
    ("nesting is the native one", "writeKey=k&properties.a=1&properties.a.b=2&properties.i.1=y&properties.i.0=x&properties.a=3",
        {"properties": {"a": {"": ["1", "3"], "b": "2"}, "i": ["x", "y"]}}),
    ("of the context, too", "writeKey=k&context.a.0=1&context.a.1=2&context.b=1&context.b=2&context.0=x",
        {"context": {"a": ["1", "2"], "b": ["1", "2"], "0": "x"}}),
    ("in the order of the query, whatever the name", "wk=k&p.a=1&properties.a=2&p.a=3", {"properties": {"a": ["1", "2", "3"]}}),
    ("encoded names", "write%4Bey=k&properties%2Ea%2Eb=1&properties.caf%C3%A9+%26%3D=2&context%2Ea=3",
        {"properties": {"a": {"b": "1"}, "caf\u00e9 &=": "2"}, "context": {"a": "3"}}),
    ("amp;", "amp;writeKey=k&amp;properties.a=1&amp;context.b=2&amp;userId=u",
        {"userId": "u", "properties": {"a": "1"}, "context": {"b": "2"}}),
    ("the native name wins", "writeKey=x&userId=x&name=x&timestamp=1&wk=k&uid=u&e=E&ts=1740493800000",
        {"name": "E", "timestamp": "2025-02-25T14:30:00.000Z", "userId": "u"}),
    ("unless it is empty", "wk=&uid=+&writeKey=k&userId=u", {"userId": "u"}),
    ("the first that is not empty", "writeKey=&writeKey=k&writeKey=x&userId=+&userId=u", {"userId": "u"}),
    ("names that are none", "writeKey=k&writekey=x&properties=1&context=2&traits=3&Properties.a=4&event=E&random=5&type=x", {}),
    ("no JSON in a text", 'writeKey=k&properties.a={"b":1}', {"properties": {"a": '{"b":1}'}}),
    ("an empty member of the context is none", "writeKey=k&context.locale=&context.page.url=", {}),
    ("a time", "writeKey=k&timestamp=2025-02-25T14:00:00Z", {"timestamp": "2025-02-25T14:00:00.000Z"}),
    ("an offset's plus that became a space", "writeKey=k&timestamp=2025-02-25T14:00:00+01:00",
        {"context": {"repaired": {"ts": "2025-02-25T14:00:00 01:00"}}}),
    ("sentAt is no time of the event", "writeKey=k&sentAt=2025-02-25T14:00:00Z", {}),
]  # fmt: skip


@pytest.mark.parametrize("compat", [BOTH, ["segment"], ["rudderstack"]])
@pytest.mark.parametrize(("query", "expected"), cases(LONG))
def test_long_names(query: str, expected: dict[str, Any], compat: Any) -> None:
    for sent in (query, query.encode()):
        assert said(read(sent, compat=compat)) == expected


def test_typed_values_of_long_names() -> None:
    event = read("writeKey=k&properties.a=1&context.screen.width=390&context.zip=007", typed_values=True)
    assert (event["properties"], event["context"]["screen"], event["context"]["zip"]) == (
        {"a": 1},
        {"width": 390},
        "007",
    )


def test_what_the_sender_says_of_the_reader_stands_for_the_headers() -> None:
    sent = {"locale": "fr", "userAgent": "AMP", "page": {"title": "T"}, "ip": "192.0.2.1"}
    own: dict[str, Any] = {
        "ip": "203.0.113.7",
        "userAgent": "Mozilla/5.0 (via ggpht.com GoogleImageProxy)",
        "referer": "https://example.com/",
        "locale": "de",
        "dnt": "1",
    }
    dotted = "&".join(f"context.{name}={value}" for name, value in sent.items() if name != "page")
    options = {**{name: value for name, value in own.items() if name != "userAgent"}, "user_agent": own["userAgent"]}
    for query in (page(f'"context":{json.dumps(sent)}'), f"writeKey=k&{dotted}&context.page.title=T"):
        assert read(query, **options)["context"] == {
            "ip": "203.0.113.7",
            "consent": {"dnt": True},
            "client": {"name": "gmail", "automated": False},
            "locale": "fr",
            "userAgent": "AMP",
            "page": {"title": "T"},
            "library": LIBRARY,
        }


@given(st.sampled_from(["track", "page", "identify", "group", "x"]), QUERIES)
def test_native_queries_are_read_as_ever(type: str, query: str) -> None:
    def outcome(compat: Any) -> bytes | str:
        try:
            return pixelcore.event(type, f"mid=m&{query}", received_at=AT, max_depth=4, compat=compat)
        except pixelcore.Rejected as rejected:
            return rejected.reason

    assert outcome(BOTH) == outcome(())


@given(QUERIES)
def test_long_names_are_the_short_ones(query: str) -> None:
    """The oracle is a query in which they are replaced."""
    renamed = query.replace("&p.", "&properties.").replace("&t.", "&traits.")
    renamed = re.sub(r"(^|&|&amp;)wk=", r"\1writeKey=", renamed)
    renamed = renamed.replace("&uid=", "&userId=").replace("&aid=", "&anonymousId=").replace("&gid=", "&groupId=")
    reason = oracle.rejection("identify", query, max_bytes=8192, max_parameters=256, max_depth=32)
    if reason is not None:
        assert reason_of(renamed, "identify") == reason
    else:
        options: Any = {"received_at": AT}
        native = json.loads(pixelcore.event("identify", f"mid=m&{query}", **options))
        assert read(f"mid=m&{renamed}", "identify") == native


def test_names_that_are_none() -> None:
    for names in (["Segment"], ["segment", "snowplow"], [""]):
        with pytest.raises(ValueError, match="'segment', 'rudderstack' or both"):
            pixelcore.event("page", "wk=k", compat=names)  # type: ignore[arg-type]


def collector(directory: Path, **options: Any) -> pixelcore.Collector:
    events, rejections = (pixelcore.Journal(directory / name) for name in ("events", "rejections"))
    return pixelcore.Collector(events, rejections, **options)


def collect(collector: pixelcore.Collector, query: str, *, gpc: str | None = None) -> str | None:
    return collector.collect("page", query, "203.0.113.7:1", ("A", None, None, gpc))


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_lines(directory)]


PERSONAL = '"userId":"u-mine","anonymousId":"a-mine","traits":{"t":"t-mine"},"context":{"device":{"id":"d-mine"}}'


def test_keys_and_privacy(tmp_path: Path) -> None:
    """Foreign requests go through the same gate."""
    gate = collector(tmp_path, compat=BOTH, respect_gpc=True)
    assert gate.set_keys('[[pipeline]]\nid = "pip_1"\nwrite_key = "k"\n') == 1
    assert collect(gate, encoded('{"writeKey":"other"}')) == "unknown_key"
    assert collect(gate, "writeKey=other") == "unknown_key"
    query = page(PERSONAL + ',"properties":{"a":1}')
    assert [collect(gate, query, gpc=gpc) for gpc in (None, "1")] == [None, None]
    assert collect(gate, "writeKey=k&userId=u-mine&traits.a=t-mine&context.device.id=d-mine", gpc="1") is None
    open_, private, dotted = lines(tmp_path / "events")
    assert open_["pipelineId"] == private["pipelineId"] == "pip_1"
    assert open_["context"]["device"] == {"id": "d-mine"}
    assert private["properties"] == {"a": 1}
    for event in (private, dotted):
        assert "mine" not in json.dumps(event)
        assert event["context"] == {"consent": {"gpc": True}, "library": LIBRARY}


@pytest.mark.parametrize(
    "query",
    [page('"properties":{"a":{"b":{"c":1}}},"messageId":"m"'), "data=%2B%ff\u00e9", "writeKey=k&context.a.b.c=1"],
)
def test_records_are_read_again(tmp_path: Path, query: str) -> None:
    """A rejection keeps the query as it was sent."""
    strict, wide, plain = (
        collector(tmp_path / "strict", compat=BOTH, max_depth=2),
        collector(tmp_path / "wide", compat=BOTH),
        collector(tmp_path / "plain"),
    )
    reason = collect(strict, query)
    assert reason in ("too_deep", "malformed_data")
    (record,) = lines(tmp_path / "strict" / "rejections")
    assert record["query"] == query
    line = json.dumps(record).encode()
    with pytest.raises(pixelcore.Rejected, match="missing_key"):
        plain.replay(line)
    if reason == "too_deep":
        event = json.loads(wide.replay(line))
        assert (event["pipelineKey"], event["receivedAt"]) == ("k", record["receivedAt"])
        assert ("properties" in event) != ("a" in event["context"])
