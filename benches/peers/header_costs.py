"""What headers cost in Granian, an application for each row of ``benches.granian_costs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches.peers.bare import GIF, HEADERS

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope


async def nothing_read(_scope: Scope, protocol: HTTPProtocol) -> None:
    """No header of the request is looked at."""
    protocol.response_bytes(200, HEADERS, GIF)


async def read_once(scope: Scope, protocol: HTTPProtocol) -> None:
    """All headers are taken once, and one is read."""
    scope.headers.get("user-agent")
    protocol.response_bytes(200, HEADERS, GIF)


async def read_four_times(scope: Scope, protocol: HTTPProtocol) -> None:
    """Four headers are read as the documentation shows it."""
    scope.headers.get("user-agent")
    scope.headers.get("referer")
    scope.headers.get("accept-language")
    scope.headers.get("x-forwarded-for")
    protocol.response_bytes(200, HEADERS, GIF)


async def none_sent(_scope: Scope, protocol: HTTPProtocol) -> None:
    """The answer has no header of the application's."""
    protocol.response_bytes(200, [], GIF)
