"""Section 8 of the contract: the builders compared with each other and with another construction, and a collector's verdict."""

from __future__ import annotations

import contextlib
import email.policy
import json
import quopri
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pixelcore
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pixelcore import _core

from tests.support import signing_oracle as oracle
from tests.support.paths import DATA, ROOT
from tests.support.servers import journal_lines
from tests.support.signing import EMAIL, OLDER, SECRET, Builder, event_of, in_javascript, python, said

CASES = json.loads((DATA / "urls.json").read_text())
BASE = "https://px.example.com"


@pytest.fixture(scope="module")
def javascript() -> Iterator[Builder]:
    """pixel-protect.js."""
    with in_javascript() as builder:
        yield builder


def clear(row: dict[str, Any]) -> bool:
    """Whether a row of the builders' table can be signed: it has no merge tags, and room for a signature."""
    return not row["arguments"].get("merge_tags") and row["name"] != "256 parameters"


ROWS = [pytest.param(row["arguments"], row["url"], id=row["name"]) for row in CASES["urls"] if clear(row)]


@pytest.mark.parametrize(("arguments", "url"), ROWS)
def test_builders(javascript: Builder, arguments: dict[str, Any], url: str) -> None:
    """A signed URL is the clear one and its signature; a sealed one opens to the clear one's query; both are its event."""
    kind, query = arguments["type"], urlsplit(url).query
    expected = event_of(url, type=kind)
    signature = oracle.sign(kind, query, SECRET)
    free = [pair for pair in query.split("&") if re.match("cb=|utm_", pair)]
    inside = "&".join(pair for pair in query.split("&")[1:] if pair not in free)
    for builder in (python, javascript):
        signed = builder({**arguments, "secret": SECRET})["made"]
        assert signed == f"{url}&s={signature}"
        event = event_of(signed, OLDER, SECRET, type=kind, required=True)
        assert (said(event), event) == ((True, False), expected)

        sealed = builder({**arguments, "secret": SECRET, "seal": True})["made"]
        path, _, beside = sealed.partition("?")
        key, x, *rest = beside.split("&")
        assert (path, key, rest) == (url.partition("?")[0], f"wk={arguments['key']}", free)
        assert oracle.opened(kind, arguments["key"], x.removeprefix("x="), SECRET) == inside
        event = event_of(sealed, OLDER, SECRET, type=kind, required=True)
        assert (said(event), event) == ((True, True), expected)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PATHS = st.lists(st.sampled_from(["", "a", "b", "0", "é", "=&%+"]), min_size=1, max_size=3).map(".".join)


@given(st.sampled_from(["track", "page"]), st.lists(st.tuples(PATHS, TEXTS), max_size=6), TEXTS)
@example("track", [("a", "1"), ("a", "1"), ("", "")], "\x00&s=x&x=s")
@settings(max_examples=500)
def test_any_query_by_both_constructions(kind: str, pairs: list[tuple[str, str]], uid: str) -> None:
    written = [("e", "A"), ("uid", uid), *((f"p.{path}", value) for path, value in pairs)]
    inside = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in written)
    query = f"wk=dk_1&{inside}"
    assert _core.sign(kind, query, SECRET) == oracle.sign(kind, query, SECRET)
    nonce = random.randbytes(12)
    x = _core.seal(kind, "dk_1", inside, SECRET, nonce)
    assert x == oracle.seal(kind, "dk_1", inside, SECRET, nonce)
    assert oracle.opened(kind, "dk_1", x, SECRET) == inside
    with pytest.raises(InvalidTag):
        oracle.opened(kind, "dk_2", x, SECRET)


def test_no_two_seals_are_alike(javascript: Builder) -> None:
    arguments = {"base": BASE, "type": "track", "key": "dk_1", **EMAIL, "secret": SECRET, "seal": True}
    assert len({builder(arguments)["made"] for builder in (python, javascript) for _ in range(100)}) == 200


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a short secret", {"secret": "hush-hush"}, "secret: it is shorter than 32 characters"),
    ("a secret with its line's end", {"secret": f"{SECRET}\n"}, "secret: it has a character that is not visible ASCII"),
    ("a secret that repeats itself", {"secret": "abcdefghijklmnop" * 2}, "secret: it repeats itself"),
    ("a secret of few characters", {"secret": "0123" * 4 + "3210" * 5}, "secret: it repeats itself"),
    ("a merge tag", {"secret": SECRET, "merge_tags": True, "user_id": "{{ user.id }}"}, "before it is filled"),
    (
        "a merge tag to seal",
        {"secret": SECRET, "merge_tags": True, "seal": True, "user_id": "a%NAME%"},
        "before it is filled",
    ),
    ("no room for a signature", {"secret": SECRET, "properties": {"a": ["x"] * 253}}, "too_many_parameters"),
    ("no room for a seal", {"secret": SECRET, "seal": True, "properties": {"a": "x" * 6_200}}, "query_too_long"),
]


@pytest.mark.parametrize(("more", "error"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_refused(javascript: Builder, more: dict[str, Any], error: str) -> None:
    arguments = {"base": BASE, "type": "track", "key": "dk_1", "event": "E", "user_id": "u", **more}
    for builder in (python, javascript):
        answer = builder(arguments)["error"]
        assert error in answer
        assert more["secret"] not in answer


def test_what_only_python_refuses() -> None:
    with pytest.raises(ValueError, match="seal: needs a secret"):
        pixelcore.pixel_url(BASE, "track", "dk_1", event="E", seal=True)
    with pytest.raises(ValueError, match="secret: it is shorter") as caught:
        pixelcore.event("track", "wk=k&e=E", secrets=["too-short-a-secret"])
    assert "too-short" not in str(caught.value)


def test_tags_in_what_is_not_signed_stay() -> None:
    arguments: dict[str, Any] = {"event": "E", "cache_buster": "{{ now }}", "campaign": {"name": "*|CAMPAIGN|*"}}
    made = pixelcore.pixel_url(BASE, "track", "dk_1", **arguments, merge_tags=True, secret=SECRET)
    assert "&utm_campaign=*|CAMPAIGN|*&cb={{ now }}&s=" in made
    filled = made.replace("*|CAMPAIGN|*", "May").replace("{{ now }}", "7")
    assert said(event_of(filled, SECRET, required=True)) == (True, False)


def test_the_builder_for_pages_signs_nothing() -> None:
    """The request to sign is an error, instead of a URL in clear."""
    node = shutil.which("node")
    assert node
    source = f'import {{ pixelUrl }} from "{(ROOT / "docs" / "pixel-url.js").as_uri()}";'
    source += f'pixelUrl("{BASE}", "page", "dk_1", {{ secret: "{SECRET}" }});'
    ended = subprocess.run([node, "--input-type=module", "--eval", source], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "pixel-protect.js" in ended.stderr


def mutated(query: str, random: random.Random) -> str:
    """One change, of whatever kind, that means something else."""
    pairs = query.split("&")
    at = random.randrange(len(pairs))
    name, _, value = pairs[at].partition("=")
    letters = "abcXYZ019-_.~%"
    match random.randrange(8):
        case 0:
            place = random.randrange(len(value) + 1)
            pairs[at] = f"{name}={value[:place]}{random.choice(letters[:-1])}{value[place:]}"
        case 1:
            place = random.randrange(len(value))
            other = random.choice([letter for letter in letters if letter != value[place]])
            pairs[at] = f"{name}={value[:place]}{other}{value[place + 1 :]}"
        case 2:
            del pairs[at]
        case 3:
            pairs.insert(
                at, random.choice(["uid=eve", "p.tag=c", "m=i", "=", "fbclid=1", "t.a=b", "wk=dk_1", "amp%3B="])
            )
        case 4:
            pairs[at] = f"{name}{random.choice('abz.')}={value}"
        case 5:
            pairs[at] = f"{name}={value}%{random.choice(['00', '20', 'C3%A9', 'ff'])}"
        case 6:
            pairs[at] = f"{name.swapcase()}={value}"
        case _:
            with_another = random.choice([each for each in range(len(pairs)) if each != at])
            swapped = pairs[with_another].partition("=")
            pairs[at], pairs[with_another] = f"{name}={swapped[2]}", f"{swapped[0]}={value}"
    return "&".join(pairs)


KEYS = f"""
[[pipeline]]
id = "pip_1"
key = "dk_live_abc123"
secrets = ["{SECRET}", "{OLDER}"]
require_signature = true
rate_limit_rps = 0.001
"""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[_core.Collector]:
    """One that requires signatures, and whose key has one token."""
    with pixelcore.Journal(tmp_path / "events") as events, pixelcore.Journal(tmp_path / "rejections") as rejections:
        made = _core.Collector(events, rejections)
        made.set_keys(KEYS)
        yield made


@pytest.mark.parametrize("seal", [False, True])
def test_ten_thousand_changed_urls(collector: _core.Collector, tmp_path: Path, seal: bool) -> None:
    """No forgery verifies, all are recorded, and none takes a token of the secret's owner."""
    chance = random.Random(8)
    queries: set[str] = set()
    while len(queries) < 10_000:
        more = {**EMAIL, "properties": {"tag": ["a", "b"], "number": len(queries)}, "message_id": f"m{len(queries)}"}
        made = pixelcore.pixel_url(
            BASE, "track", "dk_live_abc123", **more, secret=chance.choice([SECRET, OLDER]), seal=seal
        )
        query = urlsplit(made).query
        changed = mutated(query, chance)
        # Another order is no change.
        if sorted(pixelcore.pairs(changed)) != sorted(pixelcore.pairs(query)):
            queries.add(changed)
    outcomes = Counter(collector.collect("track", query, "127.0.0.1:1", ()) for query in sorted(queries))
    refused = {"bad_signature", "unsigned", "unknown_key", "missing_key", "malformed_key"}
    assert outcomes.keys() <= refused, outcomes
    assert outcomes["bad_signature"] > 3_000
    records = [json.loads(line) for line in journal_lines(tmp_path / "rejections")]
    assert {record["query"] for record in records} == queries
    assert len(records) == 10_000
    # Four letters of base64 would be there by chance in every tenth run.
    assert not (seal and any("jane.doe" in json.dumps(record) for record in records))
    assert journal_lines(tmp_path / "events") == []
    assert collector.collect("track", query, "127.0.0.1:1", ()) is None


def by_quoted_printable(url: str) -> str:
    """In a mail's body and back."""
    message = EmailMessage(policy=email.policy.SMTP)
    message.set_content(pixelcore.img_tag(url), subtype="html", cte="quoted-printable")
    body = quopri.decodestring(message.as_bytes().partition(b"\r\n\r\n")[2]).decode()
    found = re.search('src="([^"]*)"', body)
    assert found
    return found[1]  # with the tag's &amp;


def re_encoded(url: str) -> str:
    """With an escape for each byte of each name and value."""
    path, _, query = url.partition("?")
    pairs = ([unquote_to_bytes(part) for part in pair.split("=")] for pair in query.split("&"))
    every = ["=".join("".join(f"%{byte:02x}" for byte in part) for part in pair) for pair in pairs]
    return f"{path}?{'&'.join(every)}"


WAYS: list[tuple[str, Callable[[str], str]]] = [
    ("as it is", lambda url: url),
    ("&amp;", lambda url: url.replace("&", "&amp;")),
    ("quoted-printable", by_quoted_printable),
    ("all escaped", re_encoded),
    ("escapes in lower case", lambda url: re.sub("%..", lambda escape: escape[0].lower(), url)),
    ("spaces as +", lambda url: url.replace("%20", "+")),
    ("a cache buster", lambda url: f"{url}&cb=0.123"),
    ("campaign", lambda url: f"{url}&utm_source=mail&utm_medium=email&utm_id=7"),
    ("reversed", lambda url: url.partition("?")[0] + "?" + "&".join(url.partition("?")[2].split("&")[::-1])),
    ("a .gif", lambda url: url.replace("/track?", "/track.gif?")),
]


@pytest.mark.parametrize(("way"), [pytest.param(way, id=name) for name, way in WAYS])
@pytest.mark.parametrize("seal", [False, True])
def test_on_the_way(way: Callable[[str], str], seal: bool) -> None:
    properties = {"zoë": "1 + 1 = 2%", "url": "https://a.example/?b=c&d=é", "z": "~"}
    made = pixelcore.pixel_url(BASE, "track", "dk_1", **{**EMAIL, "properties": properties}, secret=SECRET, seal=seal)
    event = event_of(way(made), SECRET, required=True)
    assert said(event) == (True, seal)
    assert (event["event"], event["userId"], event["properties"]) == (EMAIL["event"], EMAIL["user_id"], properties)


def test_a_url_of_an_email_is_short(javascript: Builder) -> None:
    arguments = {
        "base": "https://data.example.com",
        "type": "track",
        "key": "dk_live_abc123",
        **EMAIL,
        "cache_buster": True,
    }
    for builder in (python, javascript):
        made = builder({**arguments, "secret": SECRET, "seal": True})["made"]
        assert len(made) < 400
        assert not any(part in made for part in ("jane", "camp_001", "Email"))


def test_secrets_of_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are read when the file is."""
    file = KEYS.replace(f'"{OLDER}"', '"env:NEWSLETTER_SECRET"')
    with pytest.raises(ValueError, match=r"^line 5: the secret env:NEWSLETTER_SECRET is not set$"):
        _core.check_keys(file)
    for weak in ("", "weak-secret", f"{OLDER}\n", "ab" * 20):
        monkeypatch.setenv("NEWSLETTER_SECRET", weak)
        with pytest.raises(ValueError, match=r"^line 5: the secret env:NEWSLETTER_SECRET (is|has|repeats) ") as caught:
            _core.check_keys(file)
        assert not weak or weak.strip() not in str(caught.value)
    monkeypatch.setenv("NEWSLETTER_SECRET", OLDER)
    with contextlib.closing(pixelcore.Journal(tmp_path)) as journal:
        collector = _core.Collector(journal, journal)
        collector.set_keys(file)
        made = pixelcore.pixel_url(BASE, "track", "dk_live_abc123", **EMAIL, secret=OLDER)
        assert collector.collect("track", urlsplit(made).query, "127.0.0.1:1", ()) is None
