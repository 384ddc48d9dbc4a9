"""deploy/nginx.conf: a real nginx in front of a real gateway."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.support.nginx import ask, nginx
from tests.support.servers import Serve, is_gif
from tests.support.waiting import wait_for


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
        """A request as a gateway would receive it."""

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
