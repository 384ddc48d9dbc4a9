"""deploy/Dockerfile, built unchanged by buildah (`make deploy-image`), and its image run by podman."""

from __future__ import annotations

import pytest

from tests.deployed.conftest import IMAGE, Report, version
from tests.deployed.image import check


@pytest.mark.timeout(900)
def test_the_image_serves_without_rights(report: Report) -> None:
    found = check("podman --runtime=runc --cgroup-manager=cgroupfs", IMAGE)
    name = f"{version('buildah', '--version')}, {version('podman', '--version')}"
    report("image", name, sent=found.sent, arrived=found.arrived, lost=found.sent - found.arrived)
