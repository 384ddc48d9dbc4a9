"""The paths of pixels: ``/v1/pixel/{type}``, and the additional ones of ``PIXELCORE_PATHS`` (contract, section 1)."""

from __future__ import annotations

import re

ROOT = "/v1/pixel/"
RUDDERSTACK_ROOT = "/pixel/v1/"
TYPES = ("track", "page", "identify", "group")
SUFFIXES = ("", ".gif", "/")
_SEGMENT = "[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
_PATH = re.compile(f"(/{_SEGMENT})+")
_TAKEN = ("/healthz", "/readyz", "/robots.txt")


def check_path(path: str) -> None:
    """Check that a path can be an additional pixel path. Raises ``ValueError`` with the rule."""
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"{path!r} is not a path such as /open or /img/welcome: slashes, each before a word of A-Z a-z 0-9 _ ~ - and ."
        )
    if path.endswith(".gif"):
        raise ValueError(f"{path!r} must not end in .gif: {path.removesuffix('.gif')!r} is served with and without it")
    if path in _TAKEN or f"{path}/".startswith((ROOT, RUDDERSTACK_ROOT)):
        raise ValueError(f"{path!r} is reserved for the gateway")


def parse_paths(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``/open=track,/img/welcome=page``: additional paths and their types. Raises ``ValueError`` with the rule."""
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        path, _, kind = (each.strip() for each in part.partition("="))
        if kind not in TYPES:
            raise ValueError(
                f"must be PATH=TYPE such as '/open=track', TYPE one of {', '.join(TYPES)}; {part!r} is not"
            )
        try:
            check_path(path)
        except ValueError as error:
            raise ValueError(f"must have valid paths; {error}") from None
        if path in found:
            raise ValueError(f"must name each path once; {path!r} is listed twice")
        found[path] = kind
    return tuple(found.items())


def pixel_paths(roots: tuple[str, ...], own: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """The type of each pixel path, with all suffixes."""
    stems = [(root + kind, kind) for root in roots for kind in TYPES]
    return {stem + suffix: kind for stem, kind in (*stems, *own) for suffix in SUFFIXES}
