"""The log: its lines, their frequency, and the data that is never logged."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import time

import pytest
from pixelcore import settings
from pixelcore.observing import log

from tests.kafka.broker import free_port
from tests.support.servers import Serve
from tests.support.waiting import stays, wait_for
from tests.support.wire import ask

NAME = "pixelcore"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Logging as a worker has it, into a text."""
    output = io.StringIO()
    monkeypatch.setattr("sys.stderr", output)
    logging.config.dictConfig(log.config(settings.load({"PIXELCORE_LOG_FORMAT": "pretty"})))
    return output


def messages(output: io.StringIO) -> list[str]:
    return [line.split(None, 2)[2] for line in output.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("name", "complaints", "expected"),
    [
        ("the same", [("disk: %s", "full")] * 3, 1),
        ("another text", [("disk: %s", "full"), ("disk: %s", "gone")], 2),
        ("another message", [("disk: %s", "full"), ("volume: %s", "full")], 2),
        ("another number", [("offset %d", 1), ("offset %d", 2)], 1),
        (
            "another time of librdkafka's",
            [("%s", "refused (after 1ms in state X)"), ("%s", "refused (after 20ms in state X)")],
            1,
        ),
        (
            "another count of librdkafka's",
            [("%s", "down (1 identical error(s))"), ("%s", "down (9 identical error(s))")],
            1,
        ),
        (
            "another client of librdkafka's",
            [("[%s] %s", "pixelcore#producer-3", "refused"), ("[%s] %s", "pixelcore#producer-4", "refused")],
            1,
        ),
        ("another broker", [("%s", "broker 1 down"), ("%s", "broker 2 down")], 2),
    ],
)
def test_a_complaint_is_logged_once(
    name: str, complaints: list[tuple[object, ...]], expected: int, lines: io.StringIO
) -> None:
    for complaint, *arguments in complaints:
        logging.getLogger(NAME).warning(str(complaint), *arguments)
    assert len(messages(lines)) == expected, name


def test_what_is_no_complaint_is_always_logged(lines: io.StringIO) -> None:
    for _ in range(3):
        logging.getLogger(NAME).info("created topic %s", "raw-events")
    assert len(messages(lines)) == 3


def test_after_a_minute_it_is_logged_with_a_count(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    for seconds in (0, 1, 59, 61, 62, 122):
        monkeypatch.setattr("pixelcore.observing.log.time.monotonic", lambda seconds=seconds: now + seconds)
        logging.getLogger(NAME).error("disk: %s", "full")
    assert messages(lines) == [
        "disk: full",
        "disk: full (and 2 more times since the last report)",
        "disk: full (and 1 more times since the last report)",
    ]


def test_ever_new_complaints_do_not_fill_the_memory(lines: io.StringIO) -> None:
    for number in range(3 * log.KINDS):
        logging.getLogger(NAME).error("disk: %s", f"x{number}y")
    (once,) = logging.getLogger(NAME).handlers[0].filters
    assert isinstance(once, log.Once)
    assert len(once._seen) <= log.KINDS
    assert len(messages(lines)) == 3 * log.KINDS


def test_a_flood_is_a_few_lines_without_keys_or_people(serve: Serve) -> None:
    """Rejections of each kind that names a person or a key, and a Kafka that is not there."""
    server = serve({"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", "PIXELCORE_LOG_FORMAT": "json"})
    secrets = ["dk_live_secret1", "dk_live_secret+2", "jane@example.com", "203.0.113.99", "Secret-Agent"]
    headers = {"User-Agent": secrets[4], "X-Forwarded-For": secrets[3]}
    for _ in range(50):
        ask(server, f"/v1/pixel/track?wk={secrets[0]}&uid={secrets[2]}", headers=headers)
        ask(server, f"/v1/pixel/track?wk={secrets[1]}&e=E&uid={secrets[2]}", headers=headers)
        ask(server, f"/v1/pixel/track?wk={secrets[0]}&e=E&uid={secrets[2]}", headers=headers)
    wait_for(lambda: "missing_event" in server.log() and "trying again" in server.log(), 60)

    def complaints() -> list[str]:
        whole = server.log().split("\n")[:-1]
        entries = [json.loads(line) for line in whole if line.startswith("{")]
        assert {"level", "logger", "message", "process", "time"} <= entries[0].keys()
        return [entry["message"] for entry in entries if entry["level"] != "INFO"]

    stays(lambda: 0 < len(complaints()) < 12, 2, "a flood")
    server.terminate()
    assert 0 < len(complaints()) < 12, complaints()
    assert not [secret for secret in secrets if secret in server.log()]
