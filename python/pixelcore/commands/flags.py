"""What the commands have in common: a flag for each setting, and the settings that come of flags and environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from .. import settings
from ..errors import SettingsError

F = TypeVar("F", bound=Callable[..., Any])


def setting_flags(*names: str) -> Callable[[F], F]:
    """A flag for each setting, made from `settings.Settings`; all of them where no names are given."""

    def decorate(command: F) -> F:
        for name, description in reversed(settings.described().items()):
            if name != "kafka" and (not names or name in names):
                variable = settings.variable(name)
                default = getattr(settings.DEFAULTS, name)
                help_text = f"{description}  [env: {variable}; default: {'none' if default in (None, ()) else default}]"
                command = click.option(f"--{name.replace('_', '-')}", name, metavar="VALUE", help=help_text)(command)
        return command

    return decorate


kafka_flag = click.option(
    "-X",
    "kafka",
    multiple=True,
    metavar="PROPERTY=VALUE",
    help="A librdkafka property, such as bootstrap.servers=localhost:9092.  [env: PIXELCORE_KAFKA_…]",
)


def load(flags: Mapping[str, str | None], kafka: tuple[str, ...] = ()) -> settings.Settings:
    """The settings of flags and environment. Flags go into the environment, so that workers see them, too."""
    for name, value in flags.items():
        if value is not None:
            os.environ[settings.variable(name)] = value
    for assignment in kafka:
        prop, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment!r} is not PROPERTY=VALUE", param_hint="-X")
        os.environ[settings.KAFKA_PREFIX + prop.upper().replace(".", "_")] = value
    try:
        return settings.load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def try_settings(chosen: settings.Settings) -> None:
    """Try what can be tried before a server starts."""
    try:
        chosen.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        if not os.access(chosen.data_dir, os.W_OK):
            raise PermissionError(f"{chosen.data_dir} is not writable")
        if chosen.ships:
            from ..shipping import kafka

            kafka.producer(chosen)
    except OSError as error:
        raise click.ClickException(f"PIXELCORE_DATA_DIR: {error}") from None
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
