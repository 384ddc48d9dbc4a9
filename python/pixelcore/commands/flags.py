"""Shared by the commands: a flag for each setting, and the settings from flags and environment."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .. import datadir, settings
from . import setting_help

F = TypeVar("F", bound=Callable[..., Any])


class SettingType(click.types.StringParamType):
    """The type of a setting's flag, for ``--help`` and shell completion. `settings` checks the value, whatever its source."""

    def __init__(self, field: str) -> None:
        self.name = setting_help.form(field)
        self._completes: click.ParamType[Any] | None = None
        if few := setting_help.choices(field):
            self._completes = click.Choice(few)
        elif self.name in ("DIRECTORY", "FILE"):
            self._completes = click.Path(file_okay=self.name == "FILE")

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """The placeholder for a value in ``--help``."""
        return self.name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The possible values with this beginning."""
        return [] if self._completes is None else self._completes.shell_complete(ctx, param, incomplete)


class SettingsCommand(click.Command):
    """A command whose ``--help`` shows the flags in the groups of the settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own flags, followed by each group of settings."""
        own, groups = settings.described(), defaultdict[str, list[tuple[str, str]]](list)
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                groups[setting_help.group(param.name) if param.name in own else "Options"].append(record)
        for title in sorted(groups, key=lambda title: title != "Options"):
            with formatter.section(title):
                formatter.write_dl(groups[title])


def setting_flags(*names: str) -> Callable[[F], F]:
    """Flags for the named settings, made from `settings.Settings`; for all settings without names."""

    def decorate(command: F) -> F:
        for name, description in reversed(settings.described().items()):
            if name != "kafka" and (not names or name in names):
                # A switch needs no value.
                is_switch = "true" in setting_help.choices(name)
                switch: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if is_switch else {}
                help_text = (
                    f"{description}  [env: {settings.variable(name)}; default: {setting_help.default(name) or 'none'}]"
                )
                flag = f"--{name.replace('_', '-')}"
                command = click.option(flag, name, type=SettingType(name), help=help_text, **switch)(command)
        return command

    return decorate


kafka_flag = click.option(
    "-X",
    "kafka",
    multiple=True,
    metavar="PROPERTY=VALUE",
    help="A librdkafka property, such as bootstrap.servers=localhost:9092.  [env: PIXELCORE_KAFKA_…]",
)


def to_environment(flags: Mapping[str, str | None], kafka: tuple[str, ...] = ()) -> None:
    """Write the flags into the environment, so that workers also see them."""
    for name, value in flags.items():
        if value is not None:
            os.environ[settings.variable(name)] = value
    for assignment in kafka:
        prop, equals, value = assignment.partition("=")
        if not (prop and equals):
            raise click.BadParameter(f"{assignment!r} is not PROPERTY=VALUE", param_hint="-X")
        os.environ[settings.KAFKA_PREFIX + prop.upper().replace(".", "_")] = value


def load(flags: Mapping[str, str | None], kafka: tuple[str, ...] = ()) -> settings.Settings:
    """The settings from flags and environment. Raises `SettingsError`."""
    to_environment(flags, kafka)
    return settings.load()


def try_settings(chosen: settings.Settings) -> None:
    """Try the settings that can be tried before a server starts. Raises `SettingsError`."""
    datadir.prepare(chosen)
    if chosen.ships:
        from ..shipping import kafka

        kafka.try_settings(chosen)
