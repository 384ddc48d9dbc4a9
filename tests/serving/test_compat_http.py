"""``PIXELCORE_COMPAT`` over HTTP: the documented URLs with nothing changed but the host, and the paths they have."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pixelcore import settings

from tests.support.commands import replayed, run
from tests.support.compat import DOCUMENTED, encoded
from tests.support.events import LIBRARY
from tests.support.servers import Serve, Server
from tests.support.waiting import wait_for
from tests.support.website import dump_dom, website
from tests.support.wire import PIXEL_HEADERS, ask, assert_pixel, records

BOTH = {"PIXELCORE_COMPAT": "segment, rudderstack"}


def at(server: Server, url: str) -> str:
    """A documented URL, with the host of a gateway."""
    parts = urlsplit(url)
    return url.replace(f"{parts.scheme}://{parts.netloc}", server.url)


def told(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what depends on when and from where it came."""
    assert event["timestamp"] == event["receivedAt"]
    assert len(event["messageId"]) == 36
    assert event["context"]["ip"] == "127.0.0.1"
    members = {name: value for name, value in event.items() if name not in ("timestamp", "receivedAt", "messageId")}
    return {**members, "context": {name: value for name, value in event["context"].items() if name != "ip"}}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that understands both."""
    server = Server(tmp_path_factory.mktemp("compat"), dict(BOTH))
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
def test_documented_urls(serve: Serve, command: Any) -> None:
    server = serve(BOTH, command=command)
    for row in DOCUMENTED:
        # Whatever fetches a URL encodes its spaces.
        assert server.get(at(server, row["url"].replace(" ", "%20"))).is_pixel
    assert [told(event) for event in server.events()] == [
        {"context": {"library": LIBRARY}, **row["event"]} for row in DOCUMENTED
    ]
    assert server.rejections() == []


def test_a_browser_loads_documented_urls(foreign: Server, tmp_path: Path) -> None:
    """As images of a page, spaces and all."""
    before = len(foreign.events())
    tags = "".join(f'<img src="{html.escape(at(foreign, row["url"]))}">' for row in DOCUMENTED)
    with website(tags) as site:
        dump_dom(f"{site}/page", tmp_path / "profile")
    wait_for(lambda: len(foreign.events()) >= before + len(DOCUMENTED))
    found = [told(event) for event in foreign.events()[before:]]
    assert len(found) == len(DOCUMENTED)
    for row in DOCUMENTED:
        expected = row["event"]
        (event,) = (
            event
            for event in found
            if all(event.get(name) == value for name, value in expected.items() if name != "context")
        )
        # What the URL does not say of the reader the browser does.
        sent = expected.get("context", {})
        assert {**event["context"], **sent} == event["context"]
        assert ("HeadlessChrome" in event["context"]["userAgent"]) == ("userAgent" not in sent)
        assert (event["context"]["page"] == {"url": f"{site}/"}) == ("page" not in sent)


def test_both_paths_have_all_types_and_suffixes(foreign: Server, token: str) -> None:
    for root in ("/v1/pixel/", "/pixel/v1/"):
        for kind in ("track", "page", "identify", "group"):
            for suffix in ("", ".gif", "/"):
                assert_pixel(ask(foreign, f"{root}{kind}{suffix}?writeKey=k&event=E&messageId={token}"))
        for kind in ("alias", "screen", "", "track/x"):
            assert_pixel(ask(foreign, f"{root}{kind}?writeKey=k&event=E&messageId={token}"))
    events, rejections = records(foreign, token)
    kinds = ["track", "page", "identify", "group"]
    assert [event["type"] for event in events] == [kind for kind in kinds for _ in range(3)] * 2
    expected = [("unknown_type", kind) for kind in ("alias", "screen", "", "track/x")] * 2
    assert [(record["reason"], record["type"]) for record in rejections] == expected


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 204), ("POST", 405)])
def test_other_methods(foreign: Server, token: str, method: str, status: int) -> None:
    for path in ("/pixel/v1/track", "/pixel/v1/alias"):
        reply = ask(foreign, f"{path}?writeKey=k&event=E&messageId={token}", method)
        assert (reply.status, status != 200 or reply.own_headers == PIXEL_HEADERS) == (status, True)
    assert records(foreign, token) == ([], [])


@pytest.mark.parametrize(("compat", "found"), [("", False), ("segment", False), ("rudderstack", True)])
def test_rudderstacks_path_is_there_when_it_is_asked_for(serve: Serve, compat: str, found: bool) -> None:
    server = serve({"PIXELCORE_COMPAT": compat})
    for path in ("/pixel/v1/track?writeKey=k&event=E", "/pixel/v1/other", "/pixel/v1/"):
        assert (ask(server, path).status == 200) == found
    assert (len(server.events()), len(server.rejections())) == ((1, 2) if found else (0, 0))


def test_what_came_before_the_switch_is_replayed(serve: Serve) -> None:
    """A record of a foreign request is judged as one, where the setting says so."""
    query = encoded('{"writeKey":"k","event":"E","messageId":"m1","properties":{"a":{"b":1}}}')
    server = serve()
    assert server.get(f"/v1/pixel/track?{query}").is_pixel
    assert server.get("/v1/pixel/track?writeKey=k&event=E&messageId=m2&properties.a.b=1").is_pixel
    assert server.get("/v1/pixel/track?data=x&messageId=m3").is_pixel
    before = [record["receivedAt"] for record in server.rejections()]
    assert replayed(server.data_dir) == [["missing_key", "3", "0"], ["total", "3", "0"]]
    too_deep = ("--compat", "segment", "--max-depth", "1")
    assert replayed(server.data_dir, *too_deep)[-1] == ["total", "3", "0"]
    assert replayed(server.data_dir, "--compat", "segment") == [["missing_key", "1", "2"], ["total", "1", "2"]]
    events = {event["messageId"]: event for event in server.events()}
    assert [events[mid]["receivedAt"] for mid in ("m1", "m2")] == before[:2]
    assert [events[mid]["properties"] for mid in ("m1", "m2")] == [{"a": {"b": 1}}, {"a": {"b": "1"}}]
    assert replayed(server.data_dir, "--compat", "segment") == [["missing_key", "1", "0"], ["total", "1", "0"]]


def test_malformed_data_is_answered_counted_and_kept(serve: Serve) -> None:
    server = serve({**BOTH, "PIXELCORE_DEBUG_HEADER": "true"})
    query = "data=%7B%22writeKey%22%3A%22k%22%7D&cb=1"
    answer = server.get(f"/v1/pixel/track?{query}")
    assert answer.is_pixel
    assert answer.headers["x-pixelcore"] == "malformed_data"
    (record,) = server.rejections()
    assert (record["reason"], record["query"]) == ("malformed_data", query)
    assert replayed(server.data_dir, "--reason", "malformed_data")[0][0] == "malformed_data"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("segment", ("segment",)),
        ("rudderstack,segment", ("rudderstack", "segment")),
        (" segment , rudderstack ,", ("segment", "rudderstack")),
    ],
)
def test_setting(text: str, names: tuple[str, ...]) -> None:
    assert settings.load({"PIXELCORE_COMPAT": text}).compat == names


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    for command in ("serve", "replay", "check"):
        ended = run(command, cwd=tmp_path, environment={"PIXELCORE_COMPAT": "segment,snowplow"})
        assert ended.returncode != 0
        (line,) = ended.stderr.splitlines()
        assert line.startswith("Error: PIXELCORE_COMPAT: must be 'segment', 'rudderstack', or both")
        assert line.endswith("not 'segment,snowplow'")
