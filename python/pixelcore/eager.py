"""Requests are answered where Granian hands them over: in its thread, without a coroutine, a task and a turn of the event loop.

For each request Granian calls a function that makes a coroutine and has the loop's thread run it as a task: two changes of
threads for work that waits for nothing. That function is made once, when a worker has been initialised, and here Granian
gets one that answers in its place. Where Granian is not as expected, nothing changes but the time that it takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("pixelcore")

MAKER = "_cbsched_aioschedule"
"""What makes Granian's function, in its module ``_futures``. One of its arguments makes the coroutine."""
WATCHER = "CallbackWatcherHTTP"
"""Granian's class of what belongs to an HTTP request: its ``scope``, its ``proto``, and ``err`` for what went wrong."""


def install(handler: Callable[..., object], answer: Callable[[Any, Any], object]) -> None:
    """Let ``answer(scope, protocol)`` answer the HTTP requests that Granian will have for ``handler``.

    To be called before Granian makes its function. ``answer`` is called by one thread, since Granian has no more for RSGI, but
    not by the loop's: what it does to the loop must be safe from there. Where something stands between Granian and
    ``handler``, such as its access log, requests go through the loop.
    """
    try:
        from granian import _futures

        make = getattr(_futures, MAKER)
    except (ImportError, AttributeError):
        log.info("requests go through the event loop: this Granian is made otherwise")
        return

    def make_once(*arguments: Any, **named: Any) -> Callable[[Any], object]:
        setattr(_futures, MAKER, make)
        through_loop: Callable[[Any], object] = make(*arguments, **named)
        if any(_calls(argument, handler) for argument in (*arguments, *named.values())):
            return _answering(answer, through_loop)
        log.info("requests go through the event loop: something stands between Granian and the handler")
        return through_loop

    setattr(_futures, MAKER, make_once)


def _answering(answer: Callable[[Any, Any], object], through_loop: Callable[[Any], object]) -> Callable[[Any], object]:
    watcher_type: type | None = None

    def schedule(watcher: Any) -> None:
        nonlocal watcher_type
        if type(watcher) is not watcher_type:
            if type(watcher).__name__ != WATCHER:
                through_loop(watcher)  # a WebSocket
                return
            watcher_type = type(watcher)
        try:
            answer(watcher.scope, watcher.proto)
        except BaseException as error:  # noqa: BLE001
            # Granian's caller does not look at exceptions. As for a coroutine, it logs this one and answers 500.
            watcher.err(error)

    return schedule


def _calls(argument: Any, handler: Callable[..., object]) -> bool:
    """Whether this makes coroutines that call ``handler`` itself: then it is a function that closes over it."""
    try:
        return any(cell.cell_contents == handler for cell in getattr(argument, "__closure__", None) or ())
    except ValueError:  # an empty cell
        return False
