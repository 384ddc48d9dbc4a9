"""Reads the texts of settings. Each function raises ``ValueError`` with the expected form."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal

from ._core import check_proxies, consent_key_ids
from .address import HostPort

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])(i?)B?|B)?", re.IGNORECASE)


def duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m``, ``12h`` or ``7d``."""
    match = DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a duration such as '90s', '15m', '12h' or '7d'")
    return float(match[1]) * SECONDS[match[2] or "s"]


def size(text: str) -> int:
    """Bytes of ``65536``, ``64MiB`` or ``10GB``."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a number of bytes such as '65536', '64MiB' or '10GB'")
    step = 1024 if match[3] else 1000
    return int(Decimal(match[1]) * step ** " KMGTP".index((match[2] or " ").upper()))


def fsync(text: str) -> float | str:
    """``never``, ``always``, or seconds."""
    if text in ("never", "always"):
        return text
    with contextlib.suppress(ValueError):
        if 0.01 <= (seconds := duration(text)) <= 60:
            return seconds
    raise ValueError("must be 'never', 'always', or an interval of 10ms to 60s such as '1s'")


def proxies(text: str) -> str:
    """A list of networks."""
    check_proxies(text)
    return text


def consent_secret(text: str) -> str:
    """Secrets with their ids, or nothing. No message shows any of them."""
    if text:
        consent_key_ids(text)
    return text


def gpc(text: str) -> bool | str:
    """``true``, ``false``, or a mode below ``individual``."""
    if text.lower() in ("true", "false", "1", "0"):
        return text.lower() in ("true", "1")
    if text in ("deliverability", "aggregate", "none"):
        return text
    raise ValueError("must be true, false, or a mode: 'deliverability', 'aggregate' or 'none'")


def topic(text: str) -> str:
    """The name of a topic."""
    if TOPIC.fullmatch(text) and text not in (".", ".."):
        return text
    raise ValueError("must be the name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -")


def vendors(text: str) -> tuple[str, ...]:
    """Vendors' names."""
    names = tuple(name for name in map(str.strip, text.split(",")) if name)
    if not {"segment", "rudderstack"}.issuperset(names):
        raise ValueError("must be 'segment', 'rudderstack', or both with a comma between them")
    return names


def bind(text: str) -> str:
    """An address to listen on."""
    try:
        HostPort.parse(text)
    except ValueError as error:
        raise ValueError(f"{error}, such as 127.0.0.1:8080") from None
    return text


def address(text: str) -> str:
    """An address to listen on, or nothing."""
    if text:
        try:
            HostPort.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or empty") from None
    return text


def loopback(text: str) -> str:
    """A loopback address to listen on."""
    with contextlib.suppress(ValueError):
        if HostPort.parse(text).is_loopback:
            return text
    raise ValueError("must be HOST:PORT with a loopback address, such as 127.0.0.1:9109")
