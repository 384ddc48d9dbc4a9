"""deploy/nginx.conf: a real nginx in front of a real gateway."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import MappingProxyType

from tests.conftest import Serve
from tests.kafka.broker import free_port
from tests.servers import is_gif
from tests.test_deploy import DEPLOY, tool
from tests.test_worker import wait_for


@contextmanager
def nginx(directory: Path, *upstreams: int) -> Iterator[int]:
    """nginx with deploy/nginx.conf on a free port, in front of gateways on these ports; yields its port."""
    binary, port = tool("nginx", "nginx"), free_port()
    site = (DEPLOY / "nginx.conf").read_text()
    for printed, used in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("    listen [::]:80;\n", ""),
        ("    server 127.0.0.1:8080;\n", "".join(f"    server 127.0.0.1:{upstream};\n" for upstream in upstreams)),
        ("/var/log/nginx/", f"{directory}/"),
    ):
        assert printed in site
        site = site.replace(printed, used)
    temporary = "".join(f"{name}_temp_path {directory}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    main = f"daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{}}"
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
        # A SIGTERM between nginx's look at its signals and its wait for events is seen with the next event only.
        process.kill()
        process.wait(10)


def ask(port: int, target: str, headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, bytes]:
    """One GET through nginx, as soon as it listens."""
    deadline = time.monotonic() + 10
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            try:
                connection.request("GET", target, headers=dict(headers))
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
                continue
            answer = connection.getresponse()
            return answer.status, answer.read()


def test_nginx_passes_pixels_on_and_logs_no_query(tmp_path: Path, serve: Serve) -> None:
    server = serve()
    targets = [
        "/v1/pixel/track?wk=dk_test_1&e=Secret%2fOne&uid=secret",
        "/v1/pixel/page?wk=dk_test_1&p.a=" + "s" * 65_000,
    ]
    with nginx(tmp_path, server.port) as port:
        for target in targets:
            status, body = ask(port, target)
            assert (status, is_gif(body)) == (200, True)
        server.kill()
        status, _ = ask(port, targets[0])
        assert status == 502
        log = tmp_path / "pixelcore.log"
        wait_for(lambda: log.read_text().count("\n") == 3)  # nginx writes them after its answers
    assert [event["event"] for event in server.events()] == ["Secret/One"]
    assert [rejection["reason"] for rejection in server.rejections()] == ["query_too_long"]
    assert [line.split()[2:4] for line in log.read_text().splitlines()] == [
        ["/v1/pixel/track", "200"],
        ["/v1/pixel/page", "200"],
        ["/v1/pixel/track", "502"],
    ]
    assert "ecret" not in log.read_text() + (tmp_path / "pixelcore.error.log").read_text()


def test_nginx_passes_the_target_on_as_it_is_and_adds_the_address(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    class Recorder(BaseHTTPRequestHandler):
        """What a gateway would see of a request."""

        def do_GET(self) -> None:
            seen.append((self.path, self.headers["X-Forwarded-For"], self.headers["Connection"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    target = "/v1//pixel/./track%2F?wk=a&amp;e=%ff+%2525"
    with HTTPServer(("127.0.0.1", 0), Recorder) as upstream:
        Thread(target=upstream.serve_forever, daemon=True).start()
        with nginx(tmp_path, upstream.server_port) as port:
            assert ask(port, target, {"X-Forwarded-For": "203.0.113.7"})[0] == 204
        upstream.shutdown()
    assert seen == [(target, "203.0.113.7, 127.0.0.1", None)]
