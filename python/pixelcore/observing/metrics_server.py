"""The HTTP server of the metrics. It limits connections in number and time, and refuses those that another site's page makes."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

from ..address import HostPort

CONNECTIONS = 32
"""The most connections with a thread. Further ones are closed."""
IO_SECONDS = 10.0


class Server(ThreadingHTTPServer):
    """Serves a registry. Raises ``OSError`` if the address cannot be used."""

    daemon_threads = True

    def __init__(self, address: HostPort, registry: CollectorRegistry) -> None:
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        self.is_local = address.is_loopback
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, type("Handler", (_Handler,), {"registry": registry}))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, or close it if there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and release its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: broken connections are not errors of this server."""


class _Handler(MetricsHandler):
    timeout = IO_SECONDS
    server: Server

    def do_GET(self) -> None:  # noqa: N802
        """Answer with the metrics, unless a foreign host name leads to this machine's own address (DNS rebinding)."""
        if self.server.is_local and not self._is_asked_by_its_name():
            self.send_error(HTTPStatus.FORBIDDEN)
        else:
            super().do_GET()

    def _is_asked_by_its_name(self) -> bool:
        try:
            host = urlsplit(f"//{self.headers.get('Host', 'localhost')}").hostname
        except ValueError:
            return False
        return host is not None and HostPort(host, 1).is_loopback
