"""Content blockers: the rules of public lists, in the engine of one that is widespread, over the URLs that the builders write."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pixelcore
import pytest

from tests.kafka.broker import unavailable
from tests.support.paths import ROOT, TESTS

NPM = TESTS / "npm"
RULES = TESTS / "data" / "blockers.txt"
DOCS = ROOT / "docs" / "pixel-urls.md"

# Prints the rule that blocks each URL as an image of another site, or null.
ENGINE = """
import { readFileSync } from "node:fs";
import { FiltersEngine, Request } from "@ghostery/adblocker";
const [, rules] = process.argv;
const engine = FiltersEngine.parse(readFileSync(rules, "utf8"), { debug: true, enableOptimizations: false });
for (const url of JSON.parse(readFileSync(0, "utf8"))) {
  const request = Request.fromRawDetails({ url, type: "image", sourceUrl: "https://shop.example.org/" });
  const { match, filter } = engine.match(request);
  console.log(JSON.stringify(match ? (filter.rawLine ?? filter.toString()) : null));
}
"""


def blocked_by(*urls: str) -> list[str | None]:
    """The rule that blocks each URL."""
    if not (NPM / "node_modules").is_dir() or shutil.which("node") is None:
        unavailable("no npm packages: run make tests/npm/node_modules")
    command = ["node", "--input-type=module", "--eval", ENGINE, str(RULES)]
    ran = subprocess.run(command, cwd=NPM, input=json.dumps(urls), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


BUILT: list[tuple[str, str, str, str | None, bool, str | None]] = [
    # name, host, type, path, gif, the rule
    ("a track", "px", "track", None, False, None),
    ("a page", "px", "page", None, False, None),
    ("an identify", "px", "identify", None, False, None),
    ("a group", "px", "group", None, False, None),
    ("a page with a suffix", "px", "page", None, True, None),
    ("a track with a suffix", "px", "track", None, True, "/track.gif^"),
    ("a host of a name that lists have", "analytics", "track", None, False, "/analytics.*/track"),
    ("another one", "beacon", "track", None, False, "://beacon.*/track"),
    ("such a host with a path of one's own", "beacon", "track", "/img/header", False, None),
    ("a path of one's own", "px", "track", "/img/header", False, None),
    ("a path of one's own with a suffix", "px", "track", "/img/header", True, None),
    ("another one", "px", "page", "/img/welcome", True, None),
    ("a letter", "px", "track", "/o", False, None),
    ("a letter with a suffix", "px", "track", "/o", True, "/o.gif?"),
    ("a letter below a folder", "px", "page", "/img/p", True, "/p.gif?"),
    ("what everybody calls it", "px", "track", "/pixel", True, "/pixel.gif?"),
    ("what it looks like", "px", "track", "/1x1", True, "/1x1.gif?"),
    ("an open, on a host of mail tools", "t", "track", "/open", False, "://t.*/open^$image"),
    ("an open elsewhere", "px", "track", "/open", False, None),
]


def test_urls_of_the_builders() -> None:
    urls = []
    for _, host, kind, path, gif, _rule in BUILT:
        event = "Opened" if kind == "track" else None
        base = f"https://{host}.example.com"
        urls.append(
            pixelcore.pixel_url(
                base, kind, "dk_1", event=event, user_id="u1", path=path, gif=gif, campaign={"source": "a"}
            )
        )
    found = blocked_by(*urls)
    assert [(row[0], rule) for row, rule in zip(BUILT, found, strict=True)] == [(row[0], row[5]) for row in BUILT]


@pytest.mark.parametrize(
    "heading", ["Names that lists have", "Hosts that lists have for a track", "Names that they do not have"]
)
def test_the_documented_names(heading: str) -> None:
    """The page's two lists, each URL on the hosts that it says."""
    (line,) = re.findall(rf"^- {heading}: (.*(?:\n  .*)*)$", DOCS.read_text(), re.MULTILINE)
    named = re.findall(r"`([\w.-]*/[\w./-]*)`", line)
    assert len(named) >= 3
    found = blocked_by(
        *(f"https://{name if name[0] != '/' else 'px.example.com' + name}?wk=dk_1&e=Opened" for name in named)
    )
    assert [name for name, rule in zip(named, found, strict=True) if (rule is None) != ("do not" in heading)] == []


def test_the_rules_are_those_of_images_of_any_site() -> None:
    rules = [line for line in RULES.read_text().splitlines() if line[0] not in "!["]
    assert len(rules) > 20
    assert not any(line.startswith("||") or "domain=" in line for line in rules)
