"""https by ``pixelcore serve`` itself, with metrics, banner and health check, and one line for each error."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kafka.broker import free_port
from tests.support.servers import PATIENCE, clean_environment, is_gif
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with cert.pem, its key.pem, and other.pem, a key of nothing."""
    directory = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days=1"]
    for key, cert in (("key.pem", "cert.pem"), ("other.pem", "unused.pem")):
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run([*command, *names, "-keyout", key, "-out", cert], cwd=directory, check=True, capture_output=True)
    return directory


@contextmanager
def serving(directory: Path, port: int, *flags: str, **settings: str) -> Iterator[Path]:
    """A gateway on ``port``; yields the file of its output."""
    command = [sys.executable, "-m", "pixelcore", "serve", "--bind", f"127.0.0.1:{port}", *flags]
    log = directory / "log"
    environment = clean_environment({"PIXELCORE_DATA_DIR": str(directory / "data"), **settings})
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: "Started worker-1 runtime-1" in log.read_text() or process.poll() is not None, 90)
        yield log
    finally:
        process.terminate()
        process.wait(60)


def test_https(certificate: Path, tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    flags = ["--tls-cert", str(certificate / "cert.pem"), "--tls-key", str(certificate / "key.pem")]
    with serving(tmp_path, port, *flags, PIXELCORE_METRICS_ADDRESS=f"127.0.0.1:{metrics}") as log:
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            assert secured.selected_alpn_protocol() == "http/1.1", "no HTTP/2, whose idle connections stay for ever"
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=PATIENCE)
        connection.request("GET", "/v1/pixel/track?wk=dk_test_1&e=Secret")
        assert is_gif(connection.getresponse().read())
        connection.close()
        scraped = http.client.HTTPConnection("127.0.0.1", metrics, timeout=PATIENCE)
        scraped.request("GET", "/metrics")
        assert 'pixelcore_requests_total{outcome="accepted",type="track"} 1.0' in scraped.getresponse().read().decode()
        scraped.close()
        asked = subprocess.run(
            [sys.executable, "-m", "pixelcore", "health", "--data-dir", tmp_path / "data"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, "ok\n", "")
        assert f"curl -s 'https://localhost:{port}/v1/pixel/track" in log.read_text()


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("cert.pem", "", "PIXELCORE_TLS_CERT, PIXELCORE_TLS_KEY: one is set without the other"),
        ("", "key.pem", "PIXELCORE_TLS_CERT, PIXELCORE_TLS_KEY: one is set without the other"),
        ("missing.pem", "key.pem", "PIXELCORE_TLS_CERT: {}/missing.pem: No such file or directory"),
        ("cert.pem", "missing.pem", "PIXELCORE_TLS_KEY: {}/missing.pem: No such file or directory"),
        ("cert.pem", "other.pem", "not a certificate and its key"),
        ("key.pem", "key.pem", "not a certificate and its key"),
    ],
)
def test_a_wrong_certificate_is_one_line(cert: str, key: str, said: str, certificate: Path, tmp_path: Path) -> None:
    flags = [f"--tls-cert={certificate / cert}"] if cert else []
    flags += [f"--tls-key={certificate / key}"] if key else []
    with serving(tmp_path, free_port(), *flags) as log:
        text = log.read_text()
    assert text.startswith("Error: ")
    assert text.count("\n") == 1
    assert said.format(certificate) in text
