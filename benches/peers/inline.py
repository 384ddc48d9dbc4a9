"""The floor under the floor: `bare`'s answer, given inline as pixelcore's is, in a thread with the same turns."""

from __future__ import annotations

import asyncio
from typing import Any

from pixelcore.serving import granian_inline

from benches.peers.bare import GIF, HEADERS


class App:
    """Answers every request alike."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Without counters of a worker there is nothing to say which way requests go.
        granian_inline.install(self.__rsgi__, self.answer)

    def answer(self, _scope: Any, protocol: Any) -> None:
        """Answer a request."""
        protocol.response_bytes(200, HEADERS, GIF)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        self.answer(scope, protocol)


app = App()
