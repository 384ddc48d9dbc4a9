"""What a page is sent of what is journaled, what its form builds, and its files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pixelcore
import pytest
from pixelcore.inspect.feed import BURST, BYTES, FEW, Allowance, Feed, Sample, Wanted
from pixelcore.inspect.pixel import build
from pixelcore.inspect.server import STATIC


def test_sample_is_even() -> None:
    """However the lines come, one of every so many is kept, beginning with the first."""
    for sizes in ([1] * 1000, [1000], [7, 993], [10, 1, 1, 988], [5], []):
        sample = Sample(10)
        numbers = iter(range(1000))
        for size in sizes:
            sample.offer([b"%d" % next(numbers) for _ in range(size)])
        assert [int(line) for line in sample.lines] == list(range(0, sum(sizes), sample.every))
        assert len(sample.lines) <= 10
        assert sample.every == 1 or sum(sizes) > 10 * sample.every // 2


def test_sample_of_long_lines() -> None:
    sample = Sample(10)
    sample.offer([b"x" * (BYTES + 1)])
    assert (len(sample.lines), sample.every) == (1, 1)
    sample.offer([b"x" * (BYTES // 2)] * 3)
    assert sum(map(len, sample.lines)) <= BYTES + 1
    assert len(sample.lines) * sample.every >= 4


def test_a_burst_is_shown_whole() -> None:
    """As one page with many pixels makes it; what comes without end is not."""
    allowance = Allowance()
    assert allowance.now() == BURST
    allowance.spend(BURST)
    assert allowance.now() <= BURST // 2
    allowance.spend(BURST)
    assert allowance.now() == FEW


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


FORMS: list[tuple[str, dict[str, Any], str]] = [
    # name, the form, the path and query, or the error
    ("the least", {}, "/v1/pixel/track?wk=dk_1&e=E"),
    ("spaces around", {"key": " dk_1 ", "event": "A b "}, "/v1/pixel/track?wk=dk_1&e=A%20b"),
    ("a merge tag", {"user_id": "{{ id }}"}, "/v1/pixel/track?wk=dk_1&e=E&uid={{ id }}"),
    ("JSON", {"properties": '{"a": {"b": [1, 2]}}'}, "/v1/pixel/track?wk=dk_1&e=E&p.a.b=1&p.a.b=2"),
    ("lines", {"properties": "a.b=1\n\n a.b=2"}, "/v1/pixel/track?wk=dk_1&e=E&p.a.b=1&p.a.b=2"),
    ("of another type", {"type": "page", "name": "Home"}, "/v1/pixel/page?wk=dk_1&e=Home"),
    ("traits", {"type": "identify", "traits": "plan=pro"}, "/v1/pixel/identify?wk=dk_1&t.plan=pro"),
    ("a campaign", {"source": "s", "campaign": "c"}, "/v1/pixel/track?wk=dk_1&e=E&utm_source=s&utm_campaign=c"),
    ("gif", {"gif": True, "timestamp": "1740493800000"}, "/v1/pixel/track.gif?wk=dk_1&e=E&ts=1740493800000"),
    ("no event", {"event": ""}, "event: a track needs one"),
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
        }


@pytest.mark.filterwarnings("ignore:a URL of")
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
