"""Key files, valid and broken, and the outcome of requests with their keys."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.support.servers import Server
from tests.support.wire import ask


def pipeline(key: str, **more: object) -> str:
    """A key's part of the file. Values are written as JSON, which is also TOML for these values."""
    lines = [f"{name} = {str(value).lower() if isinstance(value, bool) else value}" for name, value in more.items()]
    return "\n".join(["[[pipeline]]", f'id = "pip_{key[8:]}"', f'key = "{key}"', *lines, ""])


def put(file: Path, content: str | bytes) -> None:
    """Replace the file atomically, because it may be read meanwhile."""
    new = file.with_suffix(".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(file)


def outcome(server: Server, key: str, headers: dict[str, str] | None = None) -> str | None:
    """The outcome of a request on its own connection, from ``X-Pixelcore``."""
    return ask(server, f"/v1/pixel/track?wk={key}&e=E", headers=headers).header("x-pixelcore")


class Judged(NamedTuple):
    """A request in a journal: its time, its worker's journal, and its outcome."""

    at: float
    journal: str
    outcome: str


def judged(server: Server) -> dict[str, Judged]:
    """All requests of the journals by messageId."""
    found: dict[str, Judged] = {}
    for kind in ("events", "rejections"):
        for segment in server.data_dir.glob(f"{kind}/*/*.ndjson"):
            for line in segment.read_bytes().split(b"\n")[:-1]:  # the last one may be half written
                record = json.loads(line)
                mid = record.get("messageId") or record["query"].partition("mid=")[2].partition("&")[0]
                at = datetime.fromisoformat(record["receivedAt"].replace("Z", "+00:00")).timestamp()
                assert mid not in found, "one request, one record"
                found[mid] = Judged(at, segment.parent.name, record.get("reason", "accepted"))
    return found


# A change of the file, and the log line about it, once.
BROKEN: list[tuple[str, str | bytes | None, str]] = [
    ("no TOML", "[[pipeline]]\nid = 'pip_1'\nkey = \n", "line 3: "),
    ("a key that is none", "\n[[pipeline]]\nid = 'pip_1'\nkey = 'dk_live_a!'\n", "line 4: key "),
    ("no text", b"#\n\xff\n", "line 2: is not UTF-8"),
    ("empty, as one that is being written", "", "line 1: no [[pipeline]]"),
    ("gone", None, "No such file or directory"),
]
