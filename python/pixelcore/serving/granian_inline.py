"""Answers requests inline: in the thread in which Granian hands them over, without a coroutine, a task and a turn of the event loop.

For each request Granian calls a function that makes a coroutine and has the event loop run it as a task: two changes of threads
for work that waits for nothing. Granian makes that function once, after it has initialised a worker. `install` replaces it with one
that answers in its place.

That function is not a part of Granian's interface. So everything that is used of Granian is checked, when the function is made and
before the first request is answered inline. Where something is not as expected, all requests go through the event loop, which the
log and a metric say. No request is lost by that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from ..observing import counters

log = logging.getLogger("pixelcore")

MAKER = "_cbsched_aioschedule"
"""What makes Granian's function, in its module ``_futures``. One of its arguments makes the coroutine."""

WATCHER = ("scope", "proto")
"""What is used of Granian's object for a request, and `FAIL`, which takes an exception, answers 500, and logs it."""
FAIL = ("err",)
SCOPE = ("proto", "method", "path", "query_string", "client", "headers")
HEADERS = ("get", "get_all")
PROTOCOL = ("response_empty", "response_str", "response_bytes")

Answer = Callable[[Any, Any], object]
Schedule = Callable[[Any], object]


def install(handler: Callable[..., object], answer: Answer) -> None:
    """Let ``answer(scope, protocol)`` answer the HTTP requests that Granian will have for ``handler``.

    To be called before Granian makes its function. ``answer`` is called by one thread, since Granian has no more for RSGI, but
    not by the loop's: what it does to the loop must be safe from there.
    """
    try:
        from granian import _futures

        make = getattr(_futures, MAKER)
    except (ImportError, AttributeError):
        _fall_back("it makes its scheduler otherwise")
        return

    def make_once(*arguments: Any, **named: Any) -> Schedule:
        setattr(_futures, MAKER, make)
        through_loop: Schedule = make(*arguments, **named)
        if not any(_calls(argument, handler) for argument in (*arguments, *named.values())):
            _fall_back("something stands between it and the handler, such as its access log")
            return through_loop
        counters.inline(True)
        return _inline(answer, through_loop)

    setattr(_futures, MAKER, make_once)


def _inline(answer: Answer, through_loop: Schedule) -> Schedule:
    """Granian's function for requests that are answered inline as long as Granian is as expected."""
    known: type | None = None
    """The class of the requests that are answered inline, once one of them was checked."""
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
            # Granian's caller does not look at exceptions. As for a coroutine, it logs this one and answers 500.
            watcher.err(error)

    return schedule


def _difference(watcher: Any) -> str | None:
    """How a request's object differs from what is expected; ``""`` for a WebSocket, which only the loop can answer."""
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
        return f"{role}.{name} is missing or of another kind"
    return None


def _fall_back(why: str) -> None:
    counters.inline(False)
    granian = version("granian")
    log.warning(
        "requests go through the event loop, which costs more CPU: Granian %s is not as expected: %s",
        granian,
        why,
        extra={"granian": granian},
    )


def _calls(argument: Any, handler: Callable[..., object]) -> bool:
    """Whether this makes coroutines that call ``handler`` itself: then it is a function that closes over it."""
    try:
        return any(cell.cell_contents == handler for cell in getattr(argument, "__closure__", None) or ())
    except ValueError:  # an empty cell
        return False
