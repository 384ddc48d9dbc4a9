"""Starlette, for uvicorn with httptools and uvloop."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benches.peers.bare import GIF
from benches.peers.produced import HEADERS, collect, lifespan


async def pixel(request: Request) -> Response:
    """Collect one event."""
    header = request.headers.get
    collect(
        request.path_params["type"],
        request.scope["query_string"],
        ip=request.client.host if request.client else None,
        user_agent=header("user-agent"),
        referer=header("referer"),
        locale=header("accept-language"),
        gpc=header("sec-gpc"),
        dnt=header("dnt"),
    )
    return Response(GIF, headers=HEADERS, media_type="image/gif")


app = Starlette(routes=[Route("/v1/pixel/{type}", pixel)], lifespan=lifespan)
