"""Every exception that pixelcore raises of its own accord.

PixelcoreError
├── Rejected        the contract refuses the request; ``reason`` says why
├── JournalError    the journal could not be written or read
│   └── JournalFull its byte budget or the disk is used up
└── SettingsError   a setting is wrong; the message names it
"""

from __future__ import annotations


class PixelcoreError(Exception):
    """The base of all."""


class Rejected(PixelcoreError):
    """A request that becomes no event.

    ``reason`` is one of the words of the contract, section 5, such as ``missing_key``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JournalError(PixelcoreError):
    """The journal could not be written or read; the cause, an ``OSError`` text, is in the message."""


class JournalFull(JournalError):
    """No room: the journal's byte budget or the file system is used up."""


class SettingsError(PixelcoreError):
    """A setting is wrong. The message is one line that names it."""
