"""The end of a command that finds nothing to do."""

from __future__ import annotations

from typing import IO, Any

import click


class NothingThere(click.ClickException):
    """There is nothing to show or to do. It is not an error, but a script must be able to tell by the exit code."""

    exit_code = 3

    def show(self, file: IO[Any] | None = None) -> None:
        """Print one line on stderr."""
        click.echo(self.format_message(), file=file, err=True)
