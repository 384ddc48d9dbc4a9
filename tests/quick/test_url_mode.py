"""The mode of a URL that a builder makes, in Python, on the command line and in JavaScript (contract, section 9)."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from pixelcore import pixel_url
from pixelcore.commands.main import main

from tests.support.paths import ROOT

BASE = "https://px.example.com"
BUILT: list[tuple[str | None, str]] = [
    (None, ""),
    ("", ""),
    ("individual", "&m=i"),
    ("i", "&m=i"),
    ("deliverability", "&m=d"),
    ("aggregate", "&m=a"),
    ("n", "&m=n"),
]
WRONG = ["all", "N", "{{mode}}", "aggregat"]
PERSONAL: list[tuple[str, str, object]] = [
    ("user_id", "userId", "u"),
    ("anonymous_id", "anonymousId", "a"),
    ("group_id", "groupId", "g"),
    ("message_id", "messageId", "m"),
    ("traits", "traits", {"a": 1}),
]


def in_javascript(more: dict[str, object]) -> str:
    """The URL, or the error's text."""
    if (node := shutil.which("node")) is None:
        pytest.fail("node is missing")
    module = (ROOT / "docs" / "pixel-url.js").as_uri()
    script = (
        f"import({json.dumps(module)}).then(({{pixelUrl}}) => "
        f"console.log(pixelUrl({json.dumps(BASE)}, 'track', 'dk_1', {json.dumps(more)})))"
        ".catch((error) => console.log(error.message))"
    )
    return subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("mode", "written"), BUILT)
def test_a_mode_is_a_letter(mode: str | None, written: str) -> None:
    expected = f"{BASE}/v1/pixel/track?wk=dk_1&e=E{written}"
    assert pixel_url(BASE, "track", "dk_1", event="E", mode=mode) == expected
    assert in_javascript({"event": "E", "mode": mode}) == expected
    if mode:
        arguments = ["url", "track", "--base", BASE, "--key", "dk_1", "--event", "E", "--mode", mode]
        assert CliRunner().invoke(main, arguments).stdout.strip() == expected


@pytest.mark.parametrize("mode", WRONG)
def test_what_is_no_mode(mode: str) -> None:
    with pytest.raises(ValueError, match=r"mode: .* is not individual, deliverability, aggregate or none"):
        pixel_url(BASE, "track", "dk_1", event="E", mode=mode)
    assert in_javascript({"event": "E", "mode": mode}).startswith("mode: ")


def test_a_mail_tool_sets_the_mode_of_each_recipient() -> None:
    url = pixel_url(BASE, "track", "dk_1", event="E", user_id="{{id}}", mode="{{consent}}", merge_tags=True)
    assert url.endswith("?wk=dk_1&e=E&uid={{id}}&m={{consent}}")
    assert in_javascript({"event": "E", "userId": "{{id}}", "mode": "{{consent}}", "mergeTags": True}) == url


@pytest.mark.parametrize(("argument", "member", "value"), PERSONAL)
def test_a_url_for_counts_names_nobody(argument: str, member: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: a URL for aggregate counts is the same for all"):
        pixel_url(BASE, "track", "dk_1", event="E", mode="aggregate", **{argument: value})  # type: ignore[arg-type]
    assert f"{member}: a URL for aggregate counts" in in_javascript({"event": "E", "mode": "a", member: value})
    assert pixel_url(BASE, "track", "dk_1", event="E", mode="none", **{argument: value})  # type: ignore[arg-type]


def test_a_url_for_counts_is_not_sealed() -> None:
    with pytest.raises(ValueError, match=r"^seal: "):
        pixel_url(BASE, "track", "dk_1", event="E", mode="a", secret="a-secret-of-the-tests-0123456789", seal=True)
