"""pixelcore's application, reporting which thread answers, on Granian as it is or on one that is made otherwise.

``granian tests.support.reporting_app:app``, with a name of `VARIANTS` in OTHER_GRANIAN. A variant is consistent: it works
by itself, as a later version of Granian would.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import granian.server.mp
from granian import _futures
from pixelcore.app import App
from pixelcore.rsgi import HTTPProtocol, Scope
from pixelcore.serving import granian_inline

THREAD = "/thread"
RENAMED_MAKER = "the maker renamed"

Watcher = dict[str, Any]
"""The contents of an object for a request: attributes, or functions that make them from Granian's own object."""


class Missing:
    """An attribute that is missing, after ``uses`` of it if that is not 0."""

    def __init__(self, uses: int = 0) -> None:
        self.uses = uses


def as_a_method(name: str) -> Callable[[Any], Any]:
    """An attribute that has become a method."""
    return lambda real: lambda: getattr(real, name)


def rename(name: str) -> Watcher:
    """An attribute that has another name."""
    return {name: Missing(), f"other_{name}": lambda real: getattr(real, name)}


VARIANTS: dict[str, Watcher] = {
    "scope renamed": rename("scope"),
    "proto renamed": rename("proto"),
    "err renamed": rename("err"),
    "all renamed": rename("scope") | rename("proto") | rename("err"),
    "scope is a method": {"scope": as_a_method("scope")},
    "proto is a method": {"proto": as_a_method("proto")},
    "err is no method": {"err": lambda _: "an error"},
    "scope is None": {"scope": lambda _: None, "other_scope": lambda real: real.scope},
    "proto goes later": {"proto": Missing(uses=3), "other_proto": lambda real: real.proto},
}


class Other:
    """The object of a request in another version of Granian."""

    attributes: ClassVar[Watcher] = {}
    uses = 0

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        found = self.attributes.get(name, lambda real: getattr(real, name))
        if isinstance(found, Missing):
            Other.uses += 1
            if Other.uses > found.uses:
                raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
            return getattr(self._real, name)
        return found(self._real)


def become(variant: str) -> None:
    """Turn this process's Granian into a variant. Call it before a worker starts."""
    if variant == RENAMED_MAKER:
        vars(_futures)["another"] = vars(_futures).pop(granian_inline.MAKER)
        init = _futures._CBSchedulerAIO.__init__
        names = ("another" if name == granian_inline.MAKER else name for name in init.__code__.co_names)
        init.__code__ = init.__code__.replace(co_names=tuple(names))
        return
    Other.attributes = VARIANTS[variant]
    scheduler = _futures._CBSchedulerAIO

    class Rewrapped(scheduler):  # type: ignore[misc, valid-type]
        """Granian calls its function with the other object."""

        def __setattr__(self, name: str, value: Any) -> None:
            is_function = name == "_schedule_fn"
            super().__setattr__(name, (lambda real: value(Other(real))) if is_function else value)

    vars(_futures)["_CBSchedulerAIO"] = Rewrapped
    vars(granian.server.mp)["_future_watcher_wrapper"] = other_wrapper


def other_wrapper(inner: Callable[..., Awaitable[None]]) -> Callable[[Other], Awaitable[None]]:
    """Granian's coroutine of a request, as consistent with the variant as Granian's own is with Granian."""

    async def future_watcher(watcher: Other) -> None:
        real = watcher._real
        try:
            await inner(real.scope, real.proto)
        except BaseException as error:  # noqa: BLE001
            real.err(error)
            return
        real.done()

    return future_watcher


class ReportingApp(App):
    """Answers `THREAD` with ``loop`` or ``runtime``."""

    def answer_other(self, scope: Scope, protocol: HTTPProtocol, path: str) -> bool:
        if path != THREAD:
            return super().answer_other(scope, protocol, path)
        mine = threading.current_thread() is threading.main_thread()
        protocol.response_str(200, [], "loop" if mine else "runtime")
        return False


if variant := os.environ.get("OTHER_GRANIAN"):
    become(variant)
app = ReportingApp()
