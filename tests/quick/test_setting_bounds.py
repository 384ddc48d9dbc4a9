"""The smallest and the largest value of each bounded setting, and the error of the next one."""

from __future__ import annotations

import pytest
from pixelcore import SettingsError, settings

WHOLE, NUMBER = "a whole number", "a number"
BOUNDS: list[tuple[str, str, int, int | None]] = [
    # the setting, what it is, its smallest and its largest value
    ("workers", WHOLE, 1, 1024),
    ("journal_max_bytes", WHOLE, 2**20, 2**50),
    ("journal_segment_bytes", WHOLE, 2**12, 2**50),
    ("rejected_max_bytes", WHOLE, 2**16, 2**50),
    ("undeliverable_max_bytes", WHOLE, 2**16, 2**50),
    ("max_query_bytes", WHOLE, 1, 2**24),
    ("max_parameters", WHOLE, 1, 2**24),
    ("max_depth", WHOLE, 1, 2**24),
    ("topic_partitions", WHOLE, 0, 10_000),
    ("topic_replicas", WHOLE, 0, 100),
    ("journal_retain", NUMBER, 0, 10 * 366 * 86_400),
    ("batch_interval", NUMBER, 0, 60),
    ("drain_seconds", NUMBER, 0, 3600),
    ("handover_seconds", NUMBER, 0, 3600),
]


def said(name: str, text: str) -> str:
    """The error of a text; None if it is right."""
    try:
        settings.load({settings.variable(name): text})
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("name", "what", "least", "most"), BOUNDS)
def test_bounds(name: str, what: str, least: int, most: int) -> None:
    assert said(name, str(least)) == said(name, str(most)) == ""
    shown = most if what == WHOLE else float(most)
    assert said(name, str(most + 1)) == f"{settings.variable(name)}: must be {what} <= {shown}, not {str(most + 1)!r}"
    below = said(name, str(least - 1))
    assert below.startswith(f"{settings.variable(name)}: must be ")
    if least:
        assert below.endswith(f">= {least}, not {str(least - 1)!r}")


WORDS: list[tuple[str, str, str]] = [
    ("ip", "half", "must be 'full' or 'truncated' or 'none', not 'half'"),
    ("delivery", "twice", "must be 'exactly-once' or 'at-least-once', not 'twice'"),
    ("log_level", "loud", "must be 'debug' or 'info' or 'warning' or 'error', not 'loud'"),
    ("typed_values", "maybe", "must be true or false, not 'maybe'"),
    ("workers", "two", "must be a whole number, not 'two'"),
]


@pytest.mark.parametrize(("name", "text", "expected"), WORDS)
def test_words(name: str, text: str, expected: str) -> None:
    assert said(name, text) == f"{settings.variable(name)}: {expected}"


MEANT: list[tuple[str, str]] = [
    ("PIXELCORE_TOPICS", "; did you mean PIXELCORE_TOPIC?"),
    ("PIXELCORE_BOOTSTRAP_SERVERS", "; did you mean PIXELCORE_KAFKA_BOOTSTRAP_SERVERS?"),
    ("PIXELCORE_ENTIRELY_SOMETHING_ELSE", ""),
]


@pytest.mark.parametrize(("name", "meant"), MEANT)
def test_a_setting_that_is_none(name: str, meant: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings.load({name: "x"})
    assert str(raised.value) == f"{name}: no such setting{meant}"


TRUSTED: list[tuple[str, str | None]] = [
    ("", None),
    ("10.0.0.0/8, loopback", None),
    ("10.0.0.0/8, 0.0.0.0/0", "0.0.0.0/0"),
    ("::/0", "::/0"),
    ("128.0.0.0/7", "128.0.0.0/7"),
    ("10.0.0.0/8", None),
    ("fc00::/7, 10.0.0.0/8", "fc00::/7"),
]


@pytest.mark.parametrize(("proxies", "expected"), TRUSTED)
def test_most_of_the_internet(proxies: str, expected: str | None) -> None:
    assert settings.trusted_by_all(proxies) == expected
