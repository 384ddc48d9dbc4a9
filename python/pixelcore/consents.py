"""The consent list in the data directory: the ceiling of each person (contract, section 9).

::

    consents/ceilings   the list, which all processes map (rust/core/src/consent/table.rs)
    consents/lock       the flock of the process that changes it
    consents/follow     the flock of the process that follows the topic
    consents/secret     the secret, if none is set and there is no Kafka

The core reads and writes the list. This module finds it, and its secrets.
"""

from __future__ import annotations

import os
import secrets as random
from datetime import timedelta
from pathlib import Path
from typing import Literal

from . import terms
from ._core import Ceilings, consent_key_ids
from .datadir import CONSENTS
from .errors import SettingsError
from .files import make_directory, open_own, sync_directory
from .settings import Settings, variable

LIST = "ceilings"
SECRET = "secret"
FOLLOW = "follow"
LOCAL = "local"
"""The key id of a secret that this module makes."""


def directory(settings: Settings) -> Path:
    """The directory of the list."""
    return settings.data_dir / CONSENTS


def has_list(settings: Settings) -> bool:
    """Whether there is a list. Without one, nobody has a record."""
    return (directory(settings) / LIST).exists()


def secrets(settings: Settings) -> str:
    """The secrets as ``ID:SECRET``: those that are set, otherwise the one in the data directory, which is made if it is missing.

    Raises `SettingsError` with Kafka and without a set secret, because each gateway would make a different one.
    """
    if settings.consent_secret:
        return settings.consent_secret
    path = directory(settings) / SECRET
    if settings.ships:
        hint = f"; {path} has the one that this gateway used without Kafka" if path.exists() else ""
        raise SettingsError(
            f"{variable('consent_secret')}: is not set, but with Kafka all gateways need the same secret: set it to an id,"
            f" a colon and the output of `pixelcore secret`{hint}"
        )
    try:
        return _made(path)
    except OSError as error:
        raise SettingsError(f"{variable('consent_secret')}: {path}: {error.strerror}") from None


def _made(path: Path) -> str:
    make_directory(path.parent)
    text = f"{LOCAL}:{random.token_urlsafe(32)}\n"
    new = path.with_name(f"{SECRET}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        # If two processes make one at the same time, the first one counts.
        path.hardlink_to(new)
        sync_directory(path.parent)
    except FileExistsError:
        text = path.read_text("ascii")
    finally:
        new.unlink()
    try:
        consent_key_ids(text.strip())
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    return text.strip()


def ceilings(settings: Settings) -> Ceilings:
    """The list for look-ups. Raises `SettingsError` like `secrets`."""
    # Without Kafka, only this machine writes the list, so it is never old.
    is_limited = settings.ships and settings.consent_max_age > 0
    max_age = timedelta(seconds=settings.consent_max_age) if is_limited else None
    return Ceilings(directory(settings), secrets(settings), max_age)


def lookups(keys: str) -> dict[str, tuple[str, Literal["uid", "aid"]]]:
    """The pipelines of a key file that look persons up, by id: their scope, and the kind of the ids. Raises ``ValueError``."""
    # A file of 100,000 keys takes half a second.
    said = terms.read(keys) if "consent" in keys else {}
    return {pipeline: (each.scope, each.consent) for pipeline, each in said.items() if each.consent is not None}
