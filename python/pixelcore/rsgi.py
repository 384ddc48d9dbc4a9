"""The part of RSGI, Granian's interface for applications, that pixelcore uses."""

from __future__ import annotations

from typing import Protocol


class Headers(Protocol):
    """A request's headers."""

    def __contains__(self, key: str) -> bool: ...
    def __getitem__(self, key: str) -> str: ...
    def get(self, key: str, default: bool | None = None) -> str | bool | None: ...
    def get_all(self, key: str) -> list[str]: ...


class Scope(Protocol):
    """An HTTP request."""

    method: str
    path: str
    query_string: str
    client: str
    headers: Headers


class HTTPProtocol(Protocol):
    """Answers a request."""

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
