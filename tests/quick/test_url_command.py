"""The command ``pixelcore url``, and the examples of docs/pixel-urls.md for it and for the other builders."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pixelcore
import pytest
from click.testing import CliRunner
from pixelcore import url
from pixelcore.commands.main import main

from tests.support.paths import ROOT

MODULE = ROOT / "docs" / "pixel-url.js"
DOCS = (ROOT / "docs" / "pixel-urls.md").read_text()
BASE = "https://px.example.com"

COMMAND = ("url", "track", "--key", "dk_1", "--event", "E")
PRINTED: list[tuple[str, tuple[str, ...], str]] = [
    ("paths", ("-p", "campaign.id=c 1", "-p", "tags=a", "-p", "tags=b"), "&p.campaign.id=c%201&p.tags=a&p.tags=b"),
    ("JSON", ("-P", '{"a":{"b":[1]},"c":true}'), "&p.a.b.0=1&p.c=true"),
    (
        "both, and traits",
        ("-P", '{"a":"1"}', "-p", "b==", "-t", "c=2", "-T", '{"d":"3"}'),
        "&p.a=1&p.b=%3D&t.d=3&t.c=2",
    ),
    ("a path and its value are literal", ("-p", "a+b=%41&c"), "&p.a%2Bb=%2541%26c"),
    ("tags", ("--user-id", "{{ user.id }}", "-p", "a=*|X Y|*"), "&uid={{ user.id }}&p.a=*|X Y|*"),
    ("no tags", ("--no-merge-tags", "--user-id", "{{u}}"), "&uid=%7B%7Bu%7D%7D"),
    ("campaign", ("--campaign", "source=s", "--campaign", "name=n=1"), "&utm_source=s&utm_campaign=n%3D1"),
    ("a literal cb", ("--cache-buster", "{{ now }}"), "&cb={{ now }}"),
    ("a time", ("--timestamp", "1740493800000"), "&ts=1740493800000"),
]


@pytest.mark.parametrize(("arguments", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PRINTED])
def test_command(arguments: tuple[str, ...], expected: str) -> None:
    ended = CliRunner().invoke(main, [*COMMAND, *arguments])
    assert (ended.stdout, ended.stderr) == (f"http://localhost:8080/v1/pixel/track?wk=dk_1&e=E{expected}\n", "")


def test_command_with_html() -> None:
    arguments = ["--base", BASE, "--user-id", "<%= a %>", "--gif", "--html", "--alt", '"', "--cache-buster"]
    ended = CliRunner().invoke(main, [*COMMAND, *arguments])
    pattern = (
        rf'<img src="{BASE}/v1/pixel/track\.gif\?wk=dk_1&amp;e=E&amp;uid=<%= a %>&amp;cb=[0-9a-f]{{16}}" '
        r'width="1" height="1" alt="&quot;" style="border:0">\n'
    )
    assert re.fullmatch(pattern, ended.stdout)


def test_command_warns_on_stderr() -> None:
    ended = CliRunner().invoke(main, [*COMMAND, "-p", "long=" + "x" * 2_000])
    assert ended.exit_code == 0
    assert len(ended.stdout.splitlines()) == 1
    assert re.fullmatch(r"Warning: the URL has 2,\d+ characters; .*longest: p\.long \(2,007\), .*\n", ended.stderr)


WRONG: list[tuple[str, tuple[str, ...], str]] = [
    ("no value", ("-p", "a"), "-p"),
    ("no JSON", ("-P", "{"), "-P"),
    ("no object", ("-T", "[]"), "-T"),
    ("the same member twice", ("-p", "a.b=1", "-P", '{"a":"2"}'), "'a' is also in -P"),
    ("null", ("-P", '{"a":null}'), "properties.a"),
    ("bytes that are not UTF-8", ("-p", "a=\udcff"), "surrogates"),
    ("no campaign's", ("--campaign", "gclid=1"), "campaign"),
    ("no base", ("--base", "px.example.com"), "base"),
]


@pytest.mark.parametrize(("arguments", "named"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_command_refuses(arguments: tuple[str, ...], named: str) -> None:
    ended = CliRunner().invoke(main, [*COMMAND, *arguments])
    assert ended.exit_code in (1, 2)
    assert isinstance(ended.exception, SystemExit), "no traceback"
    assert ended.stdout == ""
    assert named in ended.stderr.splitlines()[-1]


def test_the_documented_examples(tmp_path: Path) -> None:
    (console,) = re.findall(r"^```console\n\$ pixelcore (.*)\n(.*\n)```", DOCS, re.MULTILINE)
    assert CliRunner().invoke(main, shlex.split(console[0])).output == console[1]
    (script,) = re.findall(r"^```js\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "example.js").write_text(script)
    shutil.copy(MODULE, tmp_path)
    printed = subprocess.run(["node", "example.js"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    made = pixelcore.pixel_url(BASE, "track", "dk_1", event="Email Opened", properties={"tags": ["a", "b"]})
    assert printed == pixelcore.img_tag(made) + "\n"


def test_the_documented_tags() -> None:
    forms = [
        form
        for line in re.findall(r"^- (`[^`]+`(?: `[^`]+`)*):", DOCS, re.MULTILINE)
        for form in re.findall("`([^ `]+)`", line)
    ]
    assert len(forms) == 9
    for form in forms:
        tag = form.replace("x", "first.name")
        made = pixelcore.pixel_url(BASE, "page", "dk_1", user_id=tag, merge_tags=True)
        assert made.endswith(f"&uid={tag}")
        assert form in (url.__doc__ or "")
        assert form.replace("{{{x}}}", "{{x}}") in CliRunner().invoke(main, ["url", "--help"]).output
