"""pixelcore's application, telling which thread answers: ``granian tests.telling_apps:app``."""

from __future__ import annotations

import asyncio
import os
import threading

from pixelcore import eager
from pixelcore.app import App, HTTPProtocol, Scope

THREAD = "/thread"


class RigidLoop:
    """A loop whose methods cannot be replaced, as one that is not written in Python has them."""

    __slots__ = ()

    def call_soon_threadsafe(self) -> None:
        """Never called."""


class TellingApp(App):
    """Answers `THREAD` with ``loop`` or ``runtime``."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        if os.environ.get("RIGID_LOOP"):
            install = eager.install
            eager.install = lambda _, *functions: install(RigidLoop(), *functions)  # type: ignore[arg-type]
        super().__rsgi_init__(loop)

    def answer_other(self, scope: Scope, protocol: HTTPProtocol, path: str) -> bool:
        if path != THREAD:
            return super().answer_other(scope, protocol, path)
        mine = threading.current_thread() is threading.main_thread()
        protocol.response_str(200, [], "loop" if mine else "runtime")
        return False


app = TellingApp()
