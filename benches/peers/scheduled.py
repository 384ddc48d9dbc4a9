"""Applications whose worker is scheduled as ``TURNS`` says: ``usual``, ``short`` (as pixelcore does it), or ``batch``."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pixelcore.app
from pixelcore.serving import scheduling

from benches.peers import inline

if os.environ["TURNS"] != "short":
    scheduling.take_short_turns = lambda: None


def _batch() -> None:
    if os.environ["TURNS"] == "batch":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Pixelcore(pixelcore.app.App):
    """The gateway."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        _batch()
        super().__rsgi_init__(loop)


class Inline(inline.App):
    """The floor."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        _batch()
        super().__rsgi_init__(loop)


gateway: Any = Pixelcore()
floor: Any = Inline()
