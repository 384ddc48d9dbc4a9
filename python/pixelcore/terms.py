"""The terms of each pipeline in the key file, that is, what it keeps of whom (contract, section 9), and their description."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ._core import key_terms


class Terms(NamedTuple):
    """The terms of one pipeline."""

    max: str = "individual"
    """The mode with the most that is ever kept."""
    default: str | None = None
    """The mode of a URL without a mode; None stands for `max`."""
    consent: Literal["uid", "aid"] | None = None
    """The id by which persons are looked up; None if they are not."""
    unknown: str = ""
    """The mode of persons without a record."""
    scope: str = ""
    """The scope of the consents."""
    properties: tuple[str, ...] = ()
    """The properties by which counts are split."""
    minimum: int = 5
    """Counts below it are merged into the rest."""
    refuse_addresses: bool = False
    """Whether a URL is rejected if it seems to contain a mail address."""


UNSAID = Terms()
_KEPT = {
    "individual": "the whole event",
    "deliverability": "the day of a person's last opening",
    "none": "nothing",
}


def read(toml: str) -> dict[str, Terms]:
    """The terms of each pipeline, by its id. Raises ``ValueError`` for a wrong file."""
    found = {}
    for pipeline, said in key_terms(toml).items():
        most, default, consent, unknown, scope, properties, minimum, refuse = said
        found[pipeline] = Terms(most, default, consent, unknown, scope, tuple(properties), minimum, refuse)
    return found


def look_up(said: dict[str, Terms]) -> bool:
    """Whether any of these pipelines looks persons up."""
    return any(terms.consent is not None for terms in said.values())


def lines(said: dict[str, Terms], most: int = 10) -> list[str]:
    """A line for each of the first ``most`` pipelines, and one line for the others."""
    told = [f"{pipeline} {described(terms)}" for pipeline, terms in sorted(said.items())]
    return told[:most] + ([f"and {len(told) - most} more pipelines, as the key file says"] if len(told) > most else [])


def described(terms: Terms) -> str:
    """The terms in plain words."""
    most, text = _kept(terms, terms.max), f"keeps {_kept(terms, terms.max)}"
    asked = terms.max if terms.default is None else terms.default
    if terms.consent is not None:
        text = (
            f"keeps of each {terms.consent} what its record allows, at most {most},"
            f" and without a record {_kept(terms, terms.unknown)} (scope {terms.scope})"
        )
        if asked != terms.max:
            text += f"; of a URL without a mode, at most {_kept(terms, asked)}"
    elif asked != terms.max:
        text = f"keeps {_kept(terms, asked)}, and if the URL has the mode, {most}"
    return text + ("; refuses mail addresses" if terms.refuse_addresses else "")


def _kept(terms: Terms, mode: str) -> str:
    if mode != "aggregate":
        return _KEPT[mode]
    by = f" by {', '.join(terms.properties)}" if terms.properties else ""
    return f"counts{by} without persons, those below {terms.minimum} merged"
