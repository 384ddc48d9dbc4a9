"""Group commit for ``PIXELCORE_FSYNC=always``: an answer waits for the flush that covers its line, together with its group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._core import Collector, Committer
from ..observing import counters

if TYPE_CHECKING:
    from ..rsgi import HTTPProtocol

Answer = Callable[[Any, "str | None", "Exception | None"], object]
"""Answers a request. Takes its protocol, its reason of rejection if any, and the error if nothing was kept."""


class DeferredResponse:
    """A protocol that tells its request's coroutine that the GIF was sent. If a coroutine ends earlier, Granian answers 500."""

    def __init__(self, protocol: HTTPProtocol) -> None:
        self.answered = asyncio.get_running_loop().create_future()
        self.response_empty = protocol.response_empty
        self.response_str = protocol.response_str
        self._response_bytes = protocol.response_bytes

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer, and let the coroutine end."""
        self._response_bytes(status, headers, body)
        if not self.answered.done():  # it may be cancelled
            self.answered.set_result(None)


class GroupCommit:
    """Answers requests after the flush of their group."""

    def __init__(self, collector: Collector, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        self._committer = Committer(collector)
        self._loop = loop
        self._answer = answer
        self.ask = self._committer.ask
        loop.add_reader(self._committer.fileno(), self._take)

    def defer(self, protocol: HTTPProtocol) -> DeferredResponse:
        """The protocol of a request that the event loop runs, so that its coroutine ends after the answer."""
        return DeferredResponse(protocol)

    def stop(self) -> None:
        """Flush for the requests that still wait."""
        self._loop.remove_reader(self._committer.fileno())
        self._committer.stop()
        self._take()

    def _take(self) -> None:
        answer = self._answer
        for waited, seconds, error in self._committer.take():
            # A flush may find nothing to do, because an earlier one has covered the same lines.
            if waited and error is None:
                counters.observe("fsync_seconds", seconds)
            for protocol, outcome in waited:
                answer(protocol, outcome, error)
