"""Timeouts for calls that may never return: name servers and network file systems hang, and Kafka's clients lock up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


class CallTimeoutError(Exception):
    """A call has not returned in time."""


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """The result of ``call``, or its exception. It runs in a separate thread.

    Raises `CallTimeoutError` if it takes longer than ``seconds``. Then the thread is abandoned.
    """
    return call_while_it_progresses(seconds, call, lambda: 0)


def call_while_it_progresses(seconds: float, call: Callable[[], T], progress: Callable[[], int]) -> T:
    """The same for a call without a time limit, as long as the number from ``progress`` changes within ``seconds``."""
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001
            outcome.set_exception(error)

    threading.Thread(target=work, name="call with timeout", daemon=True).start()
    seen = progress()
    while not wait([outcome], seconds).done:
        last, seen = seen, progress()
        if seen == last:
            raise CallTimeoutError
    return outcome.result()
