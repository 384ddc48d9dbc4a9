"""The command ``pixelcore url``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..url import from_json, from_paths, img_tag, pixel_url

F = TypeVar("F", bound=Callable[..., Any])


TREE_FLAGS = (
    ("-p", "properties", "PATH=VALUE", "A property, such as campaign.id=camp_001. Repeat a path for a list."),
    ("-P", "properties_json", "JSON", "Properties as a JSON object."),
    ("-t", "traits", "PATH=VALUE", "A trait."),
    ("-T", "traits_json", "JSON", "Traits as a JSON object."),
)


def tree_flags(command: F) -> F:
    """The flags of properties and traits: an object by its paths, as JSON, or both."""
    for flag, name, metavar, help_text in reversed(TREE_FLAGS):
        command = click.option(flag, name, multiple=metavar != "JSON", metavar=metavar, help=help_text)(command)
    return command


def tree(flag: str, assignments: tuple[str, ...], text: str | None) -> dict[str, Any]:
    """The object of ``-p``, read like a gateway reads it, merged with that of ``-P``."""
    try:
        by_path = from_paths(assignments)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=flag) from None
    try:
        whole = from_json(text or "{}")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=flag.upper()) from None
    if both := whole.keys() & by_path.keys():
        raise click.BadParameter(f"{min(both)!r} is also in {flag.upper()}", param_hint=flag)
    return whole | by_path


@click.command()
@click.argument("type", type=click.Choice(["track", "page", "identify", "group"]))
@click.option(
    "--base", default="http://localhost:8080", show_default=True, metavar="URL", help="The gateway's address."
)
@click.option("--key", required=True, help="The pipeline key.")
@click.option("--event", help="The event of a track.")
@click.option("--name", help="The name of a page.")
@click.option("--user-id")
@click.option("--anonymous-id")
@click.option("--group-id")
@click.option("--message-id")
@click.option(
    "--timestamp", metavar="MS", help="Unix milliseconds. Omit it for opens: the gateway's clock sets the time."
)
@click.option(
    "--mode",
    metavar="MODE",
    help="The most that may be kept: individual, deliverability, aggregate, none, or a merge tag.",
)
@tree_flags
@click.option("--campaign", multiple=True, metavar="NAME=VALUE", help="NAME: source, medium, name, term or content.")
@click.option(
    "--cache-buster",
    metavar="TEXT",
    is_flag=False,
    flag_value="",
    help="A value that defeats caches; random if no text follows.",
)
@click.option("--gif", is_flag=True, help="End the path in .gif, for tools that require an image path.")
@click.option("--path", metavar="PATH", help="A path of this type from PIXELCORE_PATHS, such as /open.")
@click.option("--html", is_flag=True, help="Print an <img> tag.")
@click.option("--alt", default="", help="The alt text of the tag.")
@click.option(
    "--merge-tags/--no-merge-tags",
    default=True,
    show_default=True,
    help="Keep merge tags as they are: {{x}} {%x%} *|x|* %%x%% %x% [[x]] <%x%> ${x}.",
)
@click.option("--secret-env", metavar="NAME", help="Sign the URL with the secret in this environment variable.")
@click.option("--seal", is_flag=True, help="Seal the URL with that secret, so that nobody on its way can read it.")
def url(
    type: str, base: str, key: str, campaign: tuple[str, ...], html: bool, alt: str, merge_tags: bool, **flags: Any
) -> None:
    """Print a pixel URL or an image tag. Warns on stderr if the URL is longer than 2,000 characters."""
    flags["campaign"] = {name: value for name, _, value in (assignment.partition("=") for assignment in campaign)}
    flags["cache_buster"] = flags["cache_buster"] == "" or flags["cache_buster"] or False
    if secret_env := flags.pop("secret_env"):
        flags["secret"] = os.environ.get(secret_env)
        if flags["secret"] is None:
            raise click.BadParameter(f"{secret_env} is not set", param_hint="--secret-env")
    try:
        for flag, name in (("-p", "properties"), ("-t", "traits")):
            flags[name] = tree(flag, flags[name], flags.pop(f"{name}_json"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = pixel_url(base, type, key, merge_tags=merge_tags, **flags)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
    click.echo(img_tag(made, alt, merge_tags=merge_tags) if html else made)
