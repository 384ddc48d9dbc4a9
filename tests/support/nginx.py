"""A real nginx with deploy/nginx.conf, in front of gateways."""

from __future__ import annotations

import http.client
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.kafka.broker import free_port
from tests.support.deployments import DEPLOY, tool


@contextmanager
def nginx(directory: Path, *upstreams: int, workers: int = 0, locations: str = "") -> Iterator[int]:
    """nginx with deploy/nginx.conf on a free port, in front of gateways on these ports; yields its port.

    As one process, or with so many workers. ``locations`` are added to those of the file.
    """
    binary, port = tool("nginx", "nginx"), free_port()
    site = (DEPLOY / "nginx.conf").read_text()
    server = next(line for line in site.splitlines(keepends=True) if "server 127.0.0.1:8080" in line)
    for printed, used in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("    listen [::]:80;\n", ""),
        (server, "".join(server.replace("8080", str(upstream)) for upstream in upstreams)),
        ("/var/log/nginx/", f"{directory}/"),
        ("    location / {", f"{locations}    location / {{"),
    ):
        assert printed in site
        site = site.replace(printed, used)
    temporary = "".join(f"{name}_temp_path {directory}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    processes = f"worker_processes {workers}; user root" if workers else "master_process off"
    main = f"daemon off; {processes}; pid {directory}/pid; error_log stderr; events {{}}"
    path = directory / "nginx.conf"
    path.write_text(f"{main} http {{ client_body_temp_path {directory}/body; {temporary}\n{site}}}\n")
    command = [binary, "-e", "stderr", "-c", str(path)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield port
    finally:
        # A SIGTERM between a process's check of signals and its wait for events is noticed only with the next event.
        process.send_signal(signal.SIGTERM if workers else signal.SIGKILL)
        process.wait(60)


def ask(port: int, target: str, headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, bytes]:
    """One GET through nginx, as soon as it listens."""
    deadline = time.monotonic() + 60
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            try:
                connection.request("GET", target, headers=dict(headers))
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
                continue
            answer = connection.getresponse()
            return answer.status, answer.read()
