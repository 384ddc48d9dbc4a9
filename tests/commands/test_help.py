"""Tests of ``--help``, and of shell completion for commands, flags and values."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pixelcore import settings
from pixelcore.commands import setting_help
from pixelcore.commands.main import main

from tests.support.servers import clean_environment

FIELDS = [name for name in settings.described() if name != "kafka"]


def help_of(*arguments: str, columns: int) -> str:
    ended = CliRunner().invoke(main, [*arguments, "--help"], terminal_width=columns, catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.stdout


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["", *sorted(main.commands)])
def test_no_sentence_is_cut_and_no_line_is_too_long(name: str, columns: int) -> None:
    shown = help_of(*filter(None, [name]), columns=columns)
    assert "..." not in shown.replace("[ARGS]...", "")
    assert max(map(len, shown.splitlines())) <= columns


def test_each_command_says_a_whole_sentence_of_itself() -> None:
    listed = help_of(columns=80).partition("Commands:\n")[2].splitlines()
    assert len(listed) == len(main.commands), "each has a line"
    assert all(re.fullmatch(r"  \w+ +[A-Z].*\.", line) for line in listed)


FORMS: list[tuple[str, str, str]] = [
    # field, what --help shows for a value, and for the default
    ("bind", "HOST:PORT", "0.0.0.0:8080"),
    ("workers", "NUMBER", "1"),
    ("data_dir", "DIRECTORY", "pixelcore-data"),
    ("fsync", "[DURATION|never|always]", "1s"),
    ("journal_max_bytes", "SIZE", "10GiB"),
    ("journal_segment_bytes", "SIZE", "64MiB"),
    ("journal_retain", "DURATION", "0s"),
    ("max_query_bytes", "NUMBER", "8192"),
    ("keys_file", "FILE", "none"),
    ("trusted_proxies", "NETWORKS", "none"),
    ("ip", "[full|truncated|none]", "full"),
    ("respect_gpc", "[true|false|deliverability|aggregate|none]", "false"),
    ("delivery", "[exactly-once|at-least-once]", "exactly-once"),
    ("log_level", "[debug|info|warning|error]", "info"),
    ("metrics_address", "HOST:PORT", "127.0.0.1:9108"),
]


@pytest.mark.parametrize(("field", "form", "default"), FORMS)
def test_forms(field: str, form: str, default: str) -> None:
    shown = " ".join(help_of("serve", columns=120).split())
    flag = f"--{field.replace('_', '-')}"
    assert f" {flag} {form} " in shown
    assert f"[env: {settings.variable(field)}; default: {default}]" in shown


@pytest.mark.parametrize("field", FIELDS)
def test_no_value_is_only_a_value(field: str) -> None:
    assert setting_help.form(field) not in ("VALUE", "TEXT") or field == "root_text"
    default = setting_help.default(field)
    if default:
        assert getattr(settings.load({settings.variable(field): default}), field) == getattr(settings.DEFAULTS, field)


def test_groups() -> None:
    shown = help_of("serve", columns=80)
    headings = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert headings == ["Options", *dict.fromkeys(setting_help.GROUPS.values())]
    kafka = shown.partition("\nKafka:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (-\S+)", kafka, re.MULTILINE) == [
        *("--topic", "--rejected-topic", "--checkpoint-topic", "--last-open-topic", "--aggregate-topic"),
        *("--delivery", "--batch-interval"),
        *(
            "--topic-partitions",
            "--topic-replicas",
            "--undeliverable-max-bytes",
            "--drain-seconds",
            "--handover-seconds",
            "-X",
        ),
    ]


SWITCHES: list[tuple[tuple[str, ...], str]] = [
    (("--debug-header",), "true"),
    (("--debug-header", "true"), "true"),
    (("--debug-header=false",), "false"),
    (("--debug-header", "--typed-values"), "true"),
]


@pytest.mark.parametrize(("flags", "value"), SWITCHES)
def test_a_switch_needs_no_value(flags: tuple[str, ...], value: str) -> None:
    context = main.commands["serve"].make_context("serve", list(flags))
    assert context.params["debug_header"] == value


def completed(words: str, cwd: Path, shell: str = "bash") -> set[str]:
    """The completions after these words, of which the last is incomplete."""
    instruction = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    if shell == "fish":
        instruction["COMP_CWORD"] = words.rpartition(" ")[2]
    printed = subprocess.run(
        [sys.executable, "-m", "pixelcore"],
        env=clean_environment({"_PIXELCORE_COMPLETE": f"{shell}_complete", **instruction}),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if shell == "zsh":
        lines = printed.splitlines()
        return set(lines[1::3])
    return {line.partition(",")[2].partition("\t")[0] for line in printed.splitlines()}


COMPLETIONS: list[tuple[str, set[str]]] = [
    ("pixelcore se", {"secret", "serve"}),
    ("pixelcore serve --journal-", {"--journal-max-bytes", "--journal-segment-bytes", "--journal-retain"}),
    ("pixelcore serve --ip ", {"full", "truncated", "none"}),
    ("pixelcore serve --respect-gpc ", {"true", "false", "deliverability", "aggregate", "none"}),
    ("pixelcore check --delivery e", {"exactly-once"}),
    ("pixelcore replay --reason missing_", {"missing_key", "missing_event"}),
    ("pixelcore url tr", {"track"}),
    ("pixelcore schema re", {"rejection"}),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("words", "offered"), COMPLETIONS)
def test_completion(tmp_path: Path, words: str, offered: set[str], shell: str) -> None:
    assert completed(words, tmp_path, shell) == offered


def test_completion_in_bash(tmp_path: Path) -> None:
    """By the line that the documentation has."""
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    (line,) = re.findall(r"^(eval .*bash_source.*)$", page, re.MULTILINE)
    (tmp_path / "pixelcore").symlink_to(shutil.which("pixelcore", path=Path(sys.executable).parent) or "")
    script = f"""{line}
COMP_WORDS=(pixelcore serve --log-level w)
COMP_CWORD=3
_pixelcore_completion pixelcore
echo "${{COMPREPLY[@]}}"
"""
    environment = clean_environment({"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("warning\n", "")
