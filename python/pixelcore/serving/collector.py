"""Makes the core's `Collector` from the settings."""

from __future__ import annotations

from .._core import Collector, Counters, Journal
from ..settings import Settings


def collector(
    settings: Settings,
    events: Journal,
    rejections: Journal,
    counters: Counters | None = None,
    group_commit: bool = False,
    openings: Journal | None = None,
    loads: Journal | None = None,
) -> Collector:
    """A collector into these journals. It accepts every well-formed key until it gets others, and counts in ``counters`` if given.

    Without ``openings`` and ``loads``, nothing is kept of requests that leave no event (contract, section 9). With
    ``group_commit``, a `Committer` must flush its lines, and also counts them.
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
        respect_gpc=settings.respect_gpc is not False,
        gpc=settings.respect_gpc if isinstance(settings.respect_gpc, str) else "individual",
        window_ms=int(settings.aggregate_window * 1000),
        reject_automated=settings.automated == "reject",
        compat=settings.compat,
        group_commit=group_commit,
        openings=openings,
        loads=loads,
    )
