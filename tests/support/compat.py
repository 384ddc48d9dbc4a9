"""Helpers for the tests of ``compat``: the documented URLs, and the events of other vendors' libraries."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pixelcore
import pytest

from tests.support.events import AT, AT_TEXT, LIBRARY
from tests.support.paths import DATA

DOCUMENTED = json.loads((DATA / "compat.json").read_text())
BOTH: Any = ("segment", "rudderstack")
Spelling = Callable[[bytes], str]
SPELLINGS: dict[str, Spelling] = {
    "standard": lambda text: base64.b64encode(text).decode(),
    "standard, unpadded": lambda text: base64.b64encode(text).decode().rstrip("="),
    "URL-safe": lambda text: base64.urlsafe_b64encode(text).decode(),
    "URL-safe, unpadded": lambda text: base64.urlsafe_b64encode(text).decode().rstrip("="),
    "standard, percent-encoded": lambda text: quote(base64.b64encode(text), safe=""),
}


def encoded(json_text: str | bytes, spelling: str = "standard") -> str:
    """The query of a JSON text."""
    text = json_text if isinstance(json_text, bytes) else json_text.encode("utf-8", "surrogatepass")
    return f"data={SPELLINGS[spelling](text)}"


def read(query: str | bytes, type: str = "page", **options: Any) -> dict[str, Any]:
    """The event of a query, whose line is readable by all parsers."""
    line = pixelcore.event(type, query, **{"received_at": AT, "compat": BOTH, **options})
    assert not {*b"\n\r"} & {*line}
    event: dict[str, Any] = json.loads(line.decode())
    json.dumps(event, allow_nan=False).encode()
    json.dumps(event, ensure_ascii=False).encode()  # fails for a lone surrogate
    return event


def reason_of(query: str | bytes, type: str = "page", **options: Any) -> str:
    with pytest.raises(pixelcore.Rejected) as caught:
        pixelcore.event(type, query, **{"compat": BOTH, **options})
    return caught.value.reason


def said(event: dict[str, Any]) -> dict[str, Any]:
    """An event without the members that the gateway adds."""
    assert event.pop("receivedAt") == AT_TEXT
    for member, own in (("timestamp", AT_TEXT), ("type", "page"), ("pipelineKey", "k")):
        if event[member] == own:
            del event[member]
    if len(event["messageId"]) == 36:
        del event["messageId"]
    if event["context"]["library"] == LIBRARY:
        del event["context"]["library"]
    return {name: value for name, value in event.items() if value != {}}


def page(members: str) -> str:
    """The query of a page with a key, and these members of the JSON object."""
    return encoded(f'{{"writeKey":"k"{members and ","}{members}}}')
