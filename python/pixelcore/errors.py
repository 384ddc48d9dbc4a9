"""Every public exception of pixelcore.

PixelcoreError
├── Rejected        the request is rejected; ``reason`` is one of the contract's words
├── JournalError    the journal could not be written or read
│   └── JournalFull its byte budget or the disk is used up
└── SettingsError   a setting is wrong; the message names it
"""

from __future__ import annotations


class PixelcoreError(Exception):
    """The base class of all exceptions of pixelcore."""


class Rejected(PixelcoreError):
    """The request is rejected, so it becomes no event.

    ``reason`` is one of the words of section 5 of the contract, such as ``missing_key``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JournalError(PixelcoreError):
    """The journal could not be written or read. The message has the cause, the text of an ``OSError``."""


class JournalFull(JournalError):
    """There is no room: the journal's byte budget or the file system is used up."""


class SettingsError(PixelcoreError):
    """A setting is wrong. The message is one line that names it."""
