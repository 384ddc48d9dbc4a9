"""Attacks and mistakes at the other ports, and the visible parts of paths and passwords."""

from __future__ import annotations

import contextlib
import http.client
import socket
from pathlib import Path

import pytest
from pixelcore import url
from pixelcore.address import HostPort
from pixelcore.commands.serve import show_banner
from pixelcore.errors import JournalError, JournalFull
from pixelcore.inspect.pixel import build
from pixelcore.serving.safety import Safety
from pixelcore.settings import load, trusted_by_all

from tests.kafka.broker import free_port
from tests.support.servers import Serve


def ask(port: int, host: str | None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest("GET", "/metrics", skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_metrics_port(serve: Serve) -> None:
    port = free_port()
    serve({"PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{port}"})
    for host, expected in [
        (f"127.0.0.1:{port}", 200),
        ("localhost", 200),
        ("[::1]:9108", 200),
        (None, 200),
        ("evil.example", 403),
        (f"evil.example:{port}", 403),
        ("127.0.0.1.evil.example", 403),
        ("[", 403),
        ("", 403),
    ]:
        assert ask(port, host) == expected, host
    with contextlib.ExitStack() as idle:
        connections = [
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(100)
        ]
        ends = [connection.recv(1) for connection in connections]
    assert ends == [b""] * 100, "those beyond a number are closed at once, the others when they have said nothing"
    assert ask(port, "localhost") == 200


def test_readyz_shows_no_path() -> None:
    safety = Safety()
    for error, expected in [
        (JournalFull("/srv/secret/events: 10 of 10 bytes are used"), "there is no room"),
        (JournalError("/srv/secret/events: Input/output error"), "see the log"),
        (OSError(5, "Input/output error", "/srv/secret"), "see the log"),
    ]:
        safety.lost(error)
        assert safety.failure == expected


@pytest.mark.parametrize(
    ("servers", "shown"),
    [
        ("localhost:9092", "localhost:9092"),
        ("SASL_SSL://jane:secret@broker:9092", "SASL_SSL://…@broker:9092"),
        ("a:1,SSL://x:y@b:2,c:3", "a:1,SSL://…@b:2,c:3"),
    ],
)
def test_the_banner_shows_no_password(capsys: pytest.CaptureFixture[str], servers: str, shown: str) -> None:
    show_banner(load({"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": servers}), HostPort("0.0.0.0", 8080), "", "")
    printed = capsys.readouterr().err
    assert f" at {shown}, " in printed
    assert "secret" not in printed


@pytest.mark.parametrize(
    ("proxies", "network"),
    [
        ("", None),
        ("loopback, private, 10.0.0.0/8", None),
        ("2001:db8::/32", None),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("loopback, ::/0", "::/0"),
        ("0.0.0.0/1,128.0.0.0/1", "0.0.0.0/1"),
    ],
)
def test_proxies_that_are_everybody(proxies: str, network: str | None) -> None:
    assert trusted_by_all(load({"PIXELCORE_TRUSTED_PROXIES": proxies}).trusted_proxies) == network


def test_a_gateway_says_so(serve: Serve) -> None:
    server = serve({"PIXELCORE_TRUSTED_PROXIES": "0.0.0.0/0"})
    assert "0.0.0.0/0 is most of the Internet" in server.log()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{" + "[" * 50_000])
def test_deep_json_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    del tmp_path
    with pytest.raises(ValueError, match=r"JSON|deeply"):
        url.from_json(text)
    form = {"base": "http://localhost", "type": "track", "key": "dk_1", "event": "x", "properties": "{" + text}
    assert "error" in build(form)
