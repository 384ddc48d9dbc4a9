"""The address on which ``pixelcore serve`` listens. It is resolved and held before anything else starts."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ..address import HostPort, why_not
from ..errors import SettingsError
from ..settings import variable

PORT = "PORT"
"""The variable in which platforms pass a service's port."""

RETRY_SECONDS = 0.05


def heed_port() -> None:
    """Use the platform's ``PORT`` if no address is set. Raises `SettingsError`."""
    name, text = variable("bind"), os.environ.get(PORT, "")
    if text and name not in os.environ:
        try:
            address = HostPort.parse(f"0.0.0.0:{text}")
        except ValueError:
            raise SettingsError(f"{PORT}: must be a port of 1 to 65535, not {text!r}; {name} overrides it") from None
        os.environ[name] = str(address)


def resolve(address: HostPort) -> HostPort:
    """The numeric address, IPv4 if a name has both. Raises `SettingsError`."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _wrong(address, getattr(error, "strerror", None) or "is not a host name") from None
    host, _, *scope = min(found, key=lambda one: one[0] != socket.AF_INET)[4]
    if any(scope):
        raise _wrong(address, "is an address of one interface, which is not supported: [::] stands for all")
    return HostPort(str(host), address.port)


@contextmanager
def held(address: HostPort, patience: float) -> Iterator[None]:
    """Hold a numeric address for the workers of this process, after waiting up to ``patience`` seconds for others to leave it.

    Workers share a port by ``SO_REUSEPORT``. Without the hold, another gateway's workers could share it as well, and each gateway
    would get some of the requests. Raises `SettingsError`.
    """
    deadline = time.monotonic() + patience
    while (holder := _bound(address, has_time=time.monotonic() < deadline)) is None:
        time.sleep(RETRY_SECONDS)
    with closing(holder):
        if sys.platform == "linux":
            # From here on, it admits sockets of our user with SO_REUSEPORT, and refuses an attempt like the one above. It never
            # listens.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            os.register_at_fork(after_in_child=holder.close)
        else:
            holder.close()
        yield


def _bound(address: HostPort, has_time: bool) -> socket.socket | None:
    """A socket that has the address exclusively; None if another one has it and there is time to try again."""
    holder = None
    try:
        holder = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(tuple(address))
    except OSError as error:
        if holder is not None:
            holder.close()
        if error.errno != errno.EADDRINUSE or not has_time:
            raise _wrong(address, why_not(error)) from None
        return None
    return holder


def _wrong(address: HostPort, why: str) -> SettingsError:
    return SettingsError(f"{variable('bind')}: {address}: {why}")
