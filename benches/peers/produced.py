"""What the peers on Python frameworks share: the event of `benches.rivals.fqp_orjson`, produced from the handler.

An event is in memory only until Kafka has it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson
from confluent_kafka import KafkaError, Message, Producer
from fast_query_parsers import parse_query_string

from benches.peers import bare
from benches.rivals import MAX_QUERY_BYTES, RefusedError, built

log = logging.getLogger("peer")

HEADERS: Final = {name: value for name, value in bare.HEADERS if name != "content-type"}
TOPIC: Final = os.environ["TOPIC"]


def delivered(error: KafkaError | None, _message: Message) -> None:
    """Say what was lost."""
    log.error("lost an event: %s", error)


producer: Final = Producer(
    {
        "bootstrap.servers": os.environ["BOOTSTRAP"],
        "enable.idempotence": True,
        "linger.ms": 5,
        "compression.type": "none",
        # A report per message is a Python call per message, and successes are no news.
        "delivery.report.only.error": True,
        "on_delivery": delivered,
    }
)


def collect(
    type: str,
    query: bytes,
    *,
    ip: str | None,
    user_agent: str | None = None,
    referer: str | None = None,
    locale: str | None = None,
    gpc: str | None = None,
    dnt: str | None = None,
) -> None:
    """Make a request's event and hand it to the producer."""
    request = {"ip": ip, "user_agent": user_agent, "referer": referer, "locale": locale, "gpc": gpc, "dnt": dnt}
    try:
        if len(query) > MAX_QUERY_BYTES:
            raise RefusedError("query_too_long")
        # fqp_orjson itself, but for the text that the key is taken from.
        event = built(type, parse_query_string(query, "&"), None, request)
    except RefusedError as refused:
        log.warning("rejected: %s", refused)
        return
    key = event.get("userId") or event.get("anonymousId")
    producer.produce(TOPIC, orjson.dumps(event), key if isinstance(key, str) else None)
    producer.poll(0)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Deliver what is left when the server stops."""
    yield
    producer.flush(10)
