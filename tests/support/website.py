"""A website for tests, in a real browser."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.kafka.broker import unavailable
from tests.support.processes import OWN_GROUP


@contextlib.contextmanager
def website(html: str) -> Iterator[str]:
    """A site of one page, with the strictest policy against embedded content of other sites."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page"
            body = html.encode() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            # Under this policy, a browser shows an image of another site only if its answer allows cross-origin use.
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def dump_dom(url: str, profile: Path) -> str:
    """The page in Chromium after its scripts ran."""
    if shutil.which("chromium") is None:
        unavailable("no chromium: install the package chromium, or run tests/system_packages.sh test")
    switches = (
        "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
        "disable-component-update disable-sync disable-dev-shm-usage dump-dom virtual-time-budget=10000"
    )
    process: subprocess.Popen[str] = subprocess.Popen(
        ["chromium", *(f"--{name}" for name in switches.split()), f"--user-data-dir={profile}", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        **OWN_GROUP,
    )
    try:
        return process.communicate(timeout=150)[0]
    finally:
        # Chromium has many processes, and some of them may outlive the parent.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
