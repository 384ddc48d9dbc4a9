"""The floor: an RSGI application that answers pixelcore's GIF with pixelcore's headers, and does nothing else.

Its figure is the cost of Granian, its event loop and one coroutine. The rest of a gateway's figure is pixelcore's cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

GIF: Final = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00"
    b"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)

HEADERS: Final = [
    ("content-type", "image/gif"),
    ("cache-control", "no-store, no-cache, must-revalidate"),
    ("pragma", "no-cache"),
    ("expires", "0"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("access-control-allow-origin", "*"),
]


async def app(_scope: Scope, protocol: HTTPProtocol) -> None:
    """Answer every request alike."""
    protocol.response_bytes(200, HEADERS, GIF)
