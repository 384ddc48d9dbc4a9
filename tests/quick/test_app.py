"""The application's answer to each kind of request, and its call of the core (contract, section 1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pixelcore import app as module
from pixelcore._core import Counters
from pixelcore.app import ALLOW, GIF, GIF_HEADERS, PREFLIGHT_HEADERS, TEXT_HEADERS, App
from pixelcore.observing import counters
from pixelcore.paths import ROOT, RUDDERSTACK_ROOT, pixel_paths
from pixelcore.serving.worker import Worker
from pixelcore.settings import Settings

from tests.support.servers import journal_lines

PIXEL = (200, GIF_HEADERS, GIF)
NOT_FOUND = (404, TEXT_HEADERS, "not found\n")
REFUSED = (405, [*TEXT_HEADERS, ALLOW], "GET, HEAD or OPTIONS, please\n")
PREFLIGHT = (204, PREFLIGHT_HEADERS, None)
ROBOTS = "User-agent: *\nDisallow: /\n"


class Headers:
    """As Granian has them: a value that is not visible ASCII is there, but not handed over."""

    def __init__(self, lines: list[tuple[str, str | None]]) -> None:
        self._lines = lines

    def __contains__(self, name: str) -> bool:
        return any(other == name for other, _ in self._lines)

    def __getitem__(self, name: str) -> str:
        return next(value or "" for other, value in self._lines if other == name)

    def get(self, name: str, default: Any = None) -> Any:
        first = next((value for other, value in self._lines if other == name), default)
        return default if first is None else first

    def get_all(self, name: str) -> list[str]:
        return [value for other, value in self._lines if other == name and value is not None]


class Scope:
    """A request."""

    client = "203.0.113.7:4711"

    def __init__(
        self, path: str, query: str = "", method: str = "GET", headers: list[tuple[str, str | None]] | None = None
    ) -> None:
        self.path, self.query_string, self.method, self.headers = path, query, method, Headers(headers or [])


class Answer:
    """The way to answer one, which takes note of what is answered."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.told.append((status, headers, body))

    response_str = response_bytes

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.told.append((status, headers, None))


class Gateway:
    """The application with a worker of its own, in this process."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        chosen = Settings(data_dir=data_dir, **settings)
        self.data_dir = data_dir
        self.loop = asyncio.new_event_loop()
        self.app = App()
        self.app.worker = Worker(chosen, self.loop, self.app.answer_pixel)
        self.app.roots = (ROOT, RUDDERSTACK_ROOT) if "rudderstack" in chosen.compat else (ROOT,)
        self.app.paths = pixel_paths(self.app.roots, chosen.paths)
        self.app.root_text, self.app.compat = f"{chosen.root_text}\n", chosen.compat

    def ask(self, *request: Any, **options: Any) -> Any:
        answer = Answer()
        scope: Any = Scope(*request, **options)
        asyncio.run(self.app.__rsgi__(scope, answer))
        (told,) = answer.told
        return told

    def lines(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in journal_lines(self.data_dir / kind)]

    def close(self) -> None:
        self.app.worker.stop()
        self.loop.close()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("pixelcore.observing.log.configure", lambda _: None)
    monkeypatch.setattr(counters, "_counters", Counters(counters.NAMES))
    made: list[Gateway] = []

    def begin(**settings: Any) -> Gateway:
        made.append(Gateway(tmp_path / f"data-{len(made)}", **settings))
        return made[-1]

    yield begin
    for gateway in made:
        gateway.close()


OWN = {"paths": (("/open", "track"),)}
BOTH: dict[str, Any] = {"compat": ("rudderstack",)}
ANSWERS: list[tuple[str, dict[str, Any], str, str, Any, str | None]] = [
    # name, settings, method, path, the answer, and the type of the event or rejection that is kept
    ("a pixel", {}, "GET", "/v1/pixel/track", PIXEL, "track"),
    ("an image's suffix", {}, "GET", "/v1/pixel/track.gif", PIXEL, "track"),
    ("a slash behind", {}, "GET", "/v1/pixel/page/", PIXEL, "page"),
    ("slashes between", {}, "GET", "//v1//pixel///group", PIXEL, "group"),
    ("no type", {}, "GET", "/v1/pixel/screen", PIXEL, "screen"),
    ("slashes before no type", {}, "GET", "//v1/pixel//screen", PIXEL, "screen"),
    ("nothing behind the root", {}, "GET", "/v1/pixel/", PIXEL, ""),
    ("another suffix", {}, "GET", "/v1/pixel/track.png", PIXEL, "track.png"),
    ("its head", {}, "HEAD", "/v1/pixel/track", PIXEL, None),
    ("its preflight", {}, "OPTIONS", "/v1/pixel/track", PREFLIGHT, None),
    ("another method", {}, "POST", "/v1/pixel/track", REFUSED, None),
    ("another method of no type", {}, "PUT", "/v1/pixel/screen", REFUSED, None),
    ("a path of one's own", OWN, "GET", "/open", PIXEL, "track"),
    ("the same with a suffix", OWN, "GET", "//open.gif", PIXEL, "track"),
    ("its preflight", OWN, "OPTIONS", "/open/", PREFLIGHT, None),
    ("nobody's path", {}, "GET", "/open", NOT_FOUND, None),
    ("another vendor's root", BOTH, "GET", "/pixel/v1/track", PIXEL, "track"),
    ("no type there", BOTH, "GET", "/pixel/v1/screen", PIXEL, "screen"),
    ("that root without the vendor", {}, "GET", "/pixel/v1/track", NOT_FOUND, None),
    ("the root", {"root_text": "Ask me"}, "GET", "/", (200, TEXT_HEADERS, "Ask me\n"), None),
    ("its head", {"root_text": "Ask me"}, "HEAD", "/", (200, TEXT_HEADERS, "Ask me\n"), None),
    ("robots", {}, "GET", "/robots.txt", (200, TEXT_HEADERS, ROBOTS), None),
    ("health", {}, "GET", "/healthz", (200, TEXT_HEADERS, "ok\n"), None),
    ("readiness", {}, "HEAD", "/readyz", (200, TEXT_HEADERS, "ok\n"), None),
    ("readiness by another method", {}, "POST", "/readyz", NOT_FOUND, None),
    ("slashes before health", {}, "GET", "//healthz", (200, TEXT_HEADERS, "ok\n"), None),
    ("nothing", {}, "GET", "/v1/pixels/track", NOT_FOUND, None),
]


@pytest.mark.parametrize(
    ("settings", "method", "path", "answer", "kind"),
    [pytest.param(*row[1:], id=f"{row[0]}: {row[3]}") for row in ANSWERS],
)
def test_answers(make: Any, settings: dict[str, Any], method: str, path: str, answer: Any, kind: str | None) -> None:
    gateway = make(**settings)
    assert gateway.ask(path, "wk=k&e=E", method) == answer
    kept = [line["type"] for which in ("events", "rejections") for line in gateway.lines(which)]
    assert kept == ([] if kind is None else [kind])


SENT: list[tuple[str, str, Any]] = [
    ("user-agent", "A", {"userAgent": "A"}),
    ("referer", "https://a.example/", {"page": {"url": "https://a.example/"}}),
    ("accept-language", "de", {"locale": "de"}),
    ("sec-gpc", "1", {"consent": {"gpc": True}}),
    ("dnt", "1", {"consent": {"dnt": True}}),
    *(
        (name, "prefetch", {"client": {"name": "prefetch", "automated": True}})
        for name in ("sec-purpose", "purpose", "x-moz")
    ),
    ("x-purpose", "preview", {"client": {"name": "preview", "automated": True}}),
]


@pytest.mark.parametrize(("name", "value", "context"), SENT)
def test_headers(make: Any, name: str, value: str, context: dict[str, Any]) -> None:
    gateway = make()
    path = "/v1/pixel/page"
    for sent in (value, None, ""):
        assert gateway.ask(path, "wk=k", headers=[(name, sent)]) == PIXEL
    there, unreadable, empty = (event["context"] for event in gateway.lines("events"))
    for found in (there, unreadable, empty):
        assert found.pop("ip") == "203.0.113.7"
        del found["library"]
    assert there == context
    assert unreadable == {"unreadable": [name]}, "with a byte that is not handed over"
    assert empty == {}


PROXIES: list[tuple[str, str, list[tuple[str, str | None]], str]] = [
    # name, PIXELCORE_TRUSTED_PROXIES, headers, the client's address
    ("nobody is trusted", "", [("x-forwarded-for", "192.0.2.1")], "203.0.113.7"),
    ("a proxy", "203.0.113.0/24", [("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
    ("two lines", "203.0.113.0/24", [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
    ("the other header", "203.0.113.0/24", [("forwarded", "for=192.0.2.1")], "192.0.2.1"),
    ("a line that is not handed over", "203.0.113.0/24", [("x-forwarded-for", None)], "203.0.113.7"),
    (
        "nor the first of two",
        "203.0.113.0/24",
        [("x-forwarded-for", None), ("x-forwarded-for", "6.6.6.6")],
        "203.0.113.7",
    ),
    ("no header", "203.0.113.0/24", [], "203.0.113.7"),
]


@pytest.mark.parametrize(("trusted", "headers", "ip"), [pytest.param(*row[1:], id=row[0]) for row in PROXIES])
def test_proxies(make: Any, trusted: str, headers: list[tuple[str, str | None]], ip: str) -> None:
    gateway = make(trusted_proxies=trusted)
    assert gateway.ask("/v1/pixel/page", "wk=k", headers=headers) == PIXEL
    (event,) = gateway.lines("events")
    assert event["context"]["ip"] == ip


def test_the_origin_is_asked_for_where_there_are_keys(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('[[pipeline]]\nid = "pip_1"\nkey = "dk_live_1"\ndomain_allowlist = ["a.example"]\n')
    headers: list[list[tuple[str, str | None]]] = [
        [("origin", origin)] for origin in ("https://a.example", "https://b.example", None)
    ]
    gateway = make(keys_file=file)
    for sent in headers:
        assert gateway.ask("/v1/pixel/page", "wk=dk_live_1", headers=sent) == PIXEL
    assert (len(gateway.lines("events")), [line["reason"] for line in gateway.lines("rejections")]) == (
        1,
        ["domain_not_allowed"] * 2,
    )
    without = make()
    assert without.ask("/v1/pixel/page", "wk=k", headers=headers[2]) == PIXEL
    assert "unreadable" not in without.lines("events")[0]["context"]


TOLD: list[tuple[str, str, str]] = [
    ("accepted", "wk=k&e=E", "accepted"),
    ("rejected", "e=E", "missing_key"),
    ("names that mean nothing", "wk=k&e=E&b=1&a%20c=2&cb=3", "accepted; ignored=b,a%20c"),
    ("no more than ten, and no long ones", f"wk=k&e=E&{'x' * 70}=1" + "".join(f"&n{n}" for n in range(12)),
        "accepted; ignored=" + ",".join(["x" * 64, *(f"n{n}" for n in range(9))])),
]  # fmt: skip


@pytest.mark.parametrize(("query", "told"), [pytest.param(*row[1:], id=row[0]) for row in TOLD])
def test_what_it_made_of_a_request(make: Any, query: str, told: str) -> None:
    gateway = make(debug_header=True)
    assert gateway.ask("/v1/pixel/track", query) == (200, [*GIF_HEADERS, ("x-pixelcore", told)], GIF)
    assert make().ask("/v1/pixel/track", query) == PIXEL, "only where somebody wants to know"


def test_an_answer_that_waits_for_a_flush_is_named_then() -> None:
    answer = Answer()
    headers = [("content-type", "image/gif"), ("connection", "close"), ("x-pixelcore", "accepted")]
    module.NamingResponse(answer, "; ignored=b").response_bytes(200, headers, GIF)  # type: ignore[arg-type]
    assert answer.told == [(200, [*headers[:2], ("x-pixelcore", "accepted; ignored=b")], GIF)]


def test_whatever_goes_wrong_the_gif_is_answered(make: Any) -> None:
    gateway = make(debug_header=True)
    gateway.app.worker._housekeeper.stop()  # it would find once a second that there is room again

    def fails(*_: object) -> str:
        raise ValueError("a defect")

    gateway.app.worker.collect = fails
    assert gateway.ask("/v1/pixel/track", "wk=k&e=E") == (200, [*GIF_HEADERS, ("x-pixelcore", "lost")], GIF)
    assert gateway.ask("/readyz")[0] == 503
    assert gateway.ask("/healthz")[0] == 200


def test_who_parts_says_so_with_each_answer(make: Any) -> None:
    gateway = make()
    gateway.app.worker.part()
    close = ("connection", "close")
    assert gateway.ask("/v1/pixel/track", "wk=k&e=E") == (200, [*GIF_HEADERS, close], GIF)
    assert gateway.ask("/readyz") == (503, [*TEXT_HEADERS, close], "stopping\n")


def test_the_gif() -> None:
    assert (len(module.GIF), module.GIF[:6], module.GIF[-1:]) == (43, b"GIF89a", b";")
    assert dict(GIF_HEADERS) == {
        "content-type": "image/gif",
        "cache-control": "no-store, no-cache, must-revalidate",
        "pragma": "no-cache",
        "expires": "0",
        "cross-origin-resource-policy": "cross-origin",
        "access-control-allow-origin": "*",
    }
