"""Answers requests inline: in the thread in which Granian hands them over, without a coroutine, a task and a turn of the event loop.

For each request, Granian calls a function that makes a coroutine, and the event loop runs it as a task. This costs two thread
switches for work that waits for nothing. Granian makes that function once, after it has initialised a worker. `install` replaces
it with a function that answers.

That function is not a part of Granian's interface. So everything that this module uses of Granian is checked, both when the
function is made and before the first request is answered inline. If something is not as expected, the worker falls back: all
requests go through the event loop, and the log and a metric say so. No request is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from ..observing import counters
from . import scheduling

log = logging.getLogger("pixelcore")

MAKER = "_cbsched_aioschedule"
"""The factory of Granian's function, in its module ``_futures``. One of its arguments makes the coroutine."""

WATCHER = ("scope", "proto")
"""The used attributes of Granian's object for a request. Its method `FAIL` takes an exception, answers 500, and logs it."""
FAIL = ("err",)
SCOPE = ("proto", "method", "path", "query_string", "client", "headers")
HEADERS = ("get", "get_all", "__contains__", "__getitem__")
PROTOCOL = ("response_empty", "response_str", "response_bytes")

Answer = Callable[[Any, Any], object]
Schedule = Callable[[Any], object]


def install(handler: Callable[..., object], answer: Answer) -> None:
    """Let ``answer(scope, protocol)`` answer the HTTP requests that Granian would pass to ``handler``.

    Call it before Granian makes its function. One thread calls ``answer``, because Granian has one thread for RSGI. It is not the
    loop's thread, so ``answer`` may use the loop only in thread-safe ways.
    """
    try:
        from granian import _futures

        make = getattr(_futures, MAKER)
    except (ImportError, AttributeError):
        _fall_back("it makes its scheduler in another way")
        return

    def make_once(*arguments: Any, **named: Any) -> Schedule:
        setattr(_futures, MAKER, make)
        through_loop: Schedule = make(*arguments, **named)
        if not any(_calls(argument, handler) for argument in (*arguments, *named.values())):
            _fall_back("something is between it and the handler, such as its access log")
            return through_loop
        counters.inline(True)
        return _inline(answer, through_loop)

    setattr(_futures, MAKER, make_once)


def _inline(answer: Answer, through_loop: Schedule) -> Schedule:
    """Granian's function with inline answers, as long as Granian is as expected."""
    known: type | None = None
    """The class of the requests that are answered inline, after one of them was checked."""
    fallen_back = False

    def schedule(watcher: Any) -> None:
        nonlocal known, fallen_back
        if type(watcher) is not known:
            unlike = None if fallen_back else _difference(watcher)
            if fallen_back or unlike is not None:
                if unlike:
                    fallen_back = True
                    _fall_back(unlike)
                through_loop(watcher)
                return
            known = type(watcher)
            scheduling.take_short_turns()
        try:
            scope, protocol = watcher.scope, watcher.proto
        except AttributeError as error:
            known, fallen_back = None, True
            _fall_back(str(error))
            through_loop(watcher)
            return
        try:
            answer(scope, protocol)
        except BaseException as error:  # noqa: BLE001
            # Granian's caller ignores exceptions. Like a coroutine's, this one is logged and answered with 500.
            watcher.err(error)

    return schedule


def _difference(watcher: Any) -> str | None:
    """The difference between a request's object and the expected one; ``""`` for a WebSocket, which only the loop can answer."""
    if missing := _missing("watcher", watcher, WATCHER) or _missing("watcher", watcher, FAIL, callable):
        return missing
    scope = watcher.scope
    if missing := _missing("scope", scope, SCOPE):
        return missing
    if scope.proto != "http":
        return ""
    return _missing("headers", scope.headers, HEADERS, callable) or _missing("proto", watcher.proto, PROTOCOL, callable)


def _missing(
    role: str, thing: Any, names: tuple[str, ...], suits: Callable[[Any], bool] = lambda _: True
) -> str | None:
    for name in names:
        try:
            if suits(getattr(thing, name)):
                continue
        except AttributeError:
            pass
        return f"{role}.{name} is missing or has another type"
    return None


def _fall_back(why: str) -> None:
    counters.inline(False)
    granian = version("granian")
    log.warning(
        "requests are answered in the event loop, which costs more CPU: Granian %s is not as expected: %s",
        granian,
        why,
        extra={"granian": granian},
    )


def _calls(argument: Any, handler: Callable[..., object]) -> bool:
    """Whether this function makes coroutines that call ``handler`` itself, that is, closes over it."""
    try:
        return any(cell.cell_contents == handler for cell in getattr(argument, "__closure__", None) or ())
    except ValueError:  # an empty cell
        return False
