"""The RSGI application: ``granian pixelcore.app:app`` (contract, section 1)."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from .errors import SettingsError

if TYPE_CHECKING:
    from .rsgi import HTTPProtocol, Scope
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

ROOT = "/v1/pixel/"
RUDDERSTACK_ROOT = "/pixel/v1/"
TYPES = ("track", "page", "identify", "group")


def pixel_paths(roots: tuple[str, ...]) -> dict[str, str]:
    """The types by the paths that have them."""
    return {root + name + suffix: name for root in roots for name in TYPES for suffix in ("", ".gif", "/")}


class App:
    """One per worker. Its `Worker` lives from ``__rsgi_init__`` to ``__rsgi_del__``."""

    worker: Worker
    roots: tuple[str, ...]
    paths: dict[str, str]

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Granian's main process imports this module, too, and needs none of that.
        from . import settings
        from .serving import granian_inline
        from .serving.worker import Worker

        try:
            chosen = settings.load()
            self.worker = Worker(chosen, loop, self.answer_pixel)
        except SettingsError as error:
            raise SystemExit(f"pixelcore: {error}") from None
        self.roots = (ROOT, RUDDERSTACK_ROOT) if "rudderstack" in chosen.compat else (ROOT,)
        self.paths = pixel_paths(self.roots)
        if chosen.inline == "auto":
            granian_inline.install(self.__rsgi__, self.answer)

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.worker.stop()

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        """What comes through the event loop: WebSockets, and every request where none is answered inline."""
        if not hasattr(protocol, "response_bytes"):
            protocol.close(403)  # plain granian takes WebSockets unless told otherwise
        elif self.worker.group_commit is None:
            self.answer(scope, protocol)
        else:
            deferred = self.worker.group_commit.defer(protocol)
            if self.answer(scope, deferred):
                await deferred.answered

    def answer(self, scope: Scope, protocol: HTTPProtocol) -> bool:
        """Answer a request, or see that it is answered when its line is flushed: True for that."""
        path = scope.path
        kind = self.paths.get(path)
        if kind is None:
            if not path.startswith(self.roots):
                return self.answer_other(scope, protocol, path)
            kind = path[len(ROOT) :]  # all roots are as long
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
                (  # in the order of `_core.HEADERS`
                    header("user-agent"),
                    header("referer"),
                    header("accept-language"),
                    header("sec-gpc"),
                    header("dnt"),
                    header("sec-purpose"),
                    header("purpose"),
                    header("x-purpose"),
                    header("x-moz"),
                    header("origin") if worker.asks_origin else None,
                ),
                headers.get_all("x-forwarded-for") if worker.asks_proxies else None,
                headers.get_all("forwarded") if worker.asks_proxies else None,
                protocol,
            )
            if worker.group_commit is not None:
                worker.group_commit.ask()
                return True
        except Exception as error:  # noqa: BLE001
            return self.answer_pixel(protocol, outcome, error)
        if worker.debug_header:
            return self.answer_pixel(protocol, outcome, None)
        protocol.response_bytes(200, GIF_HEADERS, GIF)
        return False

    def answer_pixel(self, protocol: HTTPProtocol, outcome: str | None, error: Exception | None) -> bool:
        """The GIF, whatever became of the request: ``outcome`` is why it was rejected, ``error`` why nothing is kept of it."""
        if error is not None:
            # A broken image helps nobody: what went wrong is counted, logged and told by /readyz.
            self.worker.failed(error)
            outcome = "lost"
        headers = [*GIF_HEADERS, ("x-pixelcore", outcome or "accepted")] if self.worker.debug_header else GIF_HEADERS
        protocol.response_bytes(200, headers, GIF)
        return False

    def answer_method(self, method: str, protocol: HTTPProtocol) -> bool:
        """Everything but GET on a pixel path."""
        if method == "HEAD":
            protocol.response_bytes(200, GIF_HEADERS, GIF)
        elif method == "OPTIONS":
            protocol.response_empty(204, PREFLIGHT_HEADERS)
        else:
            protocol.response_str(405, [*TEXT_HEADERS, ALLOW], "GET, HEAD or OPTIONS, please\n")
        return False

    def answer_other(self, scope: Scope, protocol: HTTPProtocol, path: str) -> bool:
        """Paths that are no pixel's."""
        status, text = 404, "not found\n"
        if scope.method in ("GET", "HEAD"):
            if path == "/healthz":
                status, text = self.worker.health()
            elif path == "/readyz":
                status, text = self.worker.readiness()
            elif path == "/robots.txt":
                status, text = 200, "User-agent: *\nDisallow: /\n"
        protocol.response_str(status, TEXT_HEADERS, text)
        return False


app = App()
