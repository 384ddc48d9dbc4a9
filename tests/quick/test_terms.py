"""The terms of the key file in plain words (contract, section 9)."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from pixelcore import terms
from pixelcore.commands.main import main
from pixelcore.serving import key_file

from tests.support.key_files import pipeline

NONE = "nothing"
SAID: list[tuple[dict[str, object], str]] = [
    ({}, "keeps the whole event"),
    ({"max": '"none"'}, "keeps nothing"),
    ({"max": '"deliverability"'}, "keeps the day of a person's last opening"),
    ({"max": '"aggregate"'}, "keeps counts without persons, those below 5 merged"),
    (
        {"max": '"aggregate"', "aggregate_properties": '["campaign", "a.b"]', "aggregate_minimum": 20},
        "keeps counts by campaign, a.b without persons, those below 20 merged",
    ),
    ({"default": '"none"'}, "keeps nothing, and if the URL has the mode, the whole event"),
    (
        {"consent": '"uid"'},
        "keeps of each uid what its record allows, at most the whole event, and without a record nothing (scope pip_a)",
    ),
    (
        {
            "consent": '"aid"',
            "unknown": '"deliverability"',
            "scope": '"news"',
            "default": '"none"',
            "refuse_addresses": True,
        },
        (
            "keeps of each aid what its record allows, at most the whole event, and without a record the day of a person's"
            " last opening (scope news); of a URL without a mode, at most nothing; refuses mail addresses"
        ),
    ),
]


@pytest.mark.parametrize(("more", "expected"), SAID)
def test_in_plain_words(more: dict[str, object], expected: str) -> None:
    assert terms.described(terms.read(pipeline("dk_live_a", **more))["pip_a"]) == expected


def test_only_those_are_named_that_say_something(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("\n".join(pipeline(f"dk_live_{n}", **({"max": '"none"'} if n % 2 else {})) for n in range(30)))
    lines = terms.lines(key_file.said(file))
    assert lines[0] == "pip_1 keeps nothing"
    assert (len(lines), lines[-1]) == (11, "and 5 more pipelines, as the key file says")
    checked = CliRunner().invoke(main, ["check", "--keys-file", str(file), "--data-dir", str(tmp_path / "data")])
    assert "pip_1 keeps nothing | pip_11 keeps nothing" in checked.output


def test_a_file_that_contradicts_itself_is_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(pipeline("dk_live_a", max='"none"', consent='"uid"'))
    for command in ("check", "serve"):
        ended = CliRunner().invoke(main, [command, "--keys-file", str(file), "--data-dir", str(tmp_path / "data")])
        assert ended.exit_code != 0
        assert 'consent of pip_a looks up persons, but max "none" keeps nothing of them' in ended.output
