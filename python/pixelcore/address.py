"""An address to listen on or to connect to: ``HOST:PORT``, with IPv6 in brackets."""

from __future__ import annotations

import errno
import ipaddress
from typing import NamedTuple

_WHY = {
    errno.EADDRINUSE: "another server or gateway already listens there: stop it, or choose another port",
    errno.EADDRNOTAVAIL: "this machine does not have this address: 0.0.0.0 listens on all of its addresses",
    errno.EACCES: "a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher one",
}


def why_not(error: OSError) -> str:
    """Why a process cannot listen on an address, and what to do."""
    return _WHY.get(error.errno or 0, error.strerror or str(error))


class HostPort(NamedTuple):
    """A host, without brackets, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Read ``HOST:PORT``. Raises ``ValueError`` with the expected form."""
        host, _, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("must be HOST:PORT")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
