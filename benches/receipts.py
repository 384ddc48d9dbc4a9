"""Compares answers with written events. A contender that lost or altered an event has no figure."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pixelcore

from benches import driver
from benches.servers import Server

OWN: Final = ("messageId", "timestamp", "receivedAt")
"""Members that no two events share."""


def journaled(directory: Path) -> tuple[int, int]:
    """Events and rejections in the journals below a data directory."""
    events = rejections = 0
    for segment in directory.rglob("*.ndjson"):
        with segment.open("rb") as lines:
            for line in lines:
                if line.startswith(b'{"reason"'):
                    rejections += 1
                else:
                    events += 1
    return events, rejections


def expected(person: int) -> dict[str, Any]:
    """pixelcore's event for the driver's request number ``person``."""
    headers = dict(line.split(": ", 1) for line in driver.HEADERS)
    event: dict[str, Any] = json.loads(
        pixelcore.event(
            "track",
            driver.target(person).partition("?")[2],
            ip="127.0.0.1",
            user_agent=headers["User-Agent"],
            referer=headers["Referer"],
            locale=headers["Accept-Language"],
        )
    )
    return event


def comparable(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what is its own and without the name of what made it. Raises where its own is malformed."""
    received = datetime.fromisoformat(event["receivedAt"].replace("Z", "+00:00"))
    if (
        uuid.UUID(event["messageId"]).version != 7
        or event["timestamp"] != event["receivedAt"]
        or event["receivedAt"] != f"{received:%Y-%m-%dT%H:%M:%S}.{received.microsecond // 1000:03}Z"
    ):
        raise AssertionError(f"messageId or times are not the contract's: {event}")
    context = {name: value for name, value in event["context"].items() if name != "library"}
    return {name: value for name, value in event.items() if name not in OWN} | {"context": context}


def check_journal(server: Server) -> None:
    """Every GIF it answered is an event in its journal. Raises otherwise."""
    if server.data is None:
        return
    events, rejections = journaled(server.data)
    if (events, rejections) != (server.answered, 0):
        raise AssertionError(
            f"{server.name}: {server.answered} answers, but {events} events and {rejections} rejections in its journal"
        )


def check_topic(server: Server, bootstrap: str, topic: str) -> None:
    """Every GIF it answered is one event in its topic, and that event is pixelcore's. Raises otherwise."""
    from tests.kafka.topics import IncompleteError, read_committed

    try:
        shipped = read_committed(bootstrap, topic, timeout=120)
    except IncompleteError as error:
        raise AssertionError(f"{server.name}: {error}:\n{server.tail()}") from error
    distinct = len({message.mid for message in shipped})
    if (len(shipped), distinct) != (server.answered, server.answered):
        raise AssertionError(
            f"{server.name}: {server.answered} answers, but {len(shipped)} events in its topic, {distinct} distinct"
        )
    # The last one is the driver's; the first is of `Server.first_answer`, which sends no browser's headers.
    sample = shipped[-1]
    found, wanted = comparable(sample.event), comparable(expected(int(sample.event["userId"].removeprefix("user_"))))
    if found != wanted:
        raise AssertionError(f"{server.name} makes another event:\n{json.dumps(found)}\n{json.dumps(wanted)}")
    if sample.key != found["userId"].encode():
        raise AssertionError(f"{server.name} has another key: {sample.key!r}")
