"""The rules of English in prose/: each finds the bad sentence that is planted for it, and none finds fault with the good ones."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

VALE = ROOT / "target" / "tools" / "bin" / "vale"
RULES = {path.stem for path in (ROOT / "prose" / "pixelcore").glob("*.yml")}

LONG = " ".join(["a"] * 30)
# A rule, and texts that it must find.
BAD: list[tuple[str, str]] = [
    ("Sentences", f"This sentence has six more words {LONG}."),
    ("Sentences", f"Short.\n\n- This item has six more words\n  {LONG} `code`. Short."),
    ("Subjects", "What ships gives way."),
    ("Subjects", "It rains. Who waits gets an answer."),
    ("Subjects", "The address of whoever asks is kept."),
    ("None", "A key is needed, and there is none."),
    ("IsNo", "An `m` that is no mode counts."),
    ("Words", "The cause is mended."),
    ("Words", "It is beside the journal."),
    ("Words", "The gateway lets it pass."),
    ("Words", "A rule lets such requests through."),
    ("Behind", "The tag is behind the text."),
    ("Behind", "| a | b |\n|---|---|\n| one | the tag behind the others |"),
    ("OfWhich", "It has two, one of which is empty."),
    ("Too", "The log says so, too."),
    ("Inverted", "The log says so. So does the metric."),
    ("Inverted", "The log is bounded, and so is the event."),
    ("For", "It waits, for it has no key."),
    ("Terms", "An abandoned journal is shipped."),
    ("Names", "The kafka broker is down."),
    ("Consent", "This mode is compliant."),
    ("Consent", "A count needs no consent."),
    ("Lines", "word " * 25),
]
GOOD = f"""# What it does not do

{LONG.capitalize()}
and that is not all. It is no longer open, and there is no key. Is it a mode?
It is behind a proxy, and falls behind. It leaves nothing behind, with confluent-kafka.

- The key `a b c d e f g` is not a mode, so it is rejected. What is a mode?
- It had no key, for two reasons. So the gateway refuses it.

| a table | may be long |
|---|---|
| {LONG} | {LONG} |

```text
What ships is no code of ours, too {LONG} {LONG}
```
"""


def found(text: str) -> list[str]:
    """The rules that a page breaks, one for each place."""
    assert VALE.exists(), "please make target/tools/bin/vale"
    command: list[str | Path] = [
        VALE,
        "--no-global",
        "--config",
        ROOT / ".vale.ini",
        "--output",
        "JSON",
        "--ext",
        ".md",
    ]
    ended = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
    alerts = [alert for each in json.loads(ended.stdout).values() for alert in each]
    assert ended.returncode == (1 if alerts else 0), ended.stderr
    return [alert["Check"].removeprefix("pixelcore.") for alert in alerts]


@pytest.mark.parametrize(("rule", "text"), BAD)
def test_a_planted_sentence_is_found(rule: str, text: str) -> None:
    assert set(found(text)) == {rule}


def test_every_rule_has_a_planted_sentence() -> None:
    assert {rule for rule, _ in BAD} == RULES


def test_good_sentences_are_left_alone() -> None:
    assert found(GOOD) == []


def test_an_exception_is_made_by_name() -> None:
    bad = "What ships gives way, too."
    assert found(f"<!-- vale pixelcore.Subjects = NO -->\n\n{bad}\n\n<!-- vale pixelcore.Subjects = YES -->\n") == [
        "Too"
    ]


def test_exceptions_are_few() -> None:
    pages = [path for place in ("*.md", "docs/**/*.md", "deploy/*.md", "benches/*.md") for path in ROOT.glob(place)]
    made = [exception for path in pages for exception in re.findall(r"<!-- vale (.*?) -->", path.read_text())]
    assert all(re.fullmatch(r"pixelcore\.\w+ = (NO|YES)", each) for each in made)
    assert sum(each.endswith("NO") for each in made) <= 5
