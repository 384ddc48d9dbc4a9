"""BlackSheep, for Granian over ASGI, the one interface that it has."""

from __future__ import annotations

from blacksheep import Application, Content, Request, Response

from benches.peers.bare import GIF
from benches.peers.produced import HEADERS, collect, producer

app = Application()
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


@app.router.get("/v1/pixel/{type}")
async def pixel(request: Request, type: str) -> Response:
    """Collect one event."""

    def header(name: bytes) -> str | None:
        value = request.get_first_header(name)
        return value.decode("latin-1") if value is not None else None

    collect(
        type,
        request.scope["query_string"],
        ip=request.client_ip,
        user_agent=header(b"user-agent"),
        referer=header(b"referer"),
        locale=header(b"accept-language"),
        gpc=header(b"sec-gpc"),
        dnt=header(b"dnt"),
    )
    return Response(200, [*RAW_HEADERS], Content(b"image/gif", GIF))


@app.on_stop
async def stop(_app: Application) -> None:
    """Deliver what is left when the server stops."""
    producer.flush(10)
