"""Section 8 of the contract in Python's ``cryptography`` and ``urllib``: the oracle of signing and sealing."""

from __future__ import annotations

import base64
import struct
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derived(secret: str, purpose: bytes) -> bytes:
    """The key of a secret for one purpose."""
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


def sized(data: bytes) -> bytes:
    """Bytes after their length."""
    return struct.pack(">I", len(data)) + data


def base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The decoded bytes of a name or a value of a query."""
    return unquote_to_bytes(text.replace("+", " "))


def message(type: str, query: str) -> bytes:
    """The signed message of a query without a signature."""
    pairs = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        bare = decoded(name)
        while bare.startswith(b"amp;"):
            bare = bare.removeprefix(b"amp;")
        if bare != b"cb" and not bare.startswith(b"utm_"):
            pairs.append(sized(bare) + sized(decoded(value)))
    return sized(type.encode()) + b"".join(sorted(pairs))


def sign(type: str, query: str, secret: str) -> str:
    """The ``s`` of a query."""
    mac = HMAC(derived(secret, b"pixelcore sign v1"), SHA256())
    mac.update(message(type, query))
    return base64url(mac.finalize()[:16])


def seal(type: str, key: str, query: str, secret: str, nonce: bytes) -> str:
    """The ``x`` of a query."""
    beside = sized(type.encode()) + sized(key.encode())
    sealed = AESGCM(derived(secret, b"pixelcore seal v1")).encrypt(nonce, query.encode(), beside)
    return base64url(b"\x01" + nonce + sealed)


def opened(type: str, key: str, x: str, secret: str) -> str:
    """The sealed query. Raises ``InvalidTag``."""
    data = base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
    assert data[0] == 1
    beside = sized(type.encode()) + sized(key.encode())
    return AESGCM(derived(secret, b"pixelcore seal v1")).decrypt(data[1:13], data[13:], beside).decode()
