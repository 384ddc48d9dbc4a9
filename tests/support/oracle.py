"""The contract's sections 2 to 5, read as plainly as possible: what the property tests hold the Rust core against.

Nothing here is fast, and nothing is shared with the implementation. ``urllib.parse.parse_qsl`` is of no use, because it
drops what the WHATWG parser keeps (blank values, broken escapes in some versions); only ``unquote_to_bytes`` is taken.
"""

from __future__ import annotations

import json
import re
import unicodedata
from importlib.resources import files
from itertools import chain
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from tests.support.paths import ROOT

Json: TypeAlias = "str | list[Json] | dict[str, Json]"
Items: TypeAlias = "list[tuple[list[str], str]]"

# Default_Ignorable_Code_Point of the Unicode Character Database, which the standard library does not carry.
IGNORABLE = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
# White_Space is the separators (Z*) and nine controls, which are controls (Cc) anyway.
INVISIBLE = frozenset(chr(code) for code in chain.from_iterable(range(a, b + 1) for a, b in IGNORABLE)) | frozenset(
    chr(code) for code in range(0x10000) if unicodedata.category(chr(code)) in {"Zs", "Zl", "Zp", "Cc"}
)
TRIMMED = "".join(sorted(INVISIBLE))


# Only the data is shared, that is, the list of clients. Their recognition is implemented again below.
CLIENTS = json.loads((ROOT / "rust/core/src/client/clients.json").read_text())
CRAWLERS = json.loads((files("crawleruseragents") / "crawler-user-agents.json").read_text())


def to_bytes(query: bytes | str) -> bytes:
    """The query as it would arrive; one U+FFFD for each lone surrogate, like in the Web's USVString."""
    if isinstance(query, bytes):
        return query
    return query.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def decode(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")


def pairs(query: bytes | str) -> list[tuple[str, str]]:
    """Section 2: split on ``&``, then on the first ``=``, and only then decode."""
    found = []
    for sequence in to_bytes(query).split(b"&"):
        if sequence:
            name, _, value = sequence.partition(b"=")
            found.append((decode(name), decode(value)))
    return found


def named(query: bytes | str) -> list[tuple[str, str]]:
    """The pairs after sections 2 to 4: a name loses every leading ``amp;``."""
    return [(re.sub(r"\A(amp;)+", "", name), value) for name, value in pairs(query)]


def nest(query: bytes | str, prefix: str = "p.") -> Json:
    """Section 3."""
    items = [(name[len(prefix) :].split("."), value) for name, value in named(query) if name.startswith(prefix)]
    return build(items, top=True)


def build(items: Items, *, top: bool = False) -> Json:
    """The node of all ``items``, which are paths below it with their values."""
    values = [value for path, value in items if not path]
    if values and len(values) == len(items):
        return values[0] if len(values) == 1 else list(values)  # rule 1
    groups: dict[str, Items] = {"": []} if values else {}  # rule 3: the "" of rule 2 comes first
    for path, value in items:
        first, *rest = path or [""]  # rule 2: a value next to members becomes one of the member ""
        groups.setdefault(first, []).append((rest, value))
    members = {name: build(group) for name, group in groups.items()}
    indexes = [str(index) for index in range(len(members))]
    if not top and set(members) == set(indexes):
        return [members[index] for index in indexes]  # rule 4
    return members


def reserved(query: bytes | str, name: str, *, trim: bool) -> str:
    """The first non-empty value of ``name``, or the empty string."""
    values = [value.strip(TRIMMED) if trim else value for key, value in named(query) if key == name]
    return next(filter(None, values), "")


def rejection(type: str, query: bytes | str, *, max_bytes: int, max_parameters: int, max_depth: int) -> str | None:
    """Section 5, as far as a query alone can be refused: the first reason in the order of the contract's list."""
    key = reserved(query, "wk", trim=True)
    paths = [name[2:].split(".") for name, _ in named(query) if name.startswith(("p.", "t."))]
    faults = {
        "unknown_type": type not in ("track", "page", "identify", "group"),
        "query_too_long": len(to_bytes(query)) > max_bytes,
        "too_many_parameters": len(pairs(query)) > max_parameters,
        "missing_key": not key,
        "malformed_key": not re.fullmatch("[A-Za-z0-9_-]{1,64}", key),
        "missing_event": type == "track" and not reserved(query, "e", trim=True),
        "too_deep": any(len(path) > max_depth for path in paths),
    }
    return next((reason for reason, fault in faults.items() if fault), None)


def client(user_agent: str, purpose: str = "") -> dict[str, Any] | None:
    """Section 4, as far as the table goes: a purpose header, a whole agent, the leftmost part of one, its first word."""
    found: list[tuple[Any, str, bool]] = []
    for order, entry in enumerate(CLIENTS["clients"]):
        where = user_agent.lower().find(entry["contains"].lower()) if "contains" in entry else -1
        if purpose.split(";")[0].strip().lower() == entry.get("purpose"):
            found.append(((0, 0, 0), entry["name"], entry["automated"]))
        if user_agent == entry.get("is"):
            found.append(((1, 0, 0), entry["name"], entry["automated"]))
        if where >= 0:
            found.append(((2, where, order), entry["name"], entry["automated"]))
    return next(({"name": name, "automated": automated} for _, name, automated in sorted(found)), None)
