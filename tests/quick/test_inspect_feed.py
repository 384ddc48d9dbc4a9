"""The live page's feed of journaled lines, the URLs of its form, and its files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pixelcore
import pytest
from pixelcore.inspect.feed import (
    BURST,
    BYTES,
    FEW,
    LINES_A_SECOND,
    Allowance,
    Feed,
    Sample,
    Wanted,
    _shortly_before_the_end,
)
from pixelcore.inspect.pixel import Compat, build
from pixelcore.inspect.server import STATIC
from pixelcore.journals import JournalDirectory


def test_sample_is_even() -> None:
    """However the lines come, one of every so many is kept, beginning with the first."""
    for sizes in ([1] * 1000, [1000], [7, 993], [10, 1, 1, 988], [10], [11], [5], []):
        sample = Sample(10)
        numbers = iter(range(1000))
        for size in sizes:
            sample.offer([b"%d" % next(numbers) for _ in range(size)])
        assert [int(line) for line in sample.lines] == list(range(0, sum(sizes), sample.every))
        assert len(sample.lines) <= 10
        assert sample.every == 1 or sum(sizes) > 10 * sample.every // 2
        assert sample.every == 1 or sum(sizes) > 10, "all of them where there are no more than wanted"


def test_sample_of_long_lines() -> None:
    sample = Sample(10)
    sample.offer([b"x" * (BYTES + 1)])
    assert (len(sample.lines), sample.every) == (1, 1)
    sample.offer([b"x" * (BYTES // 2)] * 3)
    assert sum(map(len, sample.lines)) <= BYTES + 1
    assert len(sample.lines) * sample.every >= 4


def test_a_burst_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one page with many pixels makes it; what comes without end is not."""
    monkeypatch.setattr("pixelcore.inspect.feed.time.monotonic", lambda: 1000.0)
    allowance = Allowance()
    assert allowance.now() == BURST
    allowance.spend(BURST)
    assert allowance.now() == FEW
    allowance.spend(BURST)
    assert allowance.now() == FEW


def test_what_is_left_over_is_saved_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a burst of `BURST` lines, at `LINES_A_SECOND`; a few lines there are always."""
    now = 1000.0
    monkeypatch.setattr("pixelcore.inspect.feed.time.monotonic", lambda: now)
    allowance = Allowance()
    # seconds that pass, what may be shown then, and what is shown
    for passed, allowed, shown in (
        (0.0, BURST, 50),
        (0.0, BURST - 50, BURST),
        (0.0, FEW, FEW),
        (0.0625, FEW, 0),
        (1.0, LINES_A_SECOND + 6, LINES_A_SECOND + 6),
        (0.5, LINES_A_SECOND // 2, 0),
        (1.0, LINES_A_SECOND * 3 // 2, 0),
        (3600.0, BURST, 0),
    ):
        now += passed
        assert allowance.now() == allowed
        allowance.spend(shown)


PICKED: list[tuple[str, tuple[str, ...], tuple[bytes, ...], list[bytes]]] = [
    # name, contains, watched, which of LINES_TO_PICK are picked
    ("all", (), (), [b'{"event":"A b"}', b'{"event":"\xc3\x84"}', b"{}"]),
    ("in any case", ("a B",), (), []),
    ("lowered", ("a b",), (), [b'{"event":"A b"}']),
    ("beyond ASCII", ("ä",), (), [b'{"event":"\xc3\x84"}']),
    ("all of several", ("event", "a"), (), [b'{"event":"A b"}']),
    ("watched ones are shown anyway, not twice", ("event",), (b"A",), [b'{"event":"\xc3\x84"}']),
]


@pytest.mark.parametrize(("contains", "watched", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PICKED])
def test_wanted(contains: tuple[str, ...], watched: tuple[bytes, ...], expected: list[bytes]) -> None:
    lines = [b'{"event":"A b"}', b'{"event":"\xc3\x84"}', b"{}"]
    assert Wanted(contains, watched).pick(lines) == expected


def test_feed_follows_journals_as_they_come_and_go(tmp_path: Path) -> None:
    """A dead one that was there is not read; what appears later is, from its beginning, dead or not."""
    root = tmp_path / "events"
    with pixelcore.Journal(root) as dead:
        dead.append(b'{"n":0}')
    with pixelcore.Journal(root, segment_bytes=4096) as living:
        living.append(b'{"n":1}')
        feed = Feed(tmp_path)
        assert feed.recent["events"] == [b'{"n":1}']
        assert feed.take()["events"].count == 0
        numbers = range(2, 5)
        for number in numbers:
            living.append(json.dumps({"n": number, "x": "x" * 3000}).encode())
        assert [json.loads(line)["n"] for line in feed.take()["events"].sample.lines] == list(numbers)
        # As a forwarder does with what is shipped.
        for segment in sorted(Path(living.path).glob("*.ndjson"))[:-1]:
            segment.unlink()
        living.append(b'{"n":5}')
        with pixelcore.Journal(root) as replayed:
            replayed.append(b'{"n":6}')
        assert feed.take()["events"].sample.lines == [b'{"n":5}', b'{"n":6}']
        pixelcore.JournalReader(replayed.path, replayed.end).delete_journal()
        assert feed.take()["events"].count == 0
        living.append(b'{"n":7}')
    assert feed.take()["events"].sample.lines == [b'{"n":7}']


CAMPAIGN = {"source": "s", "medium": "m", "campaign": "n", "term": "t", "content": "c"}
UTM = "utm_source=s&utm_medium=m&utm_campaign=n&utm_term=t&utm_content=c"


def test_a_page_begins_with_the_last_lines_of_all_journals(tmp_path: Path) -> None:
    """By the time at which they came, whatever they look like."""
    root = tmp_path / "events"
    with pixelcore.Journal(root) as one, pixelcore.Journal(root) as other:
        for journal, begin, numbers in ((one, "z", range(0, 40, 2)), (other, "a", range(1, 41, 2))):
            for number in numbers:
                journal.append(f'{{"{begin}":{number},"receivedAt":"2026-01-01T00:00:{number:02}.000Z"}}'.encode())
        recent = Feed(tmp_path).recent["events"]
        assert [next(iter(json.loads(line).values())) for line in recent] == list(range(20, 40))


ENDS: list[tuple[str, int, int, int]] = [
    # name, lines of 1,000 bytes, the size of segments, and where a page begins to read
    ("no line", 0, 1 << 20, 0),
    ("the beginning of a short one", 5, 1 << 20, 0),
    ("the beginning of the last segment", 5, 4096, 4000),
    ("as much as a page shows", 100, 1 << 20, 100_000 - 32 * 1024),
]


@pytest.mark.parametrize(("lines", "segment_bytes", "begin"), [pytest.param(*row[1:], id=row[0]) for row in ENDS])
def test_no_more_of_the_past_is_read_than_is_shown(tmp_path: Path, lines: int, segment_bytes: int, begin: int) -> None:
    with pixelcore.Journal(tmp_path, segment_bytes=segment_bytes) as journal:
        for _ in range(lines):
            journal.append(b'{"x":"' + b"x" * 991 + b'"}')
        assert _shortly_before_the_end(JournalDirectory(Path(journal.path))) == begin


def test_who_is_gone_is_read_no_more(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    with pixelcore.Journal(tmp_path / "events") as journal:
        journal.append(b"{}")
        assert feed.take()["events"].count == 1
        assert all(feed._tails["events"]._readers.values())
    assert feed.take()["events"].count == 0
    assert list(feed._tails["events"]._readers.values()) == [None]


FORMS: list[tuple[str, dict[str, Any], str]] = [
    # name, the form, the path and query, or the error
    ("the least", {}, "/v1/pixel/track?wk=dk_1&e=E"),
    ("spaces around", {"key": " dk_1 ", "event": "A b "}, "/v1/pixel/track?wk=dk_1&e=A%20b"),
    ("a merge tag", {"user_id": "{{ id }}"}, "/v1/pixel/track?wk=dk_1&e=E&uid={{ id }}"),
    ("one with an ampersand", {"user_id": "{{ a & b }}"}, "/v1/pixel/track?wk=dk_1&e=E&uid={{ a & b }}"),
    ("JSON", {"properties": '{"a": {"b": [1, 2]}}'}, "/v1/pixel/track?wk=dk_1&e=E&p.a.b=1&p.a.b=2"),
    ("lines", {"properties": "a.b=1\n\n a.b=2"}, "/v1/pixel/track?wk=dk_1&e=E&p.a.b=1&p.a.b=2"),
    ("of another type", {"type": "page", "name": "Home"}, "/v1/pixel/page?wk=dk_1&e=Home"),
    ("traits", {"type": "identify", "traits": "plan=pro"}, "/v1/pixel/identify?wk=dk_1&t.plan=pro"),
    ("a campaign", {"source": "s", "campaign": "c"}, "/v1/pixel/track?wk=dk_1&e=E&utm_source=s&utm_campaign=c"),
    (
        "all ids",
        {"user_id": "u", "anonymous_id": "a", "group_id": "g", "message_id": "m"},
        "/v1/pixel/track?wk=dk_1&e=E&uid=u&aid=a&gid=g&mid=m",
    ),
    ("every text of a campaign", CAMPAIGN, f"/v1/pixel/track?wk=dk_1&e=E&{UTM}"),
    ("a name that was typed for another type", {"name": "Home"}, "/v1/pixel/track?wk=dk_1&e=E"),
    ("an event that was typed for another type", {"type": "page"}, "/v1/pixel/page?wk=dk_1"),
    ("neither for a person", {"type": "identify", "name": "Home"}, "/v1/pixel/identify?wk=dk_1"),
    ("true is a word here, not a text", {"gif": "true", "cache_buster": 1}, "/v1/pixel/track?wk=dk_1&e=E"),
    ("gif", {"gif": True, "timestamp": "1740493800000"}, "/v1/pixel/track.gif?wk=dk_1&e=E&ts=1740493800000"),
    ("a mode", {"mode": "none"}, "/v1/pixel/track?wk=dk_1&e=E&m=n"),
    ("a mode by recipient", {"mode": "{{ mode }}"}, "/v1/pixel/track?wk=dk_1&e=E&m={{ mode }}"),
    ("no mode", {"mode": "some"}, "mode: 'some' is not individual, deliverability, aggregate or none"),
    ("no event", {"event": ""}, "event: a track needs an event"),
    ("no key", {"key": ""}, "key: '' is not 1 to 64 of A-Z a-z 0-9 _ -"),
    ("no JSON", {"properties": "{"}, "properties: is not JSON: Expecting property name"),
    ("no lines", {"traits": "plan"}, "traits: is not PATH=VALUE"),
    ("a time in seconds", {"timestamp": "1740493800"}, "timestamp: '1740493800' is not Unix milliseconds"),
]


@pytest.mark.parametrize(("form", "expected"), [pytest.param(*row[1:], id=row[0]) for row in FORMS])
def test_form(form: dict[str, Any], expected: str) -> None:
    base = "https://px.example.com"
    built = build({"base": base, "type": "track", "key": "dk_1", "event": "E", **form})
    if "error" in built:
        assert built["error"].startswith(expected)
    else:
        assert built == {
            "url": base + expected,
            "img": pixelcore.img_tag(base + expected, merge_tags=True),
            "long": False,
            "ignored": [],
        }


def test_form_with_a_cache_buster() -> None:
    """Another one each time."""
    form = {"base": "http://localhost", "type": "page", "key": "dk_1", "cache_buster": True}
    urls = {build(form)["url"] for _ in range(3)}
    assert len(urls) == 3
    assert all(re.fullmatch(r"http://localhost/v1/pixel/page\?wk=dk_1&cb=[0-9a-f]{16}", url) for url in urls), urls


def test_form_that_has_its_url() -> None:
    """One that somebody wrote by hand is taken as it is."""
    url = "https://px.example.com/v1/pixel/page?wk=k&e=x"
    for length, is_long in ((len(url), False), (2000, False), (2001, True)):
        written = url + "x" * (length - len(url))
        assert build({"url": f" {written} ", "alt": "A"}) == {
            "url": written,
            "img": pixelcore.img_tag(written, "A", merge_tags=True),
            "long": is_long,
            "ignored": [],
        }


@pytest.mark.filterwarnings("ignore:the URL has")
def test_form_of_a_long_url() -> None:
    built = build({"base": "http://localhost", "type": "page", "key": "dk_1", "properties": f"a={quote('x' * 2000)}"})
    assert built["long"]


def test_the_static_files_are_those_of_the_page() -> None:
    """No build step and no CDN: a handful of files, which refer to each other and to nothing else."""
    texts = {path.name: path.read_text() for path in STATIC.iterdir()}
    referred = {name for text in texts.values() for name in re.findall(r'(?:src|href)="([^"#]+)"', text)}
    referred |= {name for text in texts.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert referred | {"index.html"} == texts.keys()
    elsewhere = {url for text in texts.values() for url in re.findall(r"https?://[^\s\"'`]+", text)}
    assert all(re.match(r"http://(www\.w3\.org/2000/svg$|\(127)", url) for url in elsewhere), elsewhere
    assert sum(map(len, texts.values())) < 60_000


@pytest.mark.parametrize(
    ("type", "query", "compat", "ignored"),
    [
        ("track", "wk=dk_1&e=E&p.a=1", (), []),
        ("track", "wk=dk_1&e=E&campaign=x&campaign=y&amp;foo=1#&bar=2", (), ["campaign", "foo"]),
        ("track", "writeKey=dk_1&event=E", (), ["writeKey", "event"]),
        ("track", "wk=dk_1&e=E&" + "&".join(f"n{number}=1" for number in range(20)), (), [f"n{i}" for i in range(10)]),
    ],
)
def test_the_names_of_a_url_that_mean_nothing(type: str, query: str, compat: Compat, ignored: list[str]) -> None:
    assert build({"type": type, "url": f"http://localhost/v1/pixel/{type}?{query}"}, compat)["ignored"] == ignored
