"""Sections 2 and 4 of the contract: the event that `pixelcore.event` makes of a request."""

from __future__ import annotations

import json
import re
import time
from itertools import chain
from typing import Any

import pixelcore
import pytest

from tests.support import oracle
from tests.support.events import AT, AT_TEXT, LIBRARY, cases

HOUR = 3_600_000
LAST = f'"library":{{"name":"pixelcore","version":"{pixelcore.__version__}"}}}}}}'  # how every event ends


def read(query: str | bytes, type: str = "page", **options: Any) -> dict[str, Any]:
    """The event of a page with a key and a message identity: the least there is, and then ``query``."""
    options = {"received_at": AT, **options}
    event: dict[str, Any] = json.loads(pixelcore.event(type, b"wk=k&mid=m&" + oracle.to_bytes(query), **options))
    return event


def extras(event: dict[str, Any]) -> dict[str, Any]:
    """``event`` without what `read` asked for itself, after a look at it."""
    least = {"type": "page", "messageId": "m", "timestamp": AT_TEXT, "receivedAt": AT_TEXT, "pipelineKey": "k"}
    assert {name: event.pop(name) for name in least} == least
    assert event["context"].pop("library") == LIBRARY
    return {name: value for name, value in event.items() if name != "context" or value}


def test_the_contracts_example() -> None:
    query = "wk=dk_live_abc123&e=Email+Opened&uid=user_98765&p.campaign.id=camp_001&p.tag=a&p.tag=b"
    query += "&ts=1740493800000&mid=a1b2c3d4"
    expected = (
        '{"type":"track","event":"Email Opened","messageId":"a1b2c3d4","timestamp":"2025-02-25T14:30:00.000Z",'
        '"receivedAt":"2025-02-25T14:30:01.250Z","pipelineKey":"dk_live_abc123","userId":"user_98765","properties":'
        '{"campaign":{"id":"camp_001"},"tag":["a","b"]},"context":{"ip":"203.0.113.7","userAgent":"Thunderbird/140.0",'
    ) + LAST
    for sent in (query, query.encode()):
        event = pixelcore.event("track", sent, ip="203.0.113.7", user_agent="Thunderbird/140.0", received_at=AT)
        assert event.decode() == expected


NAMES = [("track", '"event":"E",'), ("page", '"name":"E",'), ("identify", ""), ("group", "")]


@pytest.mark.parametrize(("type", "name"), NAMES)
def test_order_of_members(type: str, name: str) -> None:
    """Everything at once, sent in another order than it is written in."""
    headers: dict[str, Any] = {
        "ip": "::1",
        "user_agent": "A",
        "referer": "https://b.example/?c=d",
        "locale": "de-DE,de;q=0.9",
    }
    query = "cb=1&utm_content=c&utm_term=t&utm_campaign=n&utm_medium=m&utm_source=s&ts=bad&t.plan=pro&p.b=1&p.a=2"
    query += "&gid=g&aid=%22a%22&uid=u&mid=m&e=E&wk=k"
    expected = (
        f'{{"type":"{type}",{name}"messageId":"m","timestamp":"{AT_TEXT}","receivedAt":"{AT_TEXT}","pipelineKey":"k",'
        '"userId":"u","anonymousId":"a","groupId":"g","properties":{"b":"1","a":"2"},"traits":{"plan":"pro"},'
        '"context":{"ip":"::1","userAgent":"A","locale":"de-DE","page":{"url":"https://b.example/?c=d"},'
        '"campaign":{"source":"s","medium":"m","name":"n","term":"t","content":"c"},'
        '"consent":{"gpc":true,"dnt":true},"repaired":{"ts":"bad"},'
    ) + LAST
    assert pixelcore.event(type, query, **headers, gpc="1", dnt="1", received_at=AT).decode() == expected


FIELDS: list[tuple[str, str | bytes, dict[str, Any]]] = [
    ("nothing more", "", {}),
    ("identities", "uid=u&aid=a&gid=g", {"userId": "u", "anonymousId": "a", "groupId": "g"}),
    ("empty counts as absent", "uid=&aid&gid=", {}),
    ("invisible counts as absent", "uid=+%09&aid=%E2%80%8B&gid=%C2%AD", {}),
    ("trimmed, but not within", "uid=++u++v+&gid=%0Ag%00", {"userId": "u  v", "groupId": "g"}),
    ("the first non-empty counts", "uid=&uid&uid=a&uid=b&uid=", {"userId": "a"}),
    ("what trims to nothing is empty", "uid=+&uid=a&aid=%22%22&aid=b", {"userId": "a", "anonymousId": "b"}),
    ("amp; before reserved names", "amp;uid=a&uid=b&amp;e=E", {"userId": "a", "name": "E"}),
    ("an escaped amp;", "amp%3Buid=a&amp;amp;gid=g", {"userId": "a", "groupId": "g"}),
    ("names are matched after decoding", "%75i%64=a", {"userId": "a"}),
    ("names are case-sensitive", "UID=u&Uid=u&GID=g&P.a=1&UTM_SOURCE=s&E=E", {}),
    ("names are not trimmed", "+uid=u&uid+=u&uid%00=u", {}),
    ("not UTF-8", b"uid=%FF\xc3", {"userId": "\ufffd\ufffd", "context": {"repaired": {"userId": "%FF%C3"}}}),
    ("U+FFFD that was sent", "uid=%EF%BF%BD", {"userId": "\ufffd"}),
    (
        "two people",
        b"mid=m&gid=M%F6ller&t.a=%F6",
        {"groupId": "M\ufffdller", "traits": {"a": "\ufffd"}, "context": {"repaired": {"groupId": "M%F6ller"}}},
    ),
    ("JSON in values", "uid=%22%5C%0A&e=%0A%22", {"userId": '"\\', "name": '"'}),
    ("name of a page", "e=Home", {"name": "Home"}),
    ("first non-empty name", "e=&e=Home&e=Other", {"name": "Home"}),
    ("aid quoted", "aid=%22amp-x%22", {"anonymousId": "amp-x"}),
    ("aid trimmed around the quotes", "aid=+%22x%22%0A", {"anonymousId": "x"}),
    ("aid trimmed within the quotes", "aid=%22+x+%22", {"anonymousId": "x"}),
    ("aid loses one pair only", "aid=%22%22x%22%22", {"anonymousId": '"x"'}),
    ("aid with a quote at the start", "aid=%22x", {"anonymousId": '"x'}),
    ("aid with a quote at the end", "aid=x%22", {"anonymousId": 'x"'}),
    ("aid with quotes in the midst", "aid=x%22%22y", {"anonymousId": 'x""y'}),
    ("one quote is no pair", "aid=%22", {"anonymousId": '"'}),
    ("an empty pair", "aid=%22%22", {}),
    ("an empty pair after trimming", "aid=%22+%22", {}),
    ("other quotes stay", "aid='x'", {"anonymousId": "'x'"}),
    ("only aid loses quotes", "uid=%22u%22&gid=%22g%22", {"userId": '"u"', "groupId": '"g"'}),
    ("properties and traits", "t.b=2&p.a=1&t.c.0=3", {"properties": {"a": "1"}, "traits": {"b": "2", "c": ["3"]}}),
    ("empty properties are kept", "p.a=&p.b", {"properties": {"a": "", "b": ""}}),
    ("properties are not trimmed", "p.+a=+1+", {"properties": {" a": " 1 "}}),
    ("p and t without a dot", "p=1&t=2&p&t", {}),
    ("p. is the empty member", "p.=1&t.=2", {"properties": {"": "1"}, "traits": {"": "2"}}),
    ("reserved names mean nothing below p.", "p.uid=1&p.p.a=2", {"properties": {"uid": "1", "p": {"a": "2"}}}),
    ("unknown names", "cb=1&x=2&utm_ids=3&type=4&event=5&messageId=6&receivedAt=7&context.ip=8&properties.a=9&=", {}),
    ("campaign", "utm_campaign=n&utm_source=s", {"context": {"campaign": {"source": "s", "name": "n"}}}),
    ("utm_id", "utm_id=3", {"context": {"campaign": {"id": "3"}}}),
    ("name trimmed, but not within", "e=+%09A++B%E2%80%8B%0D%0A", {"name": "A  B"}),
    ("empty utm", "utm_source=&utm_term=t", {"context": {"campaign": {"term": "t"}}}),
    ("only empty utm", "utm_source=&utm_medium", {}),
    ("first non-empty utm", "utm_source=&utm_source=a&utm_source=b", {"context": {"campaign": {"source": "a"}}}),
    ("utm has no members", "utm_source.a=1&utm=2&utm_=3&xutm_source=4", {}),
]


@pytest.mark.parametrize(("input", "expected"), cases(FIELDS))
def test_fields(input: str | bytes, expected: dict[str, Any]) -> None:
    assert extras(read(input)) == expected


CONTEXTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nothing", {"ip": None, "user_agent": None, "referer": None, "locale": None, "gpc": None, "dnt": None}, {}),
    ("empty headers", {"ip": "", "user_agent": "", "referer": "", "locale": "", "gpc": "", "dnt": ""}, {}),
    ("ip as it is", {"ip": "2001:DB8::7"}, {"ip": "2001:DB8::7"}),
    ("user agent", {"user_agent": 'a "b" \\c\t\u00e9'}, {"userAgent": 'a "b" \\c\t\u00e9'}),
    ("referer", {"referer": "https://example.com/a?b=%20"}, {"page": {"url": "https://example.com/a?b=%20"}}),
    ("one language", {"locale": "en"}, {"locale": "en"}),
    ("the first, not the best", {"locale": "de;q=0.1,en"}, {"locale": "de"}),
    ("white space around a language", {"locale": " fr-CH ; q=0.9 , fr"}, {"locale": "fr-CH"}),
    ("any language", {"locale": "*;q=0.5"}, {}),
    ("any language, then one", {"locale": "*, en"}, {}),
    ("a weight alone", {"locale": ";q=1"}, {}),
    ("dnt without gpc", {"gpc": "0", "dnt": "1"}, {"consent": {"dnt": True}}),
    ("gpc without dnt", {"gpc": "1", "dnt": "0"}, {"consent": {"gpc": True}}),
    ("only 1 is consent's word", {"gpc": "true", "dnt": "11"}, {}),
]


@pytest.mark.parametrize(("input", "expected"), cases(CONTEXTS))
def test_context(input: dict[str, Any], expected: dict[str, Any]) -> None:
    assert extras(read("", **input)) == ({"context": expected} if expected else {})


def test_trims_exactly_the_invisible_characters() -> None:
    """White space, controls and default-ignorables; every code point of the planes that have any."""
    wrong = []
    for code in chain(range(0xD800), range(0xE000, 0x20000), range(0xE0000, 0xF0000)):
        character = "".join(f"%{byte:02x}" for byte in chr(code).encode())
        event = pixelcore.event("group", f"wk=k&mid=m&uid={character}<{character}>{character}", received_at=AT)
        trimmed = chr(code) not in json.loads(event)["userId"].replace(f"<{chr(code)}>", "")
        if trimmed != (chr(code) in oracle.INVISIBLE):
            wrong.append(f"U+{code:04X}")
    assert wrong == []


GOOD_TIMES: list[tuple[str, str, str]] = [
    ("a second ago", "1740493800000", "2025-02-25T14:30:00.000Z"),
    ("the very moment", str(AT), AT_TEXT),
    ("the earliest", "946684800000", "2000-01-01T00:00:00.000Z"),
    ("the latest", str(AT + 23 * HOUR), "2025-02-26T13:30:01.250Z"),
    ("a leap day", "951782400007", "2000-02-29T00:00:00.007Z"),
    ("trimmed", "+1740493800000%0D%0A", "2025-02-25T14:30:00.000Z"),
]
BAD_TIMES = [
    *("946684799999", str(AT + 23 * HOUR + 1), "0"),  # one millisecond too early, one too late, never set
    *("1740493800", "1740493800000000"),  # seconds, microseconds
    *("9" * 30, str(2**63), str(2**64 + AT)),  # more than 64 bits; the last is plausible when cut to them
    *(
        "-1740493800000",
        "%2B1740493800000",
        "1740493800000.0",
        "1_740_493_800_000",
    ),
    *("\u0661\u0667\u0664\u0660\u0664\u0669\u0663\u0668\u0660\u0660\u0660\u0660\u0660", "2025-02-25T14:30:00Z"),
    *("%22now%22%00", "%7B%7Bts%7D%7D", "%FF"),  # text, an unfilled template, and what is not even that
]


@pytest.mark.parametrize(("input", "expected"), cases(GOOD_TIMES))
def test_plausible_ts(input: str, expected: str) -> None:
    event = read(f"ts={input}")
    assert (event["timestamp"], event["receivedAt"], event["context"]) == (expected, AT_TEXT, {"library": LIBRARY})


@pytest.mark.parametrize("sent", BAD_TIMES)
def test_implausible_ts_is_kept_as_text(sent: str) -> None:
    assert extras(read(f"ts={sent}")) == {"context": {"repaired": {"ts": oracle.decode(sent.encode())}}}


def test_ts_repeated() -> None:
    assert extras(read("ts=&ts=+")) == {}, "empty is absent, so there is nothing to repair"
    assert read("ts=&ts=1740493800000")["timestamp"] == "2025-02-25T14:30:00.000Z"
    assert extras(read("ts=x&ts=1740493800000")) == {"context": {"repaired": {"ts": "x"}}}, "the first counts"


@pytest.mark.parametrize("type", ["track", "page", "identify", "group"])
@pytest.mark.parametrize("received_at", [0, 1, AT, 4_102_444_799_999, None])
def test_message_identity_of_its_own(type: str, received_at: int | None) -> None:
    """A UUIDv7 in its usual spelling, whose 48 bits of time are ``receivedAt``."""
    before = time.time_ns() // 1_000_000
    events = [pixelcore.event(type, f"wk=k&e=E{mid}", received_at=received_at) for mid in ("", "&mid", "&mid=+%00")]
    after = time.time_ns() // 1_000_000
    ids = [json.loads(event)["messageId"] for event in events]
    assert len(set(ids)) == len(ids)
    for identity, event in zip(ids, events, strict=True):
        assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", identity)
        milliseconds = int(identity.replace("-", "")[:12], 16)
        assert before <= milliseconds <= after if received_at is None else milliseconds == received_at
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
        assert json.loads(event)["receivedAt"] == f"{seconds}.{milliseconds % 1000:03}Z"


def test_message_identity_as_sent() -> None:
    assert read("mid=other")["messageId"] == "m"
    assert json.loads(pixelcore.event("page", "wk=k&mid=&mid=+a+b%0A&mid=c"))["messageId"] == "a b"


@pytest.mark.parametrize("received_at", [-1, 253_402_300_800_000, 2**63 - 1, -(2**63), 2**63, -(2**70), 10**40])
def test_received_at_out_of_range(received_at: int) -> None:
    with pytest.raises(ValueError, match="received_at"):
        pixelcore.event("page", "wk=k", received_at=received_at)


def test_the_end_of_the_year_9999() -> None:
    """The latest accepted time. A later one is not plausible."""
    event = read("ts=253402207200001", received_at=253_402_207_200_000)
    assert event["timestamp"] == event["receivedAt"] == "9999-12-30T22:00:00.000Z"


def test_typed_values_are_for_properties_and_traits() -> None:
    event = read("uid=1&gid=true&e=2&utm_source=3&p.a=1&p.b=007&t.c=true&ts=5", typed_values=True)
    assert event.pop("timestamp") == event["receivedAt"]
    context = {"campaign": {"source": "3"}, "repaired": {"ts": "5"}}
    identities = {"userId": "1", "groupId": "true", "name": "2"}
    expected = {**identities, "properties": {"a": 1, "b": "007"}, "traits": {"c": True}, "context": context}
    assert extras({**event, "timestamp": AT_TEXT}) == expected


GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
CLIENTS: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("an ordinary browser", {"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"}, None),
    ("a person opened", {"user_agent": GMAIL}, {"name": "gmail", "automated": False}),
    ("a preview", {"user_agent": "Slackbot-LinkExpanding 1.0"}, {"name": "slack", "automated": True}),
    ("nobody looked yet", {"purpose": "prefetch;prerender"}, {"name": "prefetch", "automated": True}),
    ("another purpose", {"purpose": "navigate"}, None),
]


@pytest.mark.parametrize(("headers", "expected"), cases(CLIENTS))
def test_clients_that_say_what_they_are(headers: dict[str, Any], expected: dict[str, Any] | None) -> None:
    context = read("ts=bad", dnt="1", **headers)["context"]
    assert context.get("client") == expected
    order = ["userAgent", "consent", "client", "repaired", "library"]
    assert list(context) == [name for name in order if name in context]
