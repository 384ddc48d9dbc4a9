"""``PIXELCORE_PATHS``: its valid values, and the answers on its paths (contract, section 1)."""

from __future__ import annotations

from typing import Any

import pytest
from pixelcore import SettingsError, settings
from pixelcore.paths import ROOT, pixel_paths

from tests.support.servers import Serve
from tests.support.wire import PIXEL_HEADERS, ask, assert_pixel, records

RIGHT: list[tuple[str, str, tuple[tuple[str, str], ...]]] = [
    ("none", "", ()),
    ("one", "/o=track", (("/o", "track"),)),
    ("two", "/o=track,/img/p=page", (("/o", "track"), ("/img/p", "page"))),
    ("spaces and a comma too many", " /o = track , /p=page ,", (("/o", "track"), ("/p", "page"))),
    ("two of one type", "/a=track,/b=track", (("/a", "track"), ("/b", "track"))),
    ("all that a word may have", "/A-z_0.9~=group", (("/A-z_0.9~", "group"),)),
    ("one that begins as a root does", "/v1/pixels=page", (("/v1/pixels", "page"),)),
    ("above a root", "/v1=identify", (("/v1", "identify"),)),
]

WRONG: list[tuple[str, str, str]] = [
    ("no type", "/o", "'/o' is not"),
    ("an unknown type", "/o=open", "'/o=open' is not"),
    ("no path", "=track", "'' is not a path"),
    ("no slash", "o=track", "'o' is not a path"),
    ("the root", "/=track", "'/' is not a path"),
    ("a slash at the end", "/o/=track", "'/o/' is not a path"),
    ("two slashes", "//o=track", "'//o' is not a path"),
    ("dots, which browsers resolve", "/a/../b=track", "'/a/../b' is not a path"),
    ("a query", "/o?a=track", "'/o?a' is not a path"),
    ("an escape", "/%6f=track", "'/%6f' is not a path"),
    ("a space", "/a b=track", "'/a b' is not a path"),
    ("other letters", "/é=track", "'/é' is not a path"),
    ("a suffix", "/o.gif=track", "'/o.gif' must not end in .gif"),
    ("twice", "/o=track,/o=page", "'/o' is listed twice"),
    ("the gateway's", "/v1/pixel/track=page", "'/v1/pixel/track' is reserved for the gateway"),
    ("the gateway's root", "/v1/pixel=page", "'/v1/pixel' is reserved for the gateway"),
    ("the vendor's", "/pixel/v1/x=page", "'/pixel/v1/x' is reserved for the gateway"),
    ("health", "/healthz=page", "'/healthz' is reserved for the gateway"),
]


@pytest.mark.parametrize(("text", "expected"), [pytest.param(*row[1:], id=row[0]) for row in RIGHT])
def test_right(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    assert settings.load({"PIXELCORE_PATHS": text}).paths == expected


@pytest.mark.parametrize(("text", "said"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_wrong(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load({"PIXELCORE_PATHS": text})
    message = str(caught.value)
    assert message.startswith("PIXELCORE_PATHS: must ")
    assert said in message
    assert "\n" not in message


def test_unset_it_adds_nothing_to_route_by() -> None:
    assert len(pixel_paths((ROOT,))) == 12
    assert set(pixel_paths((ROOT,), (("/o", "track"),))) - set(pixel_paths((ROOT,))) == {"/o", "/o.gif", "/o/"}


@pytest.mark.parametrize("command", ["pixelcore", "granian"])
@pytest.mark.parametrize("inline", ["auto", "off"])
def test_own_paths_are_answered(serve: Serve, token: str, command: Any, inline: str) -> None:
    chosen = {"PIXELCORE_PATHS": "/open=track,/img/welcome=page", "PIXELCORE_INLINE": inline}
    server = serve(chosen, command=command)
    for path in ("/open", "/img/welcome"):
        for suffix in ("", ".gif", "/"):
            assert_pixel(ask(server, f"{path}{suffix}?wk=dk_1&e=E&mid={token}"))
            head = ask(server, f"{path}{suffix}?wk=dk_1&e=E&mid={token}", "HEAD")
            assert (head.status, head.own_headers) == (200, PIXEL_HEADERS)
            assert ask(server, f"{path}{suffix}", "OPTIONS").status == 204
            assert ask(server, f"{path}{suffix}", "POST").status == 405
    for path in ("/open/x", "/open.png", "/img", "/img/", "/OPEN", "/o"):
        assert ask(server, f"{path}?wk=dk_1&e=E&mid={token}").status == 404
    assert_pixel(ask(server, f"/open?wk=dk_1&mid={token}"))
    assert_pixel(ask(server, f"/v1/pixel/track?wk=dk_1&e=E&mid={token}"))
    events, rejections = records(server, token)
    assert [event["type"] for event in events] == ["track"] * 3 + ["page"] * 3 + ["track"]
    assert [(record["reason"], record["type"]) for record in rejections] == [("missing_event", "track")]
