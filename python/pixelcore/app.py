"""The RSGI application: ``granian pixelcore.app:app`` (contract, section 1).

It routes a request, hands it to the worker's collector, and answers. A pixel's GET always gets the GIF, even if nothing was kept.
It knows no Kafka and no settings beyond paths; `serving` does everything that is not an answer.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from ._core import ignored_names
from .errors import SettingsError
from .paths import ROOT, RUDDERSTACK_ROOT, pixel_paths

if TYPE_CHECKING:
    from .rsgi import Headers, HTTPProtocol, Scope
    from .serving.worker import Worker

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""43 bytes, 1x1, transparent, GIF89a. Gmail refuses the shorter ones."""

GIF_HEADERS = [
    ("content-type", "image/gif"),
    ("cache-control", "no-store, no-cache, must-revalidate"),
    ("pragma", "no-cache"),
    ("expires", "0"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("access-control-allow-origin", "*"),
]
ALLOW = ("allow", "GET, HEAD, OPTIONS")
PREFLIGHT_HEADERS = [
    ALLOW,
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    ("access-control-allow-headers", "*"),
    ("access-control-max-age", "86400"),
]
TEXT_HEADERS = [("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")]

UNREADABLE = True
"""The core's value for a header that Granian does not hand over, because it has a byte that is not visible ASCII."""

SLASHES = re.compile("/{2,}")


class NamingResponse:
    """A protocol that adds to the header X-Pixelcore."""

    def __init__(self, protocol: HTTPProtocol, more: str) -> None:
        self._respond = protocol.response_bytes
        self._more = more

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer."""
        name, outcome = headers[-1]
        self._respond(status, [*headers[:-1], (name, outcome + self._more)], body)


def told(headers: Headers, name: str) -> str | bool | None:
    """A header's value, `UNREADABLE`, or None if it is missing."""
    return headers.get(name, UNREADABLE) if name in headers else None


def lines_of(headers: Headers, name: str) -> Sequence[str | bool]:
    """The lines of a header, or only `UNREADABLE` if one of them could not be read: its contents are unknown.

    Granian leaves unreadable lines out. If the first one is unreadable, it has an empty text, which no proxy sends.
    """
    lines = headers.get_all(name)
    if name in headers and (not lines or lines[0] != headers[name] or lines[0] == ""):
        return [UNREADABLE]
    return lines


class App:
    """One per worker. Its `Worker` lives from ``__rsgi_init__`` to ``__rsgi_del__``."""

    worker: Worker
    roots: tuple[str, ...]
    paths: dict[str, str]
    root_text: str
    compat: Sequence[Literal["segment", "rudderstack"]]

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Granian's main process also imports this module, but does not need these imports.
        from . import settings
        from .serving import granian_inline, handover
        from .serving.worker import Worker

        try:
            chosen = settings.load()
            self.worker = Worker(chosen, loop, self.answer_pixel)
        except SettingsError as error:
            raise SystemExit(f"pixelcore: {error}") from None
        self.roots = (ROOT, RUDDERSTACK_ROOT) if "rudderstack" in chosen.compat else (ROOT,)
        self.paths = pixel_paths(self.roots, chosen.paths)
        self.root_text = f"{chosen.root_text}\n"
        self.compat = chosen.compat
        if chosen.debug_header and self.worker.group_commit is not None:
            self.worker.collect = self.naming(self.worker.collect)
        handover.install(loop, chosen.handover_seconds, self.worker.part)
        if chosen.inline == "auto":
            granian_inline.install(self.__rsgi__, self.answer)

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.worker.stop()

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        """Answer in the event loop: WebSockets always, and all requests if none is answered inline."""
        if not hasattr(protocol, "response_bytes"):
            protocol.close(403)  # without --no-ws, plain Granian accepts WebSockets
        elif self.worker.group_commit is None:
            self.answer(scope, protocol)
        else:
            deferred = self.worker.group_commit.defer(protocol)
            if self.answer(scope, deferred):
                await deferred.answered

    def answer(self, scope: Scope, protocol: HTTPProtocol) -> bool:
        """Answer a request. True if it is answered later, when its line is flushed."""
        path = scope.path
        kind = self.paths.get(path)
        if kind is None:
            path = SLASHES.sub("/", path)
            kind = self.paths.get(path)
            if kind is None:
                if not path.startswith(self.roots):
                    return self.answer_other(scope, protocol, path)
                kind = path[len(ROOT) :]  # all roots have the same length
        if scope.method != "GET":
            return self.answer_method(scope.method, protocol)
        worker, outcome = self.worker, None
        try:
            headers = scope.headers  # each access makes a copy
            header = headers.get
            outcome = worker.collect(
                kind,
                scope.query_string,
                scope.client,
                (  # in the order of `_core.HEADERS`; first the headers that are usually present
                    header("user-agent") or told(headers, "user-agent"),
                    header("referer") or told(headers, "referer"),
                    header("accept-language") or told(headers, "accept-language"),
                    header("sec-gpc", UNREADABLE) if "sec-gpc" in headers else None,
                    header("dnt", UNREADABLE) if "dnt" in headers else None,
                    header("sec-purpose", UNREADABLE) if "sec-purpose" in headers else None,
                    header("purpose", UNREADABLE) if "purpose" in headers else None,
                    header("x-purpose", UNREADABLE) if "x-purpose" in headers else None,
                    header("x-moz", UNREADABLE) if "x-moz" in headers else None,
                    header("origin", UNREADABLE) if worker.asks_origin and "origin" in headers else None,
                ),
                lines_of(headers, "x-forwarded-for") if worker.asks_proxies else None,
                lines_of(headers, "forwarded") if worker.asks_proxies else None,
                protocol,
            )
            if worker.group_commit is not None:
                worker.group_commit.ask()
                return True
        except Exception as error:  # noqa: BLE001
            return self.answer_pixel(protocol, outcome, error)
        if not worker.plain:
            return self.answer_pixel(protocol, outcome, None, self.ignored(kind, scope.query_string))
        protocol.response_bytes(200, GIF_HEADERS, GIF)
        return False

    def ignored(self, kind: str, query: str) -> str:
        """The part of the header X-Pixelcore about unknown names."""
        names = ignored_names(kind, query, self.compat) if self.worker.debug_header else []
        return "; ignored=" + ",".join(quote(name[:64], "[]{}()") for name in names[:10]) if names else ""

    def naming(self, collect: Callable[..., str | None]) -> Callable[..., str | None]:
        """``collect`` for requests that are answered later: the protocol that waits knows the unknown names."""

        def named(kind: str, query: str, *parts: Any) -> str | None:
            return collect(kind, query, *parts[:-1], NamingResponse(parts[-1], self.ignored(kind, query)))

        return named

    def answer_pixel(
        self, protocol: HTTPProtocol, outcome: str | None, error: Exception | None, ignored: str = ""
    ) -> bool:
        """Answer with the GIF. ``outcome`` is the reason of rejection if any, ``error`` the cause if nothing was kept."""
        if error is not None:
            # A broken image helps nobody. The error is counted, logged, and shown by /readyz.
            self.worker.failed(error)
            outcome = "lost"
        headers = GIF_HEADERS if self.worker.plain else [*GIF_HEADERS, *self.worker.headers(outcome, ignored)]
        protocol.response_bytes(200, headers, GIF)
        return False

    def answer_method(self, method: str, protocol: HTTPProtocol) -> bool:
        """Answer any method but GET on a pixel path."""
        if method == "HEAD":
            protocol.response_bytes(200, GIF_HEADERS, GIF)
        elif method == "OPTIONS":
            protocol.response_empty(204, PREFLIGHT_HEADERS)
        else:
            protocol.response_str(405, [*TEXT_HEADERS, ALLOW], "GET, HEAD or OPTIONS, please\n")
        return False

    def answer_other(self, scope: Scope, protocol: HTTPProtocol, path: str) -> bool:
        """Answer all paths that are not a pixel's."""
        status, text = 404, "not found\n"
        if scope.method in ("GET", "HEAD"):
            if path == "/healthz":
                status, text = self.worker.health()
            elif path == "/readyz":
                status, text = self.worker.readiness()
            elif path == "/":
                status, text = 200, self.root_text
            elif path == "/robots.txt":
                status, text = 200, "User-agent: *\nDisallow: /\n"
        protocol.response_str(status, [*TEXT_HEADERS, *self.worker.parting], text)
        return False


app = App()
