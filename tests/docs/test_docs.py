"""Every page: its code blocks run or are parsed, its tables match the code, its links work, and the site builds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pixelcore
import pytest
import yaml
from confluent_kafka import KafkaException, Producer
from pixelcore import settings
from pixelcore._core import check_keys
from pixelcore.app import GIF_HEADERS
from pixelcore.commands import setting_help
from pixelcore.observing import metrics

from tests.support.pages import BROKER, Block, Runner, alike, blocks
from tests.support.paths import ROOT
from tests.support.proofs import PROVED, proved

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", ROOT / "SECURITY.md", ROOT / "deploy" / "README.md", *DOCS]
# README's blocks run in tests/deploy/test_packaging.py: in an empty environment, with the wheel.
UNTRIED = ("README.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "VERSIONING.md", "benches/README.md")
WRITTEN = [*(ROOT / name for name in UNTRIED), *PAGES]


@pytest.mark.parametrize("test", sorted(set(PROVED.values())))
def test_what_is_proved_elsewhere_is(test: str) -> None:
    file, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def has_broker(page: Path) -> bool:
    """Whether a page's blocks need a broker."""
    return any(BROKER in block.text for block in blocks(page))


def page_mark(page: Path) -> pytest.MarkDecorator:
    return pytest.mark.kafka if has_broker(page) else pytest.mark.timeout(600)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT)), marks=page_mark(page)) for page in PAGES]
)
def test_blocks_run(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    bootstrap = request.getfixturevalue("broker").bootstrap if has_broker(page) else None
    Runner(page, tmp_path / "clone", Path(sys.executable).parent, bootstrap, proved).run()


# Possible faults of a page: name, text, the error.
WRONG = [
    ("Python", "```python\nassert 1 == 2\n```", "(?s)page.md.*line 2"),
    ("a warning", "```python\nimport warnings\nwarnings.warn('x')\n```", "UserWarning"),
    ("JSON", "```json\n{'a': 1}\n```", "property name"),
    ("TOML", "```toml\n[[a]\n```", "Expected"),
    ("YAML", "```yaml\na: [\n```", "expected"),
    ("JavaScript", "```js\nthrow 1\n```", "non-zero exit status"),
    ("a language", "```perl\n1\n```", "nothing checks blocks of perl"),
    ("no language", "```\n1\n```", "nothing checks blocks of no language"),
    ("no command", "```console\nls\n```", "no line begins with"),
    ("a command that fails", "```console\n$ pixelcore no-such-command\n```", "exit code 2"),
    ("another output", "```console\n$ echo 1 apple\n1 pear\n```", r"printed\s+1 apple"),
    ("an error that does not come", "```console\n$ true\nError: no\n```", "exit code 0"),
    ("a server that ends", "```console\n$ pixelcore serve --fsync x\n```", "ended with 1"),
]


@pytest.mark.parametrize(("text", "said"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_wrong_page_is_found(text: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    runner = Runner(page, tmp_path / "clone", Path(sys.executable).parent, None, proved)
    with pytest.raises(Exception, match=said):
        runner.run()


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("took 1.5 ms", "took 2 ms\n", True),
        ("at 2026-01-01T00:00:00.000Z", "at 2027-02-02T10:00:00.123Z", True),
        ('{"a":…,"b":"1"}', '{"a":{"x":[2]},"b":"2"}', True),
        ("ok\n…\nend", "ok\n1\n2\nend", True),
        ("ok …", "ok", True),
        ("ok …", "no ok", False),
        ("ok", "ok ok", False),
        ("a b", "a c", False),
    ],
)
def test_outputs_are_compared(shown: str, printed: str, expected: bool) -> None:
    assert alike(shown, printed) is expected


# The site


@pytest.mark.timeout(600)
def test_the_site_builds(tmp_path: Path) -> None:
    """The build is strict: an unknown link, anchor or page is an error, and so is a warning."""
    mkdocs = str(Path(sys.executable).with_name("mkdocs"))
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [mkdocs, "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    pages = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.html")}
    for path, html in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)", html)
        assert not loaded, f"{path} loads from elsewhere"
    api = pages[Path("api/index.html")]
    documented = set(re.findall(r'id="pixelcore\.(\w+)"', api))
    assert documented == {name for name in pixelcore.__all__ if not name.startswith("__")}
    assert "plots/latency.svg" in pages[Path("performance/index.html")]


def slug(heading: str) -> str:
    """The anchor that a heading gets on GitHub and on the site."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in WRITTEN])
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    """Every link leads somewhere in a checkout. External links are not tried, because tests need no network."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor and path.suffix == ".md":  # that of a picture says which colours it is for
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name}: {target}#{anchor}"


# Tables and lists that repeat the code


def row_names(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without their backticks."""
    text = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    return [[cell.strip().strip("`") for cell in line.strip("|\n").split("|")] for line in table[0].splitlines()[2:]]


def default_of(name: str) -> str:
    """A setting's default as the table has it."""
    return setting_help.default(name) or "none"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    fields = [name for name in settings.described() if name != "kafka"]
    table = [row[:2] for row in row_names("settings.md", "All settings")]
    assert table == [[settings.variable(name), default_of(name)] for name in fields]


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    served = []
    for each in metrics.METRICS:
        labels = f"{{{','.join(each.labels)}}}" if each.labels else ""
        served.append(f"pixelcore_{each.name}{'_total' if each.kind is metrics.C else ''}{labels}")
    named = [row[0] for row in row_names("metrics.md", "All metrics")]
    assert sorted(named) == sorted(served)


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    (group,) = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
    rules = [[rule["alert"], rule["labels"]["severity"]] for rule in group["rules"]]
    assert [row[:2] for row in row_names("metrics.md", "All alerts")] == rules


def test_the_table_of_commands_is_that_of_the_code() -> None:
    from pixelcore.commands.main import main

    named = [row[0].split()[1] for row in row_names("commands.md", "All commands") if row[0].startswith("pixelcore ")]
    assert sorted(named) == sorted(main.commands)


def test_the_table_of_reasons_is_in_order() -> None:
    from pixelcore._core import REASONS

    assert [row[0] for row in row_names("contract.md", "5. Rejections")] == list(REASONS)


def test_the_examples_of_nesting_are_what_the_core_makes() -> None:
    rows = re.findall(r"^\| `(p[^`]*)` \| `(\{.*)` \|$", (ROOT / "docs" / "contract.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    for query, expected in rows:
        assert pixelcore.nest(query).decode() == expected, query


def test_the_shown_headers_are_those_of_the_gif() -> None:
    (shown,) = (block for block in blocks(ROOT / "docs" / "contract.md") if block.kind == "http")
    sent = {name.lower(): value for name, value in GIF_HEADERS}
    pairs = (line.split(": ", 1) for line in shown.text.splitlines()[1:])
    assert {name.lower(): value for name, value in pairs} == {
        name: value for name, value in sent.items() if name != "content-length"
    }


def key_files() -> list[Block]:
    return [
        block for page in WRITTEN for block in blocks(page) if block.kind == "toml" and "[[pipeline]]" in block.text
    ]


@pytest.mark.parametrize("block", key_files(), ids=lambda block: f"line {block.before}")
def test_key_files_are_taken(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r'"env:(\w+)"', block.text):
        monkeypatch.setenv(name, "example-secret-0123456789abcdefghijklmnop")
    assert check_keys(block.text) == block.text.count("[[pipeline]]")


def test_settings_that_pages_name_exist() -> None:
    known = {settings.variable(name) for name in settings.described() if name != "kafka"}
    for page in WRITTEN:
        for name in set(re.findall(r"\bPIXELCORE_[A-Z_]*[A-Z]\b(?!_)", page.read_text())) - known:
            if name.startswith(settings.KAFKA_PREFIX):
                assert is_property(name), f"{page.name}: {name}"
            else:
                # The broker of tests, and what Kubernetes sets for a Service.
                assert settings._FOREIGN.fullmatch(name), f"{page.name}: {name}"


def is_property(name: str) -> bool:
    """Whether librdkafka has a property that is set by this variable."""
    try:
        Producer({settings._property(name): "no such value"})
    except KafkaException as error:
        return "No such configuration property" not in str(error)
    return True


def test_paths_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`([\w./-]+/[\w.-]*)`", text) + re.findall(r"\b(tests/[\w/]+\.py)\b", text)
    assert len(named) > 20
    for name in named:
        assert (ROOT / name).exists() or name in ("dist/", "site/"), name  # what is made
    # A name without a folder is beside the one before it.
    for folder, others in re.findall(r"`([\w./-]+/)[\w.-]+`((?:, `[\w.-]+`)+)", text):
        for name in re.findall(r"`([\w.-]+)`", others):
            assert (ROOT / folder / name).exists(), folder + name


def test_make_quick_runs_what_there_is() -> None:
    planned = subprocess.run(["make", "-n", "quick"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cargo test" in planned
    (room,) = re.findall(r"\btests/\w+", planned)
    assert len([*(ROOT / room).glob("test_*.py")]) > 3


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    before = text.split("$ make run")[0].splitlines()
    assert len(before) < 25, "the first screen has the sentence, the URL, its JSON, and how to run it"


def test_the_example_is_what_the_core_makes_of_it() -> None:
    found = blocks(ROOT / "README.md")
    path, _, query = next(block for block in found if block.kind == "http").text.split()[1].partition("?")
    (event,) = (block.text for block in found if block.kind == "json")
    made = pixelcore.event(
        path.rpartition("/")[2], query, ip="203.0.113.7", user_agent="Thunderbird/140.0", received_at=1740493801250
    )
    assert made.decode() + "\n" == event
    assert json.loads(event)["context"]["library"]["version"] == pixelcore.__version__
