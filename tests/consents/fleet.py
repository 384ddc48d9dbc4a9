"""A fleet under load while people withdraw: two gateways of two workers, one killed and one cut off from Kafka meanwhile."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Producer
from pixelcore._core import consent_keys
from pixelcore.journals import EVENTS
from pixelcore.observing.backlog import BacklogScanner
from typing_extensions import Self

from tests.chaos.proxy import Network, Proxies
from tests.kafka.broker import Broker, free_port
from tests.kafka.topics import Message, Reader, create
from tests.support.consents import KEYS, SCOPE, SECRET, gateway, now_ms, record, send, value_of
from tests.support.load import Load
from tests.support.servers import Server, kafka_settings
from tests.support.waiting import wait_for

WORKERS = 2
BOUND_MS = 2000
"""Seconds from a withdrawal until it is in force everywhere (contract, section 9)."""
SETTLE_SECONDS = 90.0


class Size(NamedTuple):
    """How large a run is."""

    persons: int
    rate: float
    """Opens a second, of all gateways together."""
    seconds: float
    """In which half of the persons withdraw, one after the other."""
    cut_seconds: float


FULL = Size(1000, 1000, 30, 10)
SHORT = Size(100, 200, 10, 5)


class Opens(Load):
    """Opens of mails by persons chosen at random, with when each was sent and answered, in Unix milliseconds."""

    def __init__(self, name: str, port: int, persons: int, rate: float) -> None:
        super().__init__(port, rate=rate, connections=8, seconds=3600, key="dk_test_news")
        self.requests_per_connection = 20  # so that every worker gets some
        self.persons: dict[str, str] = {}
        self.sent_at: dict[str, int] = {}
        self.answered_at: dict[str, int] = {}
        self._name = name
        self._count = persons
        self._chance = random.Random(name)

    def _user(self, mid: str, stream: int) -> str:  # noqa: ARG002
        self.persons[mid] = f"person_{self._chance.randrange(self._count)}"
        self.sent_at[mid] = now_ms()
        return self.persons[mid]

    def _note(self, mid: str, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        self.answered.add(mid)
        self.answered_at[mid] = now_ms()


class Withdrawal(NamedTuple):
    """When a person withdrew, in Unix milliseconds."""

    at: int
    """The time in the record, before which all events are shipped."""
    written: int
    """When the topic had the record, from which the two seconds count."""


@dataclass
class Outcome:
    """The outcome of a run."""

    size: Size
    opens: int = 0
    withdrawn: int = 0
    on_topic: int = 0
    after_bound: list[str] = field(default_factory=list)
    """Events on the topic that came more than two seconds after their person's withdrawal was written."""
    missing: list[str] = field(default_factory=list)
    """Opens that were answered, of persons who had not withdrawn, and are not on the topic."""
    repeated: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    latest_ms: int = 0
    """How long after its person's withdrawal was written the latest event on the topic came."""
    withheld: int = 0
    """Events that were journaled after a withdrawal, before their gateway heard of it, and that were not shipped."""
    kept_back: int = 0
    """Opens after a withdrawal without any record on the topic."""

    def check(self) -> None:
        """Raise ``AssertionError`` if a promise was broken, or if the run proves nothing."""
        wrong = {"after 2 s": self.after_bound, "missing": self.missing, "repeated": self.repeated}
        wrong["strangers"] = self.strangers
        assert not any(wrong.values()), {name: (len(mids), mids[:5]) for name, mids in wrong.items()}
        assert self.on_topic > self.opens / 4, self
        assert self.kept_back > self.opens / 20, self
        assert self.withheld > 0, "the gateway that was cut off journaled nothing that had to be withheld"


class Fleet:
    """A broker, a proxy that can be cut, and two gateways."""

    def __init__(self, directory: Path, topic: str) -> None:
        self.topic = topic
        self.network = Network()
        self._proxies = Proxies(self.network)
        inner = free_port()
        through = f"127.0.0.1:{self._proxies.add(inner)}"
        self.broker = Broker(directory / "kafka")
        self.broker.properties |= {
            "listeners": f"PLAINTEXT://{self.broker.bootstrap},CUT://127.0.0.1:{inner},"
            f"CONTROLLER://127.0.0.1:{self.broker.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.broker.bootstrap},CUT://{through}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CUT:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        keys = directory / "keys.toml"
        keys.write_text(KEYS)
        self.gateways = [
            Server(
                directory / f"gateway-{number}",
                gateway(keys, kafka_settings(bootstrap, topic), topic),
                workers_wanted=WORKERS,
            )
            for number, bootstrap in enumerate((self.broker.bootstrap, through))
        ]

    def __enter__(self) -> Self:
        self.broker.start(120)
        create(self.broker.bootstrap, self.topic, partitions=3)
        create(self.broker.bootstrap, f"{self.topic}-consents", compacted=True)
        for server in self.gateways:
            server.start()
        self._producer = Producer({"bootstrap.servers": self.broker.bootstrap, "log_level": 0, "linger.ms": 0})
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self.gateways:
            server.kill()
        self.broker.kill()
        self._proxies.close()

    def withdraw(self, person: str) -> Withdrawal:
        """Write a withdrawal to the topic as a sender's own system does."""
        at = now_ms()
        key, value, _ = record(person, "none", at)
        self._producer.produce(f"{self.topic}-consents", value, key, timestamp=at)
        assert self._producer.flush(60) == 0
        return Withdrawal(at, now_ms())


def run(directory: Path, size: Size, topic: str) -> Outcome:
    """Let all consent and half of them withdraw, while their mails are opened at both gateways."""
    with Fleet(directory, topic) as fleet:
        persons = [f"person_{number}" for number in range(size.persons)]
        keys = consent_keys(SECRET, SCOPE, "uid", [person.encode() for person in persons])
        at = now_ms()
        send(fleet.broker.bootstrap, f"{topic}-consents", [(key, value_of("individual", at), at) for key in keys])
        for server in fleet.gateways:
            wait_for(lambda: _has_consented(server, persons[-1]), 120, "all gateways know of the consents")  # noqa: B023
        time.sleep(BOUND_MS / 1000)  # and all their workers
        loads = [
            Opens(f"gateway-{number}", server.port, size.persons, size.rate / 2)
            for number, server in enumerate(fleet.gateways)
        ]
        for load in loads:
            load.start()
        try:
            withdrawn = _withdraw_half(fleet, size, persons)
            fleet.network.cut = False
            time.sleep(3 * BOUND_MS / 1000)  # opens of those who withdrew last
        finally:
            fleet.network.cut = False
            for load in loads:
                load.stop()
        outcome = Outcome(size, opens=sum(len(load.sent) for load in loads), withdrawn=len(withdrawn))
        messages = _shipped(fleet, loads, withdrawn)
        _account(outcome, loads, withdrawn, messages)
        for server in fleet.gateways:
            for count in re.findall(r'"message": "(\d+) events are not shipped: they arrived', server.log()):
                outcome.withheld += int(count)
        return outcome


def _has_consented(server: Server, person: str) -> bool:
    server.get(f"/v1/pixel/track?wk=dk_test_news&e=Probe&mid=probe&uid={person}")
    return any(event["messageId"] == "probe" for event in server.events())


def _withdraw_half(fleet: Fleet, size: Size, persons: list[str]) -> dict[str, Withdrawal]:
    """When each withdrew. Meanwhile one gateway is killed and started again, and the other is cut off from Kafka."""
    leaving = persons[: size.persons // 2]
    begun = time.monotonic()
    kill_at, back_at = 0.15 * size.seconds, 0.3 * size.seconds
    cut_at = 0.4 * size.seconds
    withdrawn: dict[str, Withdrawal] = {}
    killed, cut_off = False, 0.0
    first = fleet.gateways[0]
    # Beside, since a start takes as long as it takes.
    back = threading.Thread(target=first.start, name="a gateway that comes back")
    while len(withdrawn) < len(leaving):
        now = time.monotonic() - begun
        if not killed and now > kill_at:
            first.kill()
            killed = True
        elif back.ident is None and now > back_at:
            back.start()
        if not cut_off and now > cut_at:
            cut_off = now
        fleet.network.cut = bool(cut_off) and now < cut_off + size.cut_seconds
        if len(withdrawn) < len(leaving) * now / size.seconds:
            person = leaving[len(withdrawn)]
            withdrawn[person] = fleet.withdraw(person)
            continue
        time.sleep(0.01)
    back.join()
    assert first.process is not None, "the gateway that was killed is back"
    return withdrawn


def _shipped(fleet: Fleet, loads: list[Opens], withdrawn: dict[str, Withdrawal]) -> list[Message]:
    """The topic's events after all journals are shipped."""

    def is_shipped() -> bool:
        return all(BacklogScanner(server.data_dir / EVENTS).scan().lag_bytes == 0 for server in fleet.gateways)

    never = Withdrawal(1 << 62, 1 << 62)
    wanted = {
        mid for load in loads for mid, at in load.answered_at.items() if at < withdrawn.get(load.persons[mid], never).at
    }
    with Reader(fleet.broker.bootstrap, fleet.topic) as reader:
        seen: set[str] = set()
        read = 0

        def is_whole(messages: list[Message]) -> bool:
            nonlocal read
            seen.update(message.mid for message in messages[read:])
            read = len(messages)
            return wanted <= seen

        # What is missing then is told of by name.
        with contextlib.suppress(TimeoutError):
            reader.until(is_whole, SETTLE_SECONDS)
        wait_for(is_shipped, SETTLE_SECONDS, "all journals are shipped")
        reader.poll(3)
        return reader.messages


def _account(outcome: Outcome, loads: list[Opens], withdrawn: dict[str, Withdrawal], messages: list[Message]) -> None:
    counts: Counter[str] = Counter()
    for message in messages:
        event = message.event
        if event["event"] == "Probe":
            continue
        mid = message.mid
        counts[mid] += 1
        outcome.on_topic += 1
        received = _millis(event["receivedAt"])
        if (withdrawal := withdrawn.get(event["userId"])) is not None:
            outcome.latest_ms = max(outcome.latest_ms, received - withdrawal.written)
            if received > withdrawal.written + BOUND_MS:
                outcome.after_bound.append(mid)
    sent = {mid for load in loads for mid in load.sent}
    outcome.strangers = sorted(counts.keys() - sent)
    outcome.repeated = sorted(mid for mid, count in counts.items() if count > 1)
    for load in loads:
        for mid, at in load.answered_at.items():
            until = withdrawn.get(load.persons[mid])
            if until is None or at < until.at:
                if mid not in counts:
                    outcome.missing.append(mid)
            elif mid not in counts:
                outcome.kept_back += 1


def _millis(iso: str) -> int:
    return int(datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp() * 1000 + 0.5)
