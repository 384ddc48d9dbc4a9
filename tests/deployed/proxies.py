"""HAProxy with the file of deploy/ in front of gateways on other ports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kafka.broker import free_port
from tests.support.deployments import DEPLOY, tool


@contextmanager
def haproxy(directory: Path, *upstreams: int, rule: str = "") -> Iterator[int]:
    """HAProxy with deploy/haproxy.cfg on a free port, in front of gateways on these ports; yields its port.

    ``rule`` is added to the frontend.
    """
    binary, port = tool("haproxy", "haproxy"), free_port()
    text = (DEPLOY / "haproxy.cfg").read_text()
    servers = "".join(
        f"    server gateway-{number} 127.0.0.1:{upstream}\n" for number, upstream in enumerate(upstreams)
    )
    for printed, used in (
        ("bind :80\n", f"bind 127.0.0.1:{port}\n{rule}"),
        ("    server gateway-1 127.0.0.1:8080\n", servers),
        ("log /dev/log local0", "log stdout format raw local0"),
    ):
        assert printed in text
        text = text.replace(printed, used)
    path = directory / "haproxy.cfg"
    path.write_text(text)
    checked = subprocess.run([binary, "-c", "-f", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, "warning" in checked.stderr.lower()) == (0, False), checked.stderr
    with (directory / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([binary, "-db", "-f", path], stdin=subprocess.DEVNULL, stdout=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)
