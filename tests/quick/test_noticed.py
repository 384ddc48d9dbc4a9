"""The notices of accepted requests, and their counters."""

from __future__ import annotations

from pathlib import Path

import pytest
from pixelcore import Journal
from pixelcore._core import Collector, Counters, ignored_names

ROWS: list[tuple[str, str, dict[str, int]]] = [
    ("nothing", "uid=u1&aid=a&gid=g&mid=m&p.a=1&t.b=2&utm_id=3&cb=9&cb=8", {}),
    ("PHP's and jQuery's lists", "p[a][b]=1&p%5Btags%5D%5B%5D=x", {"ignored_parameters": 2}),
    ("a space before a name", "+p.a=1", {"ignored_parameters": 1}),
    ("another case", "P.a=1", {"ignored_parameters": 1}),
    ("another vendor's name", "userId=x", {"ignored_parameters": 1}),
    ("JSON", "p={%22a%22:1}", {"ignored_parameters": 1}),
    ("a value that was not encoded", "p.offer=50%+off+&+more", {"ignored_parameters": 1}),
    ("undefined", "uid=undefined", {"doubtful_values userId nothing": 1}),
    (
        "null, twice",
        "aid=null&gid=null",
        {"doubtful_values anonymousId nothing": 1, "doubtful_values groupId nothing": 1},
    ),
    ("an object", "uid=[object+Object]", {"doubtful_values userId nothing": 1}),
    ("the UUID of zeros", "mid=00000000-0000-0000-0000-000000000000", {"doubtful_values messageId nil_uuid": 1}),
    ("Liquid's tag", "uid={{id}}", {"doubtful_values userId merge_tag": 1}),
    ("the same, encoded", "uid=%7B%7Bid%7D%7D", {"doubtful_values userId merge_tag": 1}),
    ("the same, encoded twice", "uid=%257B%257Bid%257D%257D", {"doubtful_values userId merge_tag": 1}),
    ("Mailchimp's", "uid=*|UNIQID|*", {"doubtful_values userId merge_tag": 1}),
    ("Salesforce's", "uid=%%id%%", {"doubtful_values userId merge_tag": 1}),
    ("FreeMarker's", "uid=${id}", {"doubtful_values userId merge_tag": 1}),
    ("Mailjet's", "uid=[[id]]", {"doubtful_values userId merge_tag": 1}),
    ("Mautic's", "uid={contactfield=email}", {"doubtful_values userId merge_tag": 1}),
    ("AMP's client", "aid=CLIENT_ID(x)", {"doubtful_values anonymousId macro": 1}),
    ("AMP's page", "mid=CANONICAL_URL", {"doubtful_values messageId macro": 1}),
    ("not UTF-8", "uid=M%FCller&gid=%C3%BC", {"repairs userId": 1}),
    ("an implausible time", "ts=1", {"repairs ts": 1}),
    (
        "quoted-printable, decoded",
        "ts%1740493800000&mid%A1b2c3d4&p.revenue%99.99",
        {"quoted_printable decoded": 1, "ignored_parameters": 2},
    ),
]


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def collector(tmp_path: Path, counters: Counters) -> Collector:
    return Collector(Journal(tmp_path / "events"), Journal(tmp_path / "rejections"), counters)


def collect(collector: Collector, query: str, kind: str = "page") -> str | None:
    return collector.collect(kind, query, "192.0.2.1:1", ())


def noticed(counters: Counters) -> dict[str, int]:
    words = ("repairs", "doubtful_values", "ignored_parameters", "quoted_printable")
    return {slot: count for slot, count in counters.slots().items() if count and slot.startswith(words)}


@pytest.mark.parametrize(("query", "expected"), [pytest.param(*rest, id=name) for name, *rest in ROWS])
def test_counted(collector: Collector, counters: Counters, query: str, expected: dict[str, int]) -> None:
    """Each time, whether the names are new or known."""
    for times in range(1, 5):
        assert collect(collector, f"wk=dk_1&{query}") is None
        assert noticed(counters) == {slot: times * count for slot, count in expected.items()}


QUOTED = "wk=3Ddk_live_abc123&e=3DEmail+Opened&uid=3Du7"


def test_quoted_printable_that_nobody_decoded(collector: Collector, counters: Counters) -> None:
    assert collect(collector, QUOTED, "track") is None
    assert noticed(counters) == {"quoted_printable kept": 1}
    collector.set_keys('[[pipeline]]\nid = "pip_p"\nkey = "dk_live_abc123"\n')
    assert collect(collector, QUOTED, "track") == "unknown_key"
    assert noticed(counters) == {"quoted_printable kept": 2}
    assert collect(collector, "wk=unknown&e=E", "track") == "unknown_key"
    assert noticed(counters) == {"quoted_printable kept": 2}


def test_the_names() -> None:
    query = "wk=k&P.a=1&amp;amp;y=2&p.a=3&userId=4&P.a=5&cb=6&event=E&data=7&p[a]=8&s=9&amp;x=0&m=1"
    assert ignored_names("track", query) == ["P.a", "y", "userId", "event", "data", "p[a]"]
    assert ignored_names("track", query, ["rudderstack"]) == ["P.a", "y", "data", "p[a]"]
    assert ignored_names("page", query, ["segment"]) == ["P.a", "y", "event", "p[a]"]
    with pytest.raises(ValueError, match="nobody"):
        ignored_names("page", query, ["nobody"])  # type: ignore[list-item]


RECORD = (
    '{"reason":"unknown_type","type":"%s","query":"%s","receivedAt":"2025-02-25T14:30:01.250Z",'
    '"context":{"library":{"name":"pixelcore","version":"0.1.0"}}}'
)
PATHS: list[tuple[str, str, str, str]] = [
    ("an image's suffix", "track.png", "wk=k&e=E&uid=u", "u"),
    ("another case", "Track", "wk=k&e=E&uid=u", "u"),
    ("an escaped question mark, as the server decodes it", "track?wk=k&e=E&uid=u", "", "u"),
    ("the same, as others leave it", "track%3Fwk=k&e=E&uid=u", "", "u"),
    ("all of it escaped", "track%3Fwk%3Dk%26e%3DE%26uid%3Du", "", "u"),
    ("no question mark", "track&wk=k&e=E", "uid=u", "u"),
]


@pytest.mark.parametrize(("path", "query", "user"), [pytest.param(*rest, id=name) for name, *rest in PATHS])
def test_replay_with_a_type(collector: Collector, path: str, query: str, user: str) -> None:
    record = (RECORD % (path, query)).encode()
    event = collector.replay(record, "track").decode()
    assert '"type":"track","event":"E"' in event
    assert f'"userId":"{user}"' in event
    assert '"receivedAt":"2025-02-25T14:30:01.250Z"' in event


def test_only_what_had_no_type_gets_one(collector: Collector) -> None:
    record = (RECORD % ("page", "wk=k&e=E")).replace("unknown_type", "missing_key").encode()
    assert b'"type":"page"' in collector.replay(record, "track")
