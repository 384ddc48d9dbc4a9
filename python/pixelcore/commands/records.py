"""The records of a journal, events and rejections, as ``pixelcore tail`` selects and shows them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import pairs
from ..printable import escape

if TYPE_CHECKING:
    from rich.text import Text

IDS = {"uid": "userId", "aid": "anonymousId", "gid": "groupId", "mid": "messageId"}
"""The parameters that are ids, with the members that they become."""

_STYLES = {"track": "green", "page": "cyan", "identify": "magenta", "group": "yellow"}
_WIDTH = max(map(len, _STYLES))


class Record(NamedTuple):
    """The parts of a record that a row shows."""

    line: bytes
    received_at: str
    type: str
    title: str
    """The event of a track, the name of a page, or the reason of a rejection."""
    events: Collection[str]
    keys: Collection[str]
    """The pipeline's key, and its id if there is one."""
    ids: Collection[str]
    detail: str
    is_rejection: bool

    @classmethod
    def read(cls, line: bytes) -> Record | None:
        """Read a line; None if it is not a record of pixelcore's."""
        try:
            members = json.loads(line)
            return _rejection(line, members) if "reason" in members else _event(line, members)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def row(self) -> Text:
        """One line for a terminal. A stranger's text cannot break out of it."""
        from rich.text import Text

        # "2025-02-25T14:30:01.250Z" without the year, which readers do not need.
        parts = [
            (self.received_at[5:23].replace("T", " "), "dim"),
            (f"{self.type:{_WIDTH}}", _STYLES.get(self.type, "")),
            (self.title, "bold red" if self.is_rejection else "bold"),
            (next(iter(self.ids), "") if not self.is_rejection else "", "blue"),
            (self.detail, "dim"),
        ]
        return Text("  ").join(Text(escape(text).replace("\n", "\\n"), style) for text, style in parts if text)

    def pretty(self) -> Text:
        """The JSON, one member per line."""
        from rich.highlighter import JSONHighlighter
        from rich.text import Text

        shown = json.dumps(json.loads(self.line), indent=2, ensure_ascii=False)
        return JSONHighlighter()(Text(escape(shown)))


class Choice(NamedTuple):
    """The selected records. A record matches if each non-empty filter has one of its values."""

    key: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    id: tuple[str, ...] = ()

    def has(self, record: Record) -> bool:
        """Whether a record is selected."""
        found = (record.keys, (record.type,), record.events, record.ids)
        return all(not wanted or not set(wanted).isdisjoint(there) for wanted, there in zip(self, found, strict=True))


def _event(line: bytes, members: Mapping[str, Any]) -> Record:
    title = str(members.get("event") or members.get("name") or "")
    detail = "  ".join(_paths({**members.get("properties", {}), **members.get("traits", {})}))
    keys = [str(members[name]) for name in ("pipelineKey", "pipelineId") if name in members]
    ids = [str(members[name]) for name in IDS.values() if name in members]
    return Record(line, str(members["receivedAt"]), str(members["type"]), title, (title,), keys, ids, detail, False)


def _rejection(line: bytes, members: Mapping[str, Any]) -> Record:
    query = str(members["query"])
    sent: dict[str, str] = {}
    for name, value in pairs(query):
        if value.strip():
            while name.startswith("amp;"):
                name = name.removeprefix("amp;")
            sent.setdefault(name, value.strip())
    texts = {name: [sent[name]] if name in sent else [] for name in ("wk", "e", *IDS)}
    ids = [text for name in IDS for text in texts[name]]
    return Record(
        line,
        str(members["receivedAt"]),
        str(members["type"]),
        str(members["reason"]),
        texts["e"],
        texts["wk"],
        ids,
        query,
        True,
    )


def _paths(value: object, path: str = "") -> Iterator[str]:
    """``a.b=c`` for each value below. A list of values is one, with commas."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _paths(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        for index, member in enumerate(value):
            yield from _paths(member, f"{path}.{index}")
    elif isinstance(value, list):
        yield f"{path}={','.join(map(str, value))}"
    else:
        yield f"{path}={value}"
