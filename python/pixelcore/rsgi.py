"""What is used of RSGI, Granian's interface for applications."""

from __future__ import annotations

from typing import Protocol


class Headers(Protocol):
    """A request's headers."""

    def get(self, key: str, default: str | None = None) -> str | None: ...
    def get_all(self, key: str) -> list[str]: ...


class Scope(Protocol):
    """An HTTP request."""

    method: str
    path: str
    query_string: str
    client: str
    headers: Headers


class HTTPProtocol(Protocol):
    """The way to answer one."""

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
