"""Certificates as PEM files, which librdkafka and Kafka both read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID

STORE_PASSWORD = b"secret"


class Authority:
    """A certificate authority of its own, with its certificate in a file."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"authority {name}")
        self.file = directory / f"{name}.crt"
        extension = x509.BasicConstraints(ca=True, path_length=None)
        own = _draft(self._name, self._name, self._key).add_extension(extension, critical=True)
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, file: str | None = None) -> Path:
        """The PEM file of a new key and its certificate, for a server on this machine or a client of this name.

        There is a keystore of the same beside it, with the suffix ``.p12`` and `STORE_PASSWORD`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        draft = _draft(_name(name), self._name, key).add_extension(hosts, critical=False)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        certificate = draft.sign(self._key, hashes.SHA256())
        pem = self._directory / f"{file or name}.pem"
        pem.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        store = serialize_key_and_certificates(
            name.encode(), key, certificate, None, BestAvailableEncryption(STORE_PASSWORD)
        )
        pem.with_suffix(".p12").write_bytes(store)
        return pem


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
