"""``make consent-proof``: one person's way from sending to withdrawal, and a fleet from which half of all people withdraw. Writes a page.

python -m tests.consents --page target/consent-proof.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import pixelcore
from pixelcore.journals import EVENTS
from pixelcore.observing.backlog import BacklogScanner

from tests.consents import fleet
from tests.kafka.broker import Broker, kafka_jars
from tests.kafka.topics import read_committed, sizes
from tests.support.consents import KEYS, gateway
from tests.support.servers import Server, clean_environment, kafka_settings
from tests.support.waiting import wait_for

PERSON = f"person-{uuid.uuid4().hex[:12]}"
IN_FORCE_SECONDS = 2.0


class Step(NamedTuple):
    """A step, and its findings."""

    at: str
    done: str
    on_topic: int
    """Events of the person on the topic of events."""
    in_files: str
    """Files of the gateway that have the person's id in them."""
    on_topics: str
    """Topics that have it in a key or a value."""


class Story:
    """One person, one gateway, one broker."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        self._bootstrap = broker.bootstrap
        self._topic = f"raw-events-{uuid.uuid4().hex[:6]}"
        keys = directory / "keys.toml"
        keys.write_text(KEYS)
        self._settings = gateway(keys, kafka_settings(broker.bootstrap, self._topic), self._topic)
        self._server = Server(directory / "gateway", self._settings, workers_wanted=2)
        self.url = f"https://mail.example/v1/pixel/track.gif?wk=dk_test_news&e=Email+Opened&uid={PERSON}"
        self._opened = 0

    def steps(self) -> Iterator[Step]:
        self._server.start()
        try:
            time.sleep(IN_FORCE_SECONDS)
            yield self._step("the mail is sent, with this pixel in it; nobody was asked yet")
            self._open()
            yield self._step(
                "the mail is opened: there is no record, so `unknown` of the pipeline counts, which is `none`"
            )
            self._set("individual")
            self._open()
            yield self._step("the person consents (`pixelcore consent set … --mode individual`), and opens the mail")
            self._set("none")
            self._open()
            yield self._step("the person withdraws (`--mode none`), and opens the same mail again")
            self._server.kill()
            self._server.start()
            self._open()
            yield self._step("the gateway is killed (`kill -9`), starts again, and the mail is opened once more")
        finally:
            self._server.kill()

    def _set(self, mode: str) -> None:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pixelcore",
                "consent",
                "set",
                "--pipeline",
                "pip_news",
                "--uid",
                PERSON,
                "--mode",
                mode,
            ],
            env=clean_environment(
                {**self._settings, "PIXELCORE_DATA_DIR": str(self._server.data_dir), "PIXELCORE_LOG_LEVEL": "error"}
            ),
            check=True,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(IN_FORCE_SECONDS)

    def _open(self) -> None:
        for _ in range(4):  # each worker answers some
            self._opened += 1
            answer = self._server.get(f"{self.url.partition('example')[2]}&mid=open-{self._opened}")
            assert answer.is_pixel
        time.sleep(1)

    def _step(self, done: str) -> Step:
        found, count = [], 0
        wait_for(lambda: BacklogScanner(self._server.data_dir / EVENTS).scan().lag_bytes == 0, 90)
        for topic in sorted(name for name in sizes(self._bootstrap) if name.startswith(self._topic)):
            messages = read_committed(self._bootstrap, topic)
            named = [each for each in messages if PERSON.encode() in (each.key or b"") + each.value]
            if topic == self._topic:
                count = len(named)
            if named:
                found.append(f"`{topic.replace(self._topic, 'raw-events')}` ({len(named)})")
        files = [
            str(path.relative_to(self._server.data_dir))
            for path in sorted(self._server.data_dir.rglob("*"))
            if path.is_file() and PERSON.encode() in path.read_bytes()
        ]
        if PERSON in self._server.log():
            files.append("the log")
        kinds = sorted({name.split("/")[0] for name in files})
        now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Step(now, done, count, ", ".join(kinds) or "none", ", ".join(found) or "none")


def page(url: str, steps: list[Step], outcome: fleet.Outcome) -> str:
    """The page for an auditor."""
    size = outcome.size
    rows = "\n".join(
        f"| {number} | {step.at} | {step.done} | {step.on_topic} | {step.in_files} | {step.on_topics} |"
        for number, step in enumerate(steps, 1)
    )
    return f"""# What is kept of a person who withdraws

Made by `make consent-proof` at {datetime.now(timezone.utc).isoformat(timespec="seconds")} with pixelcore {pixelcore.__version__}.
pixelcore helps to apply the sender's decision. Asking, the proof of consent and the link to withdraw stay the sender's.

## One person

The pixel in the mail: `{url}`

After each step the topics and all files of the gateway, its log included, were searched for the person's id. The journal of events keeps
what is shipped until its segment ends, so an event of the time of consent may be seen there, too. The topic of consents has no id in it:
its keys are MACs.

| | when | what was done | events on the topic | files with the id | topics with the id |
|---|---|---|---|---|---|
{rows}

## {size.persons:,} people, {outcome.withdrawn:,} of whom withdraw

Two gateways of two workers answer {size.rate:,.0f} opens a second, and follow one topic of consents. While people withdraw, one after the
other within {size.seconds:g} s, one gateway is killed and started again, and the other is cut off from Kafka for {size.cut_seconds:g} s.

| what was counted | |
|---|---|
| opens that were sent | {outcome.opens:,} |
| events on the topic | {outcome.on_topic:,} |
| of them, events that came more than 2 s after their person's withdrawal was written | {len(outcome.after_bound):,} |
| the latest after its person's withdrawal was written | {outcome.latest_ms:,} ms |
| opens after a withdrawal, of which nothing is on the topic | {outcome.kept_back:,} |
| of them, journaled by a gateway that could not know, and withheld when it could | {outcome.withheld:,} |
| opens of people who had not withdrawn that are missing | {len(outcome.missing):,} |
| events that are there twice | {len(outcome.repeated):,} |
"""


def main() -> None:
    """Run both, write the page, and fail if a promise was broken."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--page", type=Path, default=Path("target/consent-proof.md"))
    arguments.add_argument("--short", action="store_true", help="a tenth of the people, for a third of the time")
    chosen = arguments.parse_args()
    kafka_jars()
    with tempfile.TemporaryDirectory(prefix="consent-proof-") as name:
        directory = Path(name)
        with Broker(directory / "kafka") as broker:
            story = Story(directory, broker)
            steps = list(story.steps())
        (directory / "fleet").mkdir()
        size = fleet.SHORT if chosen.short else fleet.FULL
        outcome = fleet.run(directory / "fleet", size, f"raw-events-{uuid.uuid4().hex[:6]}")
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    text = page(story.url, steps, outcome)
    chosen.page.write_text(text)
    print(text)
    outcome.check()
    assert [step.on_topic for step in steps] == [0, 0, 4, 4, 4], steps
    print(f"the page is in {chosen.page}")


if __name__ == "__main__":
    main()
