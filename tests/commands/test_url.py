"""Pixel URLs from Python and JavaScript: one table for both, and every object comes back as it was."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pixelcore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.paths import DATA, ROOT
from tests.support.servers import Serve
from tests.support.wire import ask

MODULE = ROOT / "docs" / "pixel-url.js"
CASES = json.loads((DATA / "urls.json").read_text())
BASE = "https://px.example.com"

# Calls come as JSON, one a line, and so do the answers. The members' names are those of Python, in camelCase.
NODE = """
const [, source] = process.argv;
const module = await import("data:text/javascript," + encodeURIComponent(source));
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const warnings = [];
console.warn = (text) => warnings.push(text);
for await (const line of (await import("node:readline")).createInterface({ input: process.stdin })) {
  const { base, type, key, img, ...more } = JSON.parse(line);
  const options = Object.fromEntries(Object.entries(more).map(([name, value]) => [camel(name), value]));
  let answer;
  try {
    answer = { made: img ? module.imgTag(...img) : module.pixelUrl(base, type, key, options) };
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify({ ...answer, warnings: warnings.splice(0) }));
}
"""

Builder = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def javascript() -> Iterator[Builder]:
    """The ES module in Node: takes the arguments of one call, answers with ``made`` or ``error``, and ``warnings``."""
    node = shutil.which("node")
    assert node, "Node is needed: see tests/system_packages.sh"
    command = [node, "--input-type=module", "--eval", NODE, MODULE.read_text()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def call(arguments: dict[str, Any]) -> dict[str, Any]:
            stdin.write(json.dumps(arguments).encode() + b"\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer

        yield call
        stdin.close()


def rows(table: str, *columns: str) -> list[Any]:
    return [pytest.param(*(row[column] for column in columns), id=row["name"]) for row in CASES[table]]


def properties_of(url: str) -> Any:
    """The event of a URL."""
    parts = urlsplit(url)
    kind = parts.path.rpartition("/")[2].removesuffix(".gif")
    return json.loads(pixelcore.event(kind, parts.query)).get("properties", {})


@pytest.mark.parametrize(("arguments", "url"), rows("urls", "arguments", "url"))
def test_url(javascript: Builder, arguments: dict[str, Any], url: str) -> None:
    assert pixelcore.pixel_url(**arguments) == url
    assert javascript(arguments) == {"made": url, "warnings": []}


@pytest.mark.parametrize(("arguments", "error"), rows("errors", "arguments", "error"))
def test_refused(javascript: Builder, arguments: dict[str, Any], error: str) -> None:
    """The error begins with the path, or has the gateway's reason."""
    with pytest.raises(ValueError, match=r".") as caught:
        pixelcore.pixel_url(**arguments)
    assert type(caught.value) is ValueError, "ours, not an accident of the standard library"
    in_python, in_javascript = str(caught.value), javascript(arguments)["error"]
    if "_" in error:
        assert error in in_python
        assert error in in_javascript
    else:
        assert in_python.startswith((f"{error}: ", f"{error!r}: "))
        assert in_javascript.startswith(f"{error}: ")


CYCLE: dict[str, Any] = {}
CYCLE["a"] = [CYCLE, CYCLE]

PYTHON_ONLY: list[tuple[str, object, str]] = [
    ("NaN", float("nan"), "'properties.a': "),
    ("infinity", float("-inf"), "'properties.a': "),
    ("an integer that Python does not print", 10**5000, "'properties.a': "),
    ("bytes", b"x", "'properties.a': "),
    ("a set", {"x"}, "'properties.a': "),
    ("a datetime", datetime(2025, 2, 25, tzinfo=timezone.utc), "'properties.a': "),
    ("a name that is a number", {0: "x"}, "'properties.a': "),
    ("a cycle", CYCLE, "too_deep"),
]


@pytest.mark.parametrize(("value", "named"), [pytest.param(*row[1:], id=row[0]) for row in PYTHON_ONLY])
def test_refused_in_python(value: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        pixelcore.pixel_url(BASE, "track", "dk_1", event="E", properties={"a": value})


def test_a_flood_of_references_ends() -> None:
    """Two to the 30th leaves of one small object."""
    value: object = "x"
    for _ in range(30):
        value = {"a": value, "b": value}
    with pytest.raises(ValueError, match="too_many_parameters"):
        pixelcore.pixel_url(BASE, "track", "dk_1", event="E", properties={"a": value})


TIMES: list[tuple[str, datetime | str, int]] = [
    ("UTC", datetime(2025, 2, 25, 14, 30, tzinfo=timezone.utc), 1740493800000),
    ("another zone", datetime(2025, 2, 25, 16, 30, tzinfo=timezone(timedelta(hours=2))), 1740493800000),
    ("microseconds are cut", datetime(2025, 2, 25, 14, 30, 0, 1999, tzinfo=timezone.utc), 1740493800001),
    ("digits", "1740493800000", 1740493800000),
]


@pytest.mark.parametrize(("time", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TIMES])
def test_timestamp(time: datetime | str, expected: int) -> None:
    made = pixelcore.pixel_url(BASE, "track", "dk_1", event="E", timestamp=time)
    assert made.endswith(f"&ts={expected}")


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match=r"timestamp: .* time zone"):
        pixelcore.pixel_url(BASE, "track", "dk_1", event="E", timestamp=datetime(2025, 2, 25))


def test_tuples_are_lists() -> None:
    made = pixelcore.pixel_url(BASE, "track", "dk_1", event="E", properties={"a": ("x", "y"), "b": ({"c": "z"},)})
    assert properties_of(made) == {"a": ["x", "y"], "b": [{"c": "z"}]}


def test_cache_buster_is_random(javascript: Builder) -> None:
    arguments: dict[str, Any] = {"base": BASE, "type": "page", "key": "dk_1", "cache_buster": True}
    made = {pixelcore.pixel_url(BASE, "page", "dk_1", cache_buster=True) for _ in range(100)}
    made |= {javascript(arguments)["made"] for _ in range(100)}
    assert len(made) == 200
    assert all(re.fullmatch(r".*\?wk=dk_1&cb=[0-9a-z]{8,}", url) for url in made)


def test_long_urls_are_warned_of(javascript: Builder) -> None:
    limit = 2_000 - len(pixelcore.pixel_url(BASE, "track", "dk_1", event="E", properties={"text": "", "b": "x" * 40}))
    arguments: dict[str, Any] = {"base": BASE, "type": "track", "key": "dk_1", "event": "E"}
    fits = {"text": "x" * limit, "b": "x" * 40}
    assert len(pixelcore.pixel_url(**arguments, properties=fits)) == 2_000
    assert javascript({**arguments, "properties": fits})["warnings"] == []
    long = {"text": "x" * (limit + 1), "b": "x" * 40}
    with pytest.warns(UserWarning, match=r"2,001 characters.*longest: p\.text \([0-9,]+\), p\.b \(44\), ") as caught:
        made = pixelcore.pixel_url(**arguments, properties=long)
    assert caught[0].filename == __file__, "the caller's line is named"
    answer = javascript({**arguments, "properties": long})
    assert answer["made"] == made
    (warning,) = answer["warnings"]
    most = {"a": "x" * (8_192 - len("wk=dk_1&e=E&p.a="))}
    with pytest.warns(UserWarning, match="8,2"):
        made = pixelcore.pixel_url(**arguments, properties=most)
    assert javascript({**arguments, "properties": most})["made"] == made
    assert re.search(r"2001 characters.*longest: p\.text \(\d+\), p\.b \(44\), ", warning)


@pytest.mark.parametrize(("url", "alt", "merge_tags", "tag"), rows("tags", "url", "alt", "merge_tags", "tag"))
def test_img_tag(javascript: Builder, url: str, alt: str, merge_tags: bool, tag: str) -> None:
    assert pixelcore.img_tag(url, alt, merge_tags=merge_tags) == tag
    assert javascript({"img": [url, alt, merge_tags]})["made"] == tag
    for hiding in ("display", "visibility", "hidden", "lazy"):
        assert hiding not in tag


@given(st.text(), st.text())
def test_img_tag_is_one_tag(url: str, alt: str) -> None:
    """An HTML parser reads the very texts back."""
    found: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))  # type: ignore[method-assign]
    parser.feed(pixelcore.img_tag(url, alt))
    ((tag, attributes),) = found
    assert (tag, attributes["src"], attributes["alt"]) == ("img", url, alt)


# Few short names, so that objects look like lists at every turn, and any text.
NAMES = st.sampled_from(["", "0", "1", "2", "00", "a", "b", "amp;", "amp;p"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="."), max_size=3
)
TEXTS = st.sampled_from(["", "x", "&", "+ %2B", "{{x}}", "%%x%%"]) | st.text(max_size=5)


def nodes(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(NAMES, children, min_size=1, max_size=4)
    return st.lists(children, min_size=1, max_size=4) | objects.filter(
        lambda it: set(it) != {*map(str, range(len(it)))}
    )


OBJECTS = st.dictionaries(NAMES, st.recursive(TEXTS, nodes, max_leaves=12), max_size=4)


@given(OBJECTS)
@example({"0": ["x"], "1": [["x", "y"]], "": {"": {"": ""}}})
@settings(max_examples=2_000)
def test_every_object_comes_back(javascript: Builder, properties: dict[str, Any]) -> None:
    """Any object with texts as values, without empty nodes, dots in names, and objects with a list's names."""
    arguments: dict[str, Any] = {"base": BASE, "type": "track", "key": "dk_1", "event": "E", "properties": properties}
    made = pixelcore.pixel_url(**arguments)
    assert properties_of(made) == properties
    assert re.fullmatch(r"[A-Za-z0-9\-._~%&=]*", made.partition("?")[2])
    traits = pixelcore.pixel_url(BASE, "identify", "dk_1", traits=properties)
    assert json.loads(pixelcore.nest(urlsplit(traits).query, "t.")) == properties
    # JavaScript puts names that are numbers first, so its URL may be another.
    assert properties_of(javascript(arguments)["made"]) == properties


SEGMENTS = st.lists(st.sampled_from(["", "0", "1", "2", "a", "b"]), min_size=1, max_size=4).map(".".join)


@given(st.lists(st.tuples(SEGMENTS, st.sampled_from(["", "x", "y"])), max_size=8))
@settings(max_examples=1_000)
def test_whatever_a_query_can_say_can_be_built(javascript: Builder, parameters: list[tuple[str, str]]) -> None:
    """No object is refused that a URL can represent."""
    properties = json.loads(pixelcore.nest("&".join(f"p.{path}={value}" for path, value in parameters)))
    arguments: dict[str, Any] = {"base": BASE, "type": "track", "key": "dk_1", "event": "E", "properties": properties}
    assert properties_of(pixelcore.pixel_url(**arguments)) == properties
    assert properties_of(javascript(arguments)["made"]) == properties


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(st.characters(), max_size=2)
ANYTHING = st.recursive(
    VALUES,
    lambda it: st.lists(it, max_size=3) | st.dictionaries(st.sampled_from(["0", "1", "a", "a.b", ""]), it, max_size=3),
)


def as_texts(value: Any) -> Any:
    """The JSON that section 3 can represent. Its scalars are texts."""
    if isinstance(value, dict):
        return {name: as_texts(member) for name, member in value.items()}
    if isinstance(value, list):
        return [as_texts(each) for each in value]
    return value if isinstance(value, str) else json.dumps(value)


@given(st.dictionaries(st.sampled_from(["0", "a", "b.c", ""]), ANYTHING, min_size=1, max_size=3))
@settings(max_examples=1_000)
def test_anything_comes_back_or_is_refused(properties: dict[str, Any]) -> None:
    try:
        made = pixelcore.pixel_url(BASE, "track", "dk_1", event="E", properties=properties)
    except ValueError as error:
        refusal = error
    else:
        assert properties_of(made) == as_texts(properties)
        return
    assert type(refusal) is ValueError
    assert re.match("'properties[.']", str(refusal))


def test_a_printed_url_passes_a_real_server(serve: Serve, token: str) -> None:
    """HTTP servers answer 400 to some characters; and the tag's URL is that of an HTML parser."""
    server = serve()
    properties = {
        "all": "".join(map(chr, range(256))),
        "<\"'>{}|^`\\ é\U0001f600": [{"a": ["x"]}, ["y", "z"], "{{ x }}"],
        "amp;": {"": "", "1": "&amp;"},
    }
    made = pixelcore.pixel_url(f"{server.url}/", "track", "dk_1", event="E|{}", message_id=token, properties=properties)
    reply = ask(server, made.removeprefix(server.url))
    assert reply.status == 200
    (event,) = server.events()
    assert (event["event"], event["messageId"], event["properties"]) == ("E|{}", token, properties)


def test_the_module_stays_small() -> None:
    assert len(gzip.compress(MODULE.read_bytes(), 9, mtime=0)) < 2_750
