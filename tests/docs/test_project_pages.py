"""The project's files: the issue form, dependabot, the changelog, the promises of versions, and README's claims."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml
from pixelcore import settings

from tests.support.paths import ROOT
from tests.support.servers import clean_environment

BIN = Path(sys.executable).parent
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text())
FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "problem.yml"
DEPENDABOT = ROOT / ".github" / "dependabot.yml"


# The issue form, and dependabot


@pytest.mark.parametrize(
    "command",
    [
        ("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", FORM),
        ("check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT),
        ("zizmor", "--offline", "--no-progress", "--quiet", ".github"),
    ],
    ids=["the issue form", "dependabot", "zizmor"],
)
def test_files_for_github_are_well_formed(command: tuple[str | Path, ...]) -> None:
    ended = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def fields() -> dict[str, dict[str, Any]]:
    """The issue form's fields by their ids."""
    return {each["id"]: each for each in yaml.safe_load(FORM.read_text())["body"] if "id" in each}


def test_the_issue_form_asks_for_what_tells_most() -> None:
    required = {name for name, each in fields().items() if each.get("validations", {}).get("required")}
    assert {"problem", "check", "version", "settings"} <= required
    for name, command in (("check", "check"), ("version", "--version")):
        texts = fields()[name]["attributes"]
        assert f"pixelcore {command}" in texts["label"]
        subprocess.run([BIN / "pixelcore", command, "--help"], capture_output=True, check=True)


def test_the_issue_forms_command_leaves_secrets_out() -> None:
    (command,) = re.findall(r"`(env [^`]*)`", fields()["settings"]["attributes"]["description"])
    secret = (
        "SASL_PASSWORD",
        "SASL_OAUTHBEARER_CLIENT_SECRET",
        "SSL_KEY_PASSWORD",
        "SSL_KEY_PEM",
        "SSL_KEYSTORE_PASSWORD",
    )
    chosen = {f"{settings.KAFKA_PREFIX}{name}": "not-for-others" for name in secret} | {"PIXELCORE_TOPIC": "seen"}
    shown = subprocess.run(
        ["sh", "-c", command], env=clean_environment(chosen), capture_output=True, text=True, check=True
    ).stdout
    assert "PIXELCORE_TOPIC=seen" in shown
    assert "not-for-others" not in shown


MANIFESTS = {
    # the ecosystem of dependabot, by the names of the files that it reads
    "cargo": ("Cargo.toml",),
    "pip": ("pyproject.toml", "requirements.txt"),
    "docker": ("Dockerfile",),
    "docker-compose": ("compose.yaml",),
    "gomod": ("go.mod",),
    "maven": ("pom.xml",),
    "npm": ("package.json",),
}


def test_dependabot_reads_every_manifest() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    members = {f"/{path}" for path in tomli.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]}
    there = {
        (ecosystem, str(Path("/", name).parent))
        for name in listed
        for ecosystem, manifests in MANIFESTS.items()
        if Path(name).name in manifests
    }
    there = {(ecosystem, place) for ecosystem, place in there if ecosystem != "cargo" or place not in members}
    read = {
        (entry["package-ecosystem"], place)
        for entry in yaml.safe_load(DEPENDABOT.read_text())["updates"]
        for place in entry.get("directories", [entry.get("directory")])
    }
    assert read == there | {("github-actions", "/")}


# The changelog, versions, and the code of conduct


def test_the_changelog_is_grouped() -> None:
    """As Keep a Changelog groups it: versions, and in each its kinds of changes, each a list."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert versions[0].startswith("Unreleased\n")
    assert all(re.match(r"Unreleased\n|\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d\n", each) for each in versions)
    kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for version in versions:
        before, *groups = re.split(r"^### ", version, flags=re.MULTILINE)
        assert before.count("\n- ") == 0, "each change is of a kind"
        names = [group.partition("\n")[0] for group in groups]
        assert names == [kind for kind in kinds if kind in names]
        assert all("\n- " in group for group in groups)


EXIT_CODES: list[tuple[str, list[str], dict[str, str], int]] = [
    ("done", ["url", "page", "--key", "dk_1"], {}, 0),
    ("nothing stands in the way", ["check"], {}, 0),
    ("it could not be done", ["forward"], {}, 1),
    ("an obstacle", ["check", "--timeout", "1", "-X", "bootstrap.servers=127.0.0.1:1"], {}, 1),
    ("a wrong setting", ["serve"], {"PIXELCORE_FSYNC": "weekly"}, 1),
    ("a wrong setting of a check", ["check"], {"PIXELCORE_DELIVERY": "twice"}, 2),
    ("a flag that is none", ["serve", "--no-such-flag"], {}, 2),
    ("a command that is none", ["no-such-command"], {}, 2),
]


@pytest.mark.parametrize(
    ("arguments", "chosen", "expected"), [row[1:] for row in EXIT_CODES], ids=[row[0] for row in EXIT_CODES]
)
def test_exit_codes_are_those_that_versions_promise(
    arguments: list[str], chosen: dict[str, str], expected: int, tmp_path: Path
) -> None:
    command = [str(BIN / "pixelcore"), *arguments]
    ended = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(chosen), capture_output=True, text=True, check=False
    )
    assert ended.returncode == expected, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    (codes,) = re.findall(r"^\| exit codes \| (.*?) \|", (ROOT / "VERSIONING.md").read_text(), re.MULTILINE)
    assert f"{expected}: " in codes


def test_the_code_of_conduct_says_whose_it_is() -> None:
    text = (ROOT / "CODE_OF_CONDUCT.md").read_text()
    assert "Contributor Covenant, version 2.1" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "security advisories" in text
    assert "@" not in text, "nobody's address"


# What runs it


def test_the_pythons_that_are_named_are_those_that_ci_runs() -> None:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    named = [
        match[1]
        for line in PROJECT["project"]["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (\d\.\d+)", line))
    ]
    minors = [int(name.partition(".")[2]) for name in named]
    assert named[0] == lowest
    assert minors == [*range(minors[0], minors[-1] + 1)]
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    tried = {row["dependencies"]: row["python"] for row in jobs["dependencies"]["strategy"]["matrix"]["include"]}
    assert tried["lowest"] == named[0]
    assert tried[""] == named[-1]


def test_ci_runs_the_lowest_versions_and_the_newest() -> None:
    """The jobs' arguments of make are those that make an environment of such versions."""
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["dependencies"]
    rows = job["strategy"]["matrix"]["include"]
    assert [(row["dependencies"], row["may_fail"]) for row in rows] == [
        ("lowest", False),
        ("", False),
        ("newest", True),
    ]
    assert job["continue-on-error"] == "${{ matrix.may_fail }}"
    (step,) = (step for step in job["steps"] if step.get("run") == "make test")
    assert step["env"] == {"DEPENDENCIES": "${{ matrix.dependencies }}"}
    lowest = "--resolution lowest-direct --requirements pyproject.toml --group dev"
    for row, wanted in zip(rows, (lowest, "install --quiet", "--pre --editable"), strict=True):
        environment = {**os.environ, "MAKEFLAGS": "", "DEPENDENCIES": row["dependencies"]}
        plan = ["make", "--dry-run", "--always-make", "test"]
        planned = subprocess.run(plan, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        place = f".venv-{row['dependencies']}" if row["dependencies"] else ".venv"
        assert f"{place}/bin/pytest" in planned
        assert wanted in planned


# README's claims


README = (ROOT / "README.md").read_text()


def test_readme_is_below_120_lines() -> None:
    assert len(README.splitlines()) < 120


def test_readme_names_the_versions_that_are_needed() -> None:
    cargo = tomli.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    python = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Python {python} or later and Rust {cargo['rust-version']} or later" in README
    systems = {line.rpartition(" :: ")[2] for line in PROJECT["project"]["classifiers"] if "Operating System" in line}
    assert systems == {"Linux", "MacOS"}
    assert "Linux and macOS" in README


def test_readme_names_the_defaults() -> None:
    defaults = settings.DEFAULTS
    for text in (defaults.topic, defaults.checkpoint_topic, f"http://{defaults.metrics_address}/metrics"):
        assert text in README


def test_readmes_figures_are_the_newest_ones() -> None:
    """About as much CPU as bare Granian, and an eighth more with Kafka, as the report has it."""
    figures = dict(re.findall(r"^\| whole_way \| (\S+ / bare) \| <= \S+ \| (\S+) \|", report(), re.MULTILINE))
    assert "about as much CPU as bare Granian's empty GIF, and an eighth more with Kafka" in README
    assert abs(float(figures["journal / bare"]) - 1) < 0.07
    assert abs(float(figures["exactly-once / bare"]) - 1.125) < 0.07


def report() -> str:
    return (ROOT / "benches" / "REPORT.md").read_text()


def test_the_example_is_the_contracts() -> None:
    """README begins with a URL and its event."""
    (event,) = re.findall(r"^```json\n(.*)\n```$", README, re.MULTILINE)
    assert README.index("/v1/pixel/track?") < README.index(event) < README.index("$ make run")
    assert [*json.loads(event)][-1] == "context"


def test_readme_says_when_it_is_not_for_you() -> None:
    section = README.split("## When it is not for you\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 5
    for word in ("JavaScript", "Kafka", "GDPR", "Windows", "tenants", "joined"):
        assert any(word in row for row in rows), word
