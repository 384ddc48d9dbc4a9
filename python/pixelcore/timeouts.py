"""Calls that may never return: name servers and network file systems hang beyond any timeout, and clients of Kafka lock up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


class CallTimeoutError(Exception):
    """A call has not returned in time."""


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """What ``call`` returns or raises, in a thread of its own.

    Raises `CallTimeoutError` when it takes longer; the thread is left behind then, and nobody waits for it.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001
            outcome.set_exception(error)

    threading.Thread(target=work, name="call with timeout", daemon=True).start()
    if not wait([outcome], seconds).done:
        raise CallTimeoutError
    return outcome.result()
