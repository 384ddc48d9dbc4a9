"""Describes a setting to people: its group, its values, its default. The settings themselves are in `settings`."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

from .. import settings

GROUPS = {
    "bind": "Serving",
    "data_dir": "Journal",
    "max_query_bytes": "Limits of a request",
    "keys_file": "Keys and proxies",
    "ip": "Privacy",
    "consent_secret": "Consent",
    "automated": "Reading and answering",
    "topic": "Kafka",
    "tls_cert": "TLS",
    "metrics_address": "Observing",
    "kafka": "Kafka",
}
"""The first setting of each group."""
_TYPES = get_type_hints(settings.Settings)


def group(field: str) -> str:
    """The heading above a setting."""
    names = list(settings.described())
    return GROUPS[next(name for name in reversed(names[: names.index(field) + 1]) if name in GROUPS)]


def choices(field: str) -> tuple[str, ...]:
    """All values of a setting with a fixed set of values; otherwise nothing."""
    hint = _TYPES[field]
    found: tuple[str, ...] = ()
    for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if part is bool:
            found += ("true", "false")
        elif get_origin(part) is Literal:
            found += get_args(part)
        else:
            return ()
    return found


def form(field: str) -> str:
    """The form of a value: ``SIZE``, ``DIRECTORY``, ``[full|truncated|none]``."""
    if (found := settings.form(field)) is not None:
        return f"[{found}]" if "|" in found else found
    if few := choices(field):
        return f"[{'|'.join(few)}]"
    if _TYPES[field] in (Path, Path | None):
        return "DIRECTORY" if field.endswith("_dir") else "FILE"
    return "NUMBER" if isinstance(getattr(settings.DEFAULTS, field), int) else "NAME"


def default(field: str) -> str:
    """The default as a person would write it: ``10GiB``, ``true``; empty for none."""
    value = getattr(settings.DEFAULTS, field)
    if isinstance(value, bool):
        return str(value).lower()
    if form(field) == "SIZE":
        power = max(p for p in range(4) if value % 1024**p == 0)
        return f"{value // 1024**power}{('', 'KiB', 'MiB', 'GiB')[power]}"
    if isinstance(value, float):
        return f"{value:g}s"
    return "" if value in (None, ()) else str(value)
