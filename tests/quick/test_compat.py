"""``compat``: the pixel URLs of Segment and RudderStack, as described in docs/migration.md."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pixelcore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.compat import BOTH, DOCUMENTED, SPELLINGS, encoded, page, read, reason_of, said
from tests.support.events import AT, LIBRARY, cases


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row['rival']}: {row['name']}") for row in DOCUMENTED])
def test_documented_urls(row: dict[str, Any]) -> None:
    """Over HTTP they are in test_compat_http.py; here, that one name is enough, and none is not."""
    url = urlsplit(row["url"])
    event = read(url.query, url.path.rpartition("/")[2], compat=[row["rival"]])
    for name in ("messageId", "timestamp", "receivedAt"):
        del event[name]
    assert event == {"context": {"library": LIBRARY}, **row["event"]}
    for off in ([], ["rudderstack"] if "data=" in url.query else []):
        assert reason_of(url.query, row["event"]["type"], compat=off) == "missing_key"


KEY = {"writeKey": "YOUR_WRITE_KEY"}
# The payloads of Segment's pages on the Pixel and the HTTP API, the type, and the event. Of the last three `context.ip`
# is left out: the reader's address is the gateway's to say.
PAYLOADS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "track",
        {
            **KEY,
            "userId": "user_123",
            "event": "Email Opened",
            "properties": {"subject": "The Electric Daily", "email": "jane.kim@example.com"},
        },
        {
            "event": "Email Opened",
            "userId": "user_123",
            "properties": {"subject": "The Electric Daily", "email": "jane.kim@example.com"},
        },
    ),
    (
        "track",
        {
            "userId": "019mr8mf4r",
            "event": "Item Purchased",
            "properties": {"name": "Leap to Conclusions Mat", "revenue": 14.99},
            "context": {"ip": "24.5.68.47"},
            "timestamp": "2012-12-02T00:30:12.984Z",
            **KEY,
        },
        {
            "event": "Item Purchased",
            "timestamp": "2012-12-02T00:30:12.984Z",
            "userId": "019mr8mf4r",
            "properties": {"name": "Leap to Conclusions Mat", "revenue": 14.99},
        },
    ),
    (
        "page",
        {"userId": "019mr8mf4r", "name": "Tracking HTTP API", "timestamp": "2012-12-02T00:31:29.738Z", **KEY},
        {"name": "Tracking HTTP API", "timestamp": "2012-12-02T00:31:29.738Z", "userId": "019mr8mf4r"},
    ),
    (
        "identify",
        {
            "userId": "019mr8mf4r",
            "traits": {"email": "pgibbons@example.com", "name": "Peter Gibbons", "industry": "Technology"},
            "context": {"ip": "24.5.68.47"},
            "timestamp": "2012-12-02T00:30:08.276Z",
            **KEY,
        },
        {
            "timestamp": "2012-12-02T00:30:08.276Z",
            "userId": "019mr8mf4r",
            "traits": {"email": "pgibbons@example.com", "name": "Peter Gibbons", "industry": "Technology"},
        },
    ),
    (
        "group",
        {
            "userId": "019mr8mf4r",
            "groupId": "8e9df332ac",
            "traits": {"name": "Initech", "industry": "Technology", "employees": 420},
            "timestamp": "2012-12-02T00:31:38.208Z",
            **KEY,
        },
        {
            "timestamp": "2012-12-02T00:31:38.208Z",
            "userId": "019mr8mf4r",
            "groupId": "8e9df332ac",
            "traits": {"name": "Initech", "industry": "Technology", "employees": 420},
        },
    ),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("type", "payload", "expected"), PAYLOADS)
def test_documented_payloads(type: str, payload: dict[str, Any], expected: dict[str, Any], spelling: str) -> None:
    event = read(encoded(json.dumps(payload, indent=2), spelling), type, ip="203.0.113.7")
    assert (event.pop("type"), event.pop("pipelineKey")) == (type, "YOUR_WRITE_KEY")
    assert event.pop("context") == {"ip": "203.0.113.7", "library": LIBRARY}
    event["context"] = {"library": LIBRARY}
    assert said({"type": "page", "pipelineKey": "k", **event}) == expected


SENT_AT = "2025-02-25T14:00:00.5+01:00"
DATA: list[tuple[str, Any, Any]] = [
    ("no more than a key", page(""), {}),
    ("types are kept", page('"properties":{"a":1.10,"b":true,"c":null,"d":"","e":[],"f":{}}'),
        {"properties": {"a": 1.1, "b": True, "c": None, "d": "", "e": [], "f": {}}}),
    ("an empty object is absent", page('"properties":{ },"traits":{},"context":{}'), {}),
    ("null is absent", page('"name":null,"userId":null,"properties":null,"traits":null,"context":null'), {}),
    ("an empty text is absent", page('"name":"","userId":" ","anonymousId":"\\u200b","timestamp":""'), {}),
    ("ids are trimmed", page('"userId":" u\\u0000","anonymousId":"\\"a\\"","groupId":"\\tg"'),
        {"userId": "u", "anonymousId": "a", "groupId": "g"}),
    ("numbers are their digits", page('"userId":1234567890123456789,"groupId":1.50,"messageId":-1e2,"name":7'),
        {"userId": "1234567890123456789", "groupId": "1.50", "messageId": "-1e2", "name": "7"}),
    ("nothing is decoded twice", page('"name":"a+b%20c&e=x","userId":"100%25"'),
        {"name": "a+b%20c&e=x", "userId": "100%25"}),
    ("of duplicates the last", page('"userId":"a","userId":"b","properties":{"x":1},"properties":{"x":2}'),
        {"userId": "b", "properties": {"x": 2}}),
    ("the last, if it is null, too", page('"userId":"a","userId":null'), {}),
    ("an escaped name is that name", page('"\\u0075serId":"a"'), {"userId": "a"}),
    ("the path says the type", page('"type":"track","event":"E"'), {}),
    ("a member without a name", page('"":[]'), {}),
    ("unknown members", page('"integrations":{"All":true},"channel":"web","category":"c","version":2,"sentAt":"x"'), {}),
    ("a time with an offset", page(f'"timestamp":"{SENT_AT}"'), {"timestamp": "2025-02-25T13:00:00.500Z"}),
    ("Unix milliseconds, as in ts", page('"timestamp":1740493800000'), {"timestamp": "2025-02-25T14:30:00.000Z"}),
    ("originalTimestamp is the second choice", page(f'"originalTimestamp":"{SENT_AT}","timestamp":null'),
        {"timestamp": "2025-02-25T13:00:00.500Z"}),
    ("timestamp is the first", page(f'"originalTimestamp":"2001-01-01T00:00:00Z","timestamp":"{SENT_AT}"'),
        {"timestamp": "2025-02-25T13:00:00.500Z"}),
    *(
        (f"no time: {text}", page(f'"timestamp":{json.dumps(text)}'), {"context": {"repaired": {"ts": text}}})
        for text in ("2025-02-25T14:00:00", "2025-02-25", "yesterday", "1999-12-31T23:59:59Z", "2025-02-26T13:30:02Z")
    ),
    ("a context", page('"context":{"page":{"title":"T"},"app":{"v":[1]},"timezone":"UTC"}'),
        {"context": {"page": {"title": "T"}, "app": {"v": [1]}, "timezone": "UTC"}}),
    ("what is not the sender's to say", page('"context":{"ip":"192.0.2.1","consent":{},"client":1,"repaired":{"ts":1}}'), {}),
    ("its library", page('"context":{"library":{"name":"mine","version":"1"}}'),
        {"context": {"library": {"name": "mine", "version": "1"}}}),
    *(
        (f"a member of its context that does not fit: {member}", page(f'"context":{{{member}}}'), {})
        for member in (
            '"library":"x"', '"library":{"name":"mine"}', '"library":{"name":"mine","version":2}', '"page":1', '"page":[]',
            '"page":{"url":1}', '"page":{"url":""}', '"userAgent":{}', '"userAgent":["x"]', '"locale":true', '"campaign":"x"',
            '"campaign":{"source":{}}', '"campaign":{"id":null}', '"unreadable":["x"]', '"signed":true', '"sealed":true',
        )
    ),
    ("a name in its query that does not fit", "writeKey=k&context.library=x&context.page=y", {}),
    ("a name twice", page('"context":{"page":1,"page":{"title":"T"},"x":{"a":1,"a":2}},"traits":{"y":[{"b":1,"b":{}}],"y":[]}'),
        {"context": {"page": {"title": "T"}, "x": {"a": 2}}, "traits": {"y": []}}),
    ("an empty library is none", page('"context":{"library":null,"locale":"","page":{}}'), {}),
    ("bytes that are not UTF-8", encoded(b'{"writeKey":"k","properties":{"\xe9":"\xff\xff"}}'),
        {"properties": {"\ufffd": "\ufffd\ufffd"}}),
    ("lone surrogates", page(r'"name":"\ud800","properties":{"\udc00":["\ud83d\ude00\ud83d"]}'),
        {"name": "\ufffd", "properties": {"\ufffd": ["\U0001f600\ufffd"]}}),
    ("NUL", page(r'"userId":"a\u0000b","properties":{"\u0000":"\u0000"}'),
        {"userId": "a\0b", "properties": {"\0": "\0"}}),
    ("white space between tokens", encoded('\r\n{ "writeKey" :\t"k" ,\n"properties":{ "a b" : [ 1 ,\n 2 ] }\n}\n'),
        {"properties": {"a b": [1, 2]}}),
    ("any padding", page("").rstrip("=") + "====", {}),
    ("a plus that became a space", encoded('{"writeKey":"k","name":"\u00fb\u00ff>"}').replace("%2B", " "),
        {"name": "\u00fb\u00ff>"}),
    ("the first that is not empty", f"data=&{page('')}&data=x", {}),
    ("amp;", f"amp;{page('')}", {}),
    ("an encoded name", page("").replace("data", "%64ata"), {}),
    ("utm beside it", f"{page('')}&utm_source=mail", {"context": {"campaign": {"source": "mail"}}}),
    ("a campaign of its own", page('"context":{"campaign":{"name":"n"}}') + "&utm_source=mail",
        {"context": {"campaign": {"name": "n"}}}),
    ("parameters beside it win", page('"userId":"a","groupId":"g","timestamp":1') + f"&uid=b&timestamp={AT}",
        {"userId": "b", "groupId": "g"}),
    ("its objects stand for dotted ones", page('"properties":{"a":1}') + "&p.b=2&properties.c=3&t.d=4",
        {"properties": {"a": 1}, "traits": {"d": "4"}}),
    ("a wk makes it an unknown name", "wk=k&data=x&p.a=1", {"properties": {"a": "1"}}),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), cases(DATA))
def test_data(query: str, expected: dict[str, Any]) -> None:
    assert said(read(query)) == expected


MALFORMED: list[tuple[str, str]] = [
    ("no base64", "data=%7B%22writeKey%22:%22k%22%7D"),
    ("a letter too many", page("") + "A"),
    ("cut off", page("")[:-8]),
    ("no JSON", encoded("writeKey=k")),
    ("two of them", encoded('{"writeKey":"k"}{}')),
    ("an array", encoded('[{"writeKey":"k"}]')),
    ("a text", encoded('"k"')),
    ("nothing", "data=%3D"),
    ("a newline in a string", page('"name":"\n"')),
    ("half an escape", page(r'"name":"\ud8"')),
    ("a comma too many", page('"name":"a",')),
    *((f"{name} is {value}", page(f'"{name}":{value}')) for name, value in [
        ("writeKey", "[]"), ("userId", "true"), ("anonymousId", "{}"), ("groupId", "[1]"), ("messageId", "false"),
        ("name", '{"a":1}'), ("timestamp", "[]"), ("properties", "[]"), ("properties", '"x"'), ("traits", "1"),
        ("context", "true"),
    ]),
    ("a number that nobody can hold", page('"properties":{"a":1e999}')),
    ("a number of 5,000 digits", page('"properties":{"a":' + "1" * 5000 + "}")),
    ("beside a long key", page('"userId":[]') + "&writeKey=k"),
]  # fmt: skip


@pytest.mark.parametrize("query", [pytest.param(query, id=name) for name, query in MALFORMED])
def test_malformed_data(query: str) -> None:
    assert reason_of(query) == "malformed_data"
    assert reason_of(query, compat=()) == "missing_key" or "writeKey" in query
    pixelcore.event("page", f"{query}&wk=k", compat=BOTH)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


REJECTED: list[tuple[str, str, str]] = [
    ("missing_key", "{}", "page"),
    ("missing_key", '{"writeKey":" "}', "page"),
    ("malformed_key", '{"writeKey":"a.b"}', "page"),
    ("missing_event", '{"writeKey":"k"}', "track"),
    ("missing_event", '{"writeKey":"k","name":"E"}', "track"),
    ("missing_event", '{"writeKey":"k","event":null}', "track"),
    ("too_deep", f'{{"writeKey":"k","properties":{nested(33)}}}', "page"),
    ("too_deep", f'{{"writeKey":"k","context":{nested(33)}}}', "page"),
    ("too_deep", f'{{"writeKey":"k","properties":{{"a":{"[" * 1000}{"]" * 1000}}}}}', "page"),
    ("query_too_long", f'{{"writeKey":"k","x":"{"x" * 6200}"}}', "page"),
    ("unknown_type", '{"writeKey":"k"}', "screen"),
]


@pytest.mark.parametrize(("reason", "payload", "type"), REJECTED)
def test_rejected(reason: str, payload: str, type: str) -> None:
    assert reason_of(encoded(payload), type) == reason


def test_only_pages_and_tracks_have_names() -> None:
    for kind in ("identify", "group"):
        event = read(page('"event":[],"name":{},"":[]'), kind)
        assert not {"event", "name"} & {*event}


def test_limits() -> None:
    """As deep as a dotted name may be, and as many parameters as were sent."""
    assert read(encoded(f'{{"writeKey":"k","properties":{nested(32)}}}'))["properties"] == json.loads(nested(32))
    assert read("writeKey=k&context." + ".".join("a" * 32))["context"]["a"]
    assert reason_of("writeKey=k&context." + ".".join("a" * 33)) == "too_deep"
    many = page('"userId":1,"groupId":2')
    assert read(many + "&x" * 255)["groupId"] == "2"
    assert reason_of(many + "&x" * 256) == "too_many_parameters"
    assert reason_of("data=x" + "&x" * 256) == "too_many_parameters", "the first in order"
    for depth in (200, 500_000):  # beyond what recursive parsers take
        deep = encoded(f'{{"writeKey":"k","properties":{nested(depth)}}}')
        limits: dict[str, Any] = {"max_query_bytes": 1 << 24}
        assert reason_of(deep, **limits) == "too_deep"
        assert b'{"a":' * depth in pixelcore.event("page", deep, max_depth=depth, compat=BOTH, **limits)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON), st.booleans(), st.sampled_from([None, 1]), st.sampled_from([*SPELLINGS]))
@example({"a\ud800": "\udc00\ud800", "?>~": "\u00ff\u00fe"}, True, None, "standard")
def test_any_object_comes_back(properties: dict[str, Any], ascii: bool, indent: int | None, spelling: str) -> None:
    """Python's own reading is the oracle: of the JSON, and of the base64."""
    text = json.dumps({"writeKey": "k", "properties": properties}, ensure_ascii=ascii, indent=indent)
    event = read(encoded(text, spelling), max_query_bytes=1 << 20)
    # Each lone surrogate is one U+FFFD where it was escaped; as bytes it is three that are not UTF-8.
    whole = text if ascii else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    escaped = json.dumps(json.loads(whole), ensure_ascii=False).encode("utf-16-le", "surrogatepass")
    expected = json.loads(escaped.decode("utf-16-le", "replace"))
    assert event.get("properties", {}) == expected["properties"]


@given(
    st.binary() | st.text().map(lambda text: b'{"writeKey":"k",' + text.encode() + b"}"), st.sampled_from([*SPELLINGS])
)
def test_any_bytes_are_an_event_or_a_rejection(content: bytes, spelling: str) -> None:
    try:
        expected = json.loads(content.decode("utf-8", "replace"))
        known = isinstance(expected, dict)
    except ValueError:
        known = False
    if not content:
        assert reason_of(encoded(content, spelling)) == "missing_key"
    elif not known:
        assert reason_of(encoded(content, spelling)) == "malformed_data"
