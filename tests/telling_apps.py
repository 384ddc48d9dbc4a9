"""pixelcore's application, telling which thread answers: ``granian tests.telling_apps:app``."""

from __future__ import annotations

import asyncio
import os
import threading

from granian import _futures
from pixelcore import eager
from pixelcore.app import App, HTTPProtocol, Scope

THREAD = "/thread"


def rename_the_maker() -> None:
    """Makes Granian one whose function is made under another name, as it may be some day."""
    vars(_futures)["another"] = vars(_futures).pop(eager.MAKER)
    init = _futures._CBSchedulerAIO.__init__
    names = ("another" if name == eager.MAKER else name for name in init.__code__.co_names)
    init.__code__ = init.__code__.replace(co_names=tuple(names))


class TellingApp(App):
    """Answers `THREAD` with ``loop`` or ``runtime``."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        if os.environ.get("OTHER_GRANIAN"):
            rename_the_maker()
        super().__rsgi_init__(loop)

    def answer_other(self, scope: Scope, protocol: HTTPProtocol, path: str) -> bool:
        if path != THREAD:
            return super().answer_other(scope, protocol, path)
        mine = threading.current_thread() is threading.main_thread()
        protocol.response_str(200, [], "loop" if mine else "runtime")
        return False


app = TellingApp()
