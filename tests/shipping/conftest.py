"""Fixtures of the tests of shipping."""

from __future__ import annotations

import pytest
from pixelcore.shipping import checkpoints, topics


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a busy broker takes as long as it takes: for tests that call what a forwarder would try again."""
    for module in (checkpoints, topics):
        monkeypatch.setattr(module, "REQUEST_SECONDS", 60.0)
