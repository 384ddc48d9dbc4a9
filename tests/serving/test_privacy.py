"""``PIXELCORE_RESPECT_GPC`` and ``PIXELCORE_AUTOMATED`` over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.servers import Serve, Server
from tests.support.wire import ask, assert_pixel, records

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HEADERS = {
    "User-Agent": AGENT,
    "Referer": "https://example.com/page",
    "Accept-Language": "de-DE",
}
QUERY = "wk=dk_1&e=E&uid=user-of-mine&aid=anonymous-of-mine&gid=group&p.a=1&t.email=trait-of-mine&utm_source=mail"
# Who it was: all that must not be found anywhere once Sec-GPC is respected.
PERSONAL = ("user-of-mine", "anonymous-of-mine", "trait-of-mine", "127.0.0.1", AGENT)


@pytest.mark.parametrize("gpc", [None, "1", "0", "true"])
@pytest.mark.parametrize("respect", ["false", "true"])
def test_global_privacy_control(serve: Serve, token: str, respect: str, gpc: str | None) -> None:
    server = serve({"PIXELCORE_RESPECT_GPC": respect})
    headers = HEADERS | ({} if gpc is None else {"Sec-GPC": gpc})
    assert_pixel(ask(server, f"/v1/pixel/identify?{QUERY}&mid={token}", headers=headers))
    assert_pixel(ask(server, f"/v1/pixel/identify?cb={token}", headers=headers))
    ((event,), (rejection,)) = records(server, token)
    left_out = respect == "true" and gpc == "1"
    for member in ("userId", "anonymousId", "traits"):
        assert (member in event) != left_out
    for member in ("ip", "userAgent"):
        assert (member in event["context"]) != left_out
        assert (member in rejection["context"]) != left_out
    # What does not say who it was stays, and that somebody asked for privacy, too.
    assert (event["groupId"], event["properties"]) == ("group", {"a": "1"})
    assert event["context"]["page"] == {"url": "https://example.com/page"}
    assert event["context"]["locale"] == "de-DE"
    assert event["context"]["campaign"] == {"source": "mail"}
    assert event["context"].get("consent") == ({"gpc": True} if gpc == "1" else None)
    found = [text for text in PERSONAL if text in json.dumps(event)]
    assert found == ([] if left_out else list(PERSONAL))


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
SLACK = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"
# name, headers, whether a person looked
CLIENTS: list[tuple[str, dict[str, str], bool]] = [
    ("a browser", {"User-Agent": CHROME}, True),
    ("no agent at all", {}, True),
    ("a mail proxy", {"User-Agent": GMAIL}, True),
    ("a link preview", {"User-Agent": SLACK}, False),
    ("Sec-Purpose", {"User-Agent": CHROME, "Sec-Purpose": "prefetch"}, False),
    ("Sec-Purpose with a parameter", {"User-Agent": CHROME, "Sec-Purpose": "prefetch;prerender"}, False),
    ("Purpose", {"User-Agent": CHROME, "Purpose": "prefetch"}, False),
    ("X-Purpose", {"User-Agent": CHROME, "X-Purpose": "preview"}, False),
    ("X-Moz", {"User-Agent": AGENT, "X-Moz": "prefetch"}, False),
    ("in lower case", {"user-agent": AGENT, "x-moz": "prefetch"}, False),
    ("another purpose", {"User-Agent": CHROME, "Purpose": "navigate"}, True),
    ("an empty one before another", {"User-Agent": CHROME, "Sec-Purpose": "", "X-Purpose": "preview"}, False),
]


@pytest.fixture(scope="module", params=["flag", "reject"])
def automated_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = {"PIXELCORE_AUTOMATED": request.param, "PIXELCORE_DEBUG_HEADER": "true"}
    server = Server(tmp_path_factory.mktemp("automated"), settings)
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize(("headers", "person"), [pytest.param(*row[1:], id=row[0]) for row in CLIENTS])
def test_automated_clients(automated_server: Server, token: str, headers: dict[str, str], person: bool) -> None:
    """Flagged unless they are not wanted; then rejected, and kept with what they are."""
    answer = ask(automated_server, f"/v1/pixel/page?wk=dk_1&mid={token}", headers=headers)
    events, rejections = records(automated_server, token)
    rejects = automated_server.settings["PIXELCORE_AUTOMATED"] == "reject"
    if person or not rejects:
        assert (answer.header("x-pixelcore"), len(events), rejections) == ("accepted", 1, [])
        assert events[0]["context"].get("client", {}).get("automated", False) is not person
    else:
        assert (answer.header("x-pixelcore"), events, len(rejections)) == ("automated", [], 1)
        assert rejections[0]["reason"] == "automated"
        assert rejections[0]["context"]["client"]["automated"] is True


def test_automated_is_the_last_reason(serve: Serve, token: str) -> None:
    server = serve({"PIXELCORE_AUTOMATED": "reject"})
    deep = "p." + ".".join(["a"] * 33)
    for target, reason in (
        (f"nothing?wk=dk_1&cb={token}", "unknown_type"),
        (f"track?cb={token}", "missing_key"),
        (f"track?wk=dk_1&cb={token}", "missing_event"),
        (f"page?wk=dk_1&{deep}=1&cb={token}", "too_deep"),
        (f"page?wk=dk_1&cb={token}", "automated"),
    ):
        assert_pixel(ask(server, f"/v1/pixel/{target}", headers={"User-Agent": SLACK}))
        assert records(server, token)[1][-1]["reason"] == reason
