"""The core's Collector as the settings want it."""

from __future__ import annotations

from .._core import Collector, Counters, Journal
from ..settings import Settings


def collector(
    settings: Settings,
    events: Journal,
    rejections: Journal,
    counters: Counters | None = None,
    group_commit: bool = False,
) -> Collector:
    """A collector into these journals, which accepts every well-formed key, and counts in ``counters`` if any.

    With ``group_commit`` a `Committer` must flush what it writes, and counts it.
    """
    return Collector(
        events,
        rejections,
        counters,
        typed_values=settings.typed_values,
        max_query_bytes=settings.max_query_bytes,
        max_parameters=settings.max_parameters,
        max_depth=settings.max_depth,
        trusted_proxies=settings.trusted_proxies,
        ip=settings.ip,
        respect_gpc=settings.respect_gpc,
        reject_automated=settings.automated == "reject",
        compat=settings.compat,
        group_commit=group_commit,
    )
