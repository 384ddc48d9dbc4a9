"""Each header becomes the member that the contract names: the handler, the bindings and the core agree on the order."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pixelcore import Collector, Journal, JournalReader
from pixelcore._core import HEADERS
from pixelcore.app import App

KEY = "dk_test_1"
KEYS = f"""
[[pipeline]]
id = "pip_x"
key = "{KEY}"
domain_allowlist = ["shop.example"]
"""
BECOMES: dict[str, tuple[str, dict[str, Any]]] = {
    # header, its value, what the context has then besides the library
    "user-agent": ("Agent", {"userAgent": "Agent"}),
    "referer": ("https://shop.example/a", {"page": {"url": "https://shop.example/a"}}),
    "accept-language": ("fr-CH, fr;q=0.9", {"locale": "fr-CH"}),
    "sec-gpc": ("1", {"consent": {"gpc": True}}),
    "dnt": ("1", {"consent": {"dnt": True}}),
    "sec-purpose": ("prefetch", {"client": {"name": "prefetch", "automated": True}}),
    "purpose": ("prefetch", {"client": {"name": "prefetch", "automated": True}}),
    "x-purpose": ("preview", {"client": {"name": "preview", "automated": True}}),
    "x-moz": ("prefetch", {"client": {"name": "prefetch", "automated": True}}),
    "origin": ("https://other.example", {}),
}


class Headers(dict[str, str]):
    """A request's headers, and which of them were looked for."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.asked: list[str] = []

    def __contains__(self, name: object) -> bool:
        self.asked.append(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return super().get(name, default)


def answered(collector: Collector, headers: Headers) -> None:
    app = App()
    app.worker = SimpleNamespace(  # type: ignore[assignment]
        collect=collector.collect, asks_origin=True, asks_proxies=False, group_commit=None, plain=True
    )
    app.roots, app.paths = ("/v1/pixel/",), {"/v1/pixel/page": "page"}
    scope: Any = SimpleNamespace(
        path="/v1/pixel/page", method="GET", query_string=f"wk={KEY}", client="unix:", headers=headers
    )
    app.answer(scope, SimpleNamespace(response_bytes=lambda *_: None))


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_becomes(tmp_path: Path, header: str) -> None:
    value, expected = BECOMES[header]
    with Journal(tmp_path / "events") as events, Journal(tmp_path / "rejections") as rejections:
        collector = Collector(events, rejections)
        collector.set_keys(KEYS)
        headers = Headers(**{header: value})
        answered(collector, headers)
        assert list(dict.fromkeys(headers.asked)) == list(HEADERS)
        is_refused = header == "origin"
        (line,) = JournalReader((rejections if is_refused else events).path).lines()
    record = json.loads(line)
    assert record.get("reason") == ("domain_not_allowed" if is_refused else None)
    del record["context"]["library"]
    assert record["context"] == expected


def test_headers_that_are_left_out_are_absent(tmp_path: Path) -> None:
    with Journal(tmp_path / "events") as events, Journal(tmp_path / "rejections") as rejections:
        assert Collector(events, rejections).collect("page", "wk=k", "unix:", ("Agent",)) is None
        (line,) = JournalReader(events.path).lines()
    assert json.loads(line)["context"]["userAgent"] == "Agent"
