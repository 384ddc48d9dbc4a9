"""Compares `context.client` with the agents of public test suites.

    python -m benches.clients [--corpora target/corpora] [--wrong people|bots]

Missing suites are cloned (``make clients``). The repository keeps only counts of them. A hash puts each agent into the three
quarters that were looked at while the rules were made (*seen*), or into the fourth one (*held out*). Only the latter, and the suites
that are `UNSEEN`, are compared with the goals. The suites of the `LISTS` that pixelcore itself uses are not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pixelcore
import yaml

REPOSITORIES = (
    "matomo-org/device-detector",
    "ua-parser/uap-core",
    "omrilotan/isbot",
    "arp242/isbot",
    "JayBizzle/Crawler-Detect",
    "faisalman/ua-parser-js",
    "monperrus/crawler-user-agents",
)
LISTS = ("JayBizzle/Crawler-Detect", "monperrus/crawler-user-agents")
"""Suites of the very lists that pixelcore uses. They say little about other bots, so they do not count for the goals."""
UNSEEN = ("faisalman/ua-parser-js",)
"""Suites that were measured before any of their agents was looked at. The people's agents of ua-parser-js that were flagged then were
looked at afterwards, and some are among the `DISPUTED`: for people it is unseen no more. Its bots are."""
ALL = "all but the lists' own"
PEOPLE, BOTS, LIBRARIES, OTHERS = "people", "bots", "HTTP libraries", "feed readers, players"
GOALS = {PEOPLE: 1 / 10_000, BOTS: 0.9}
"""At most so many people flagged, and at least so many bots found."""

OTHER_TYPES = ("feed reader", "feed_reader", "mediaplayer")
OTHER_FILES = ("podcasting", "feed_reader", "mediaplayer")
DISPUTED = (
    *("HeadlessChrome", "SimpleBrowser", " Spider, contact", "WordPress/", "PTST/", "OpenVAS", "PostmanRuntime"),
    *("WebDAV-MiniRedir", "WhatsApp/2.22.9.76 i", "Slurp", "MozacFetch/", "PhantomJS", "python-requests/"),
)
"""In agents that a suite calls people's, and that are none: browsers without a window, tests, a search engine, a link preview."""

UA_PARSER_JS = {
    "browser": PEOPLE,
    "device": PEOPLE,
    "email.json": PEOPLE,
    "library.json": LIBRARIES,
    "crawler.json": BOTS,
    "fetcher.json": BOTS,
    "cli.json": LIBRARIES,
    "mediaplayer.json": OTHERS,
}
"""What ua-parser-js's folders and files are of."""

SHORT = {
    "~Z": "Mozilla/5.0",
    "~L": "Linux",
    "~A": "Android",
    "~W": "Windows",
    "~I": "Macintosh",
    "~i": "iPhone",
    "~a": "AppleWebKit/",
    "~G": "(KHTML, like Gecko)",
    "~c": "Chrome/",
    "~s": "Safari/",
    "~M": "Mobile",
    "~v": "Version/",
    "~m": "Mobile/",
    "~g": "Gecko/",
    "~f": "Firefox/",
    "~C": "compatible",
}
"""What arp242/isbot writes for what most agents have."""


@dataclass(frozen=True)
class Agent:
    """An agent of a suite, and what the suite says that it is."""

    text: str
    suite: str
    is_a: str

    @property
    def held_out(self) -> bool:
        """Whether it is of the quarter, or of a suite, that nobody looked at before it was measured."""
        return self.suite in UNSEEN or sha256(self.text.encode()).digest()[0] % 4 == 3


class Suites:
    """The suites' files, read from clones without a work tree."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def clone(self) -> None:
        """Clone what is missing."""
        for name in REPOSITORIES:
            if not (path := self._directory / name).exists():
                command = ["git", "clone", "--quiet", "--bare", "--depth=1", f"https://github.com/{name}", str(path)]
                subprocess.run(command, check=True)

    def _text(self, name: str, path: str) -> str:
        command = ["git", "-C", str(self._directory / name), "show", f"HEAD:{path}"]
        return subprocess.run(command, check=True, capture_output=True).stdout.decode(errors="replace")

    def _paths(self, name: str, under: str) -> list[str]:
        command = ["git", "-C", str(self._directory / name), "ls-tree", "-r", "--name-only", "HEAD", under]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    def _yaml(self, name: str, path: str) -> object:
        return yaml.load(self._text(name, path), getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def agents(self) -> Iterator[Agent]:
        """Each agent of each suite; those that two suites call differently, and those that are disputed, are left out."""
        found: dict[str, list[Agent]] = defaultdict(list)
        for agent in self._all():
            found[agent.text].append(agent)
        for text, same in found.items():
            kinds = {agent.is_a for agent in same} - {LIBRARIES}
            if len(kinds) <= 1 and not (
                kinds == {PEOPLE} and (text == "WhatsApp/2" or any(word in text for word in DISPUTED))
            ):
                yield next((agent for agent in same if agent.is_a in kinds), same[0])

    def _all(self) -> Iterator[Agent]:
        for suite, is_a, text in (
            *self._device_detector(),
            *self._uap_core(),
            *self._isbot(),
            *self._ua_parser_js(),
            *self._lines(),
        ):
            if text := text.strip():
                yield Agent(text, suite, is_a)

    def _device_detector(self) -> Iterator[tuple[str, str, str]]:
        name = REPOSITORIES[0]
        for path in self._paths(name, "Tests/"):
            if "fixtures/" not in path or not path.endswith(".yml") or path.startswith("Tests/Parser/fixtures/"):
                continue  # parts of agents, and operating systems
            file = Path(path).stem
            entries = self._yaml(name, path)
            for entry in entries if isinstance(entries, list) else []:
                client = entry.get("client")
                kind = client.get("type", "") if isinstance(client, dict) else ""
                if "user_agent" in entry and (file != "unknown" or kind):
                    yield name, self._kind(file, kind), entry["user_agent"]

    @staticmethod
    def _kind(file: str, client_type: str) -> str:
        if file == "bots":
            return BOTS
        if client_type == "library" or file == "library":
            return LIBRARIES
        return OTHERS if client_type in OTHER_TYPES or file in OTHER_FILES else PEOPLE

    def _uap_core(self) -> Iterator[tuple[str, str, str]]:
        name = REPOSITORIES[1]
        cases = self._yaml(name, "tests/test_device.yaml")
        for case in cases["test_cases"] if isinstance(cases, dict) else []:
            yield name, BOTS if case["family"] == "Spider" else PEOPLE, case["user_agent_string"]

    def _isbot(self) -> Iterator[tuple[str, str, str]]:
        name = REPOSITORIES[2]
        for file, is_a in (("browsers", PEOPLE), ("crawlers", BOTS)):
            groups = self._yaml(name, f"fixtures/{file}.yml")
            for agents in groups.values() if isinstance(groups, dict) else []:
                yield from ((name, is_a, str(agent)) for agent in agents or ())

    def _ua_parser_js(self) -> Iterator[tuple[str, str, str]]:
        name = UNSEEN[0]
        for path in self._paths(name, "test/data/ua/"):
            if is_a := UA_PARSER_JS.get(path.split("/")[3]) or UA_PARSER_JS.get(path.split("/")[-1]):
                for case in json.loads(self._text(name, path)):
                    yield name, is_a, case["ua"]

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        for name, path, is_a in (
            ("arp242/isbot", "testdata/not_bots", PEOPLE),
            ("arp242/isbot", "testdata/bots", BOTS),
            ("JayBizzle/Crawler-Detect", "tests/data/user_agent/crawlers.txt", BOTS),
        ):
            for line in self._text(name, path).splitlines():
                if not line.startswith("#"):
                    for short, long in SHORT.items() if name == "arp242/isbot" else ():
                        line = line.replace(short, long)
                    yield name, is_a, line
        name = REPOSITORIES[-1]
        for crawler in json.loads(self._text(name, "crawler-user-agents.json")):
            yield from ((name, BOTS, agent) for agent in crawler["instances"])


def is_named(agent: Agent) -> bool:
    """Whether an event says that nobody read, or, of what a suite calls a bot, which mail proxy a reader has."""
    context = json.loads(pixelcore.event("page", "wk=a", user_agent=agent.text))["context"]
    client = context.get("client")
    return client is not None and (client["automated"] or agent.is_a == BOTS)


def main() -> int:
    """Print the table; the exit code says whether what was held out is within the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=Path("target/corpora"))
    parser.add_argument("--wrong", choices=(PEOPLE, BOTS, LIBRARIES), help="print what is wrong of those that are seen")
    chosen = parser.parse_args()
    suites = Suites(chosen.corpora)
    suites.clone()
    agents, named = Counter[tuple[str, str, bool]](), Counter[tuple[str, str, bool]]()
    for agent in suites.agents():
        hit = is_named(agent)
        for suite in (agent.suite,) if agent.suite in LISTS else (agent.suite, ALL):
            agents[agent.is_a, suite, agent.held_out] += 1
            named[agent.is_a, suite, agent.held_out] += hit
        if chosen.wrong == agent.is_a and not agent.held_out and hit == (agent.is_a == PEOPLE):
            print(agent.text)
    print(f"{'':22}  {'suite':30}  {'seen':>16}  {'held out':>16}")
    for is_a, suite in sorted({key[:2] for key in agents}, key=lambda key: (key[0], key[1] == ALL, key[1])):
        parts = [f"{named[is_a, suite, held_out]:6} of {agents[is_a, suite, held_out]:6}" for held_out in (False, True)]
        rate = named[is_a, suite, True] / max(1, agents[is_a, suite, True])
        print(f"{is_a:22}  {suite:30}  {parts[0]:>16}  {parts[1]:>16}  {rate:8.2%}")
    rates = {is_a: named[is_a, ALL, True] / agents[is_a, ALL, True] for is_a in GOALS}
    return int(rates[PEOPLE] > GOALS[PEOPLE] or rates[BOTS] < GOALS[BOTS])


if __name__ == "__main__":
    sys.exit(main())
