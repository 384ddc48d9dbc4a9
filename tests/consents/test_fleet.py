"""People withdraw while their mails are opened: a short run of what ``make consent-proof`` does at full size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.consents import fleet
from tests.kafka.broker import EXTERNAL, kafka_jars


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_withdrawals_reach_a_fleet(tmp_path: Path, topic: str) -> None:
    if os.environ.get(EXTERNAL) and not os.environ.get("CI"):
        pytest.skip(f"needs a broker of its own, behind a proxy, not the one that {EXTERNAL} names")
    kafka_jars()
    fleet.run(tmp_path, fleet.SHORT, topic).check()
