"""FastAPI, for uvicorn with httptools and uvloop.

Headers are read from the request: declared as parameters they cost more. The query cannot be declared, since the names
below ``p.`` and ``t.`` are anybody's.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from benches.peers.bare import GIF
from benches.peers.produced import HEADERS, collect, lifespan

app = FastAPI(lifespan=lifespan)


@app.get("/v1/pixel/{type}")
async def pixel(type: str, request: Request) -> Response:
    """Collect one event."""
    header = request.headers.get
    collect(
        type,
        request.scope["query_string"],
        ip=request.client.host if request.client else None,
        user_agent=header("user-agent"),
        referer=header("referer"),
        locale=header("accept-language"),
        gpc=header("sec-gpc"),
        dnt=header("dnt"),
    )
    return Response(GIF, headers=HEADERS, media_type="image/gif")
