"""Requests are answered where Granian hands them over: in its thread, without a task and without a turn of the event loop.

Granian makes a coroutine of each request, has it put into a task by the loop's thread (``loop.call_soon_threadsafe``), and
that task run in the loop's next turn: two changes of threads and a task for work that waits for nothing. Here the request
is taken out of that call. Where Granian or the loop are not as expected, nothing changes but the time that it takes.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

WATCHER = "CallbackWatcherHTTP"
"""Granian's class of what belongs to an HTTP request: its ``scope``, its ``proto``, and ``err`` for what went wrong."""


def install(
    loop: asyncio.AbstractEventLoop, handler: Callable[..., object], answer: Callable[[Any, Any], object]
) -> bool:
    """Let ``answer(scope, protocol)`` answer the HTTP requests that Granian has for ``handler``; False where it can't.

    It is called by one thread, since Granian has no more for RSGI, but not by the loop's: what it does to the loop must be
    safe from there. Where something stands between Granian and ``handler``, such as its
    access log, requests go through the loop.
    """
    queue = loop.call_soon_threadsafe
    watcher_type: type | None = None

    def call_soon_threadsafe(
        callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle | None:
        nonlocal watcher_type
        # Granian schedules a coroutine and, as its last argument, the watcher that the coroutine answers for.
        if len(args) != 2 or type(args[1]) is not watcher_type:
            if watcher_type is not None or len(args) != 2 or type(args[1]).__name__ != WATCHER:
                return queue(callback, *args, context=context)
            if not _calls(args[0], handler):
                del loop.call_soon_threadsafe
                return queue(callback, *args, context=context)
            watcher_type = type(args[1])
        coroutine, watcher = args
        coroutine.close()  # it has not begun
        try:
            answer(watcher.scope, watcher.proto)
        except BaseException as error:  # noqa: BLE001
            # Granian's caller does not look at exceptions. As for a coroutine, it logs this one and answers 500.
            watcher.err(error)
        return None

    try:
        # Of the instance, since Granian asks the loop anew for each request.
        loop.call_soon_threadsafe = call_soon_threadsafe  # type: ignore[assignment, method-assign]
    except AttributeError:
        return False
    return True


def _calls(coroutine: Any, handler: Callable[..., object]) -> bool:
    """Whether Granian's coroutine calls ``handler`` itself: it is what its function closes over."""
    try:
        return handler in coroutine.cr_frame.f_locals.values()
    except AttributeError:
        return False
