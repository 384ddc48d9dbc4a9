"""Land the events of a topic in a DuckDB file, each once.

    python examples/land_in_duckdb.py --brokers localhost:9092 --database events.duckdb

The offsets are in the same transaction as the rows, so this may be killed at any time and begun again: nothing is lost and
nothing comes twice. Needs ``pip install confluent-kafka duckdb``.
"""

from __future__ import annotations

import argparse
import time

import duckdb
from confluent_kafka import Consumer, KafkaException, TopicPartition

TABLES = """
CREATE TABLE IF NOT EXISTS events (
    message_id VARCHAR PRIMARY KEY, type VARCHAR, event VARCHAR, happened TIMESTAMP, received TIMESTAMP,
    pipeline VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, automated BOOLEAN,
    properties JSON, traits JSON, context JSON
);
CREATE TABLE IF NOT EXISTS offsets (topic VARCHAR, partition INTEGER, next BIGINT, PRIMARY KEY (topic, partition));
"""
# A messageId that came before is passed over: a sender that retries gives the same one again.
INSERT = """
INSERT OR IGNORE INTO events
SELECT e->>'messageId', e->>'type', coalesce(e->>'event', e->>'name'),
    (e->>'timestamp')::TIMESTAMP, (e->>'receivedAt')::TIMESTAMP, coalesce(e->>'pipelineId', e->>'pipelineKey'),
    e->>'userId', e->>'anonymousId', coalesce((e->>'$.context.client.automated')::BOOLEAN, false),
    e->'properties', e->'traits', e->'context'
FROM (SELECT unnest(?::JSON[]) AS e)
"""
MOVE = "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)"


def land(brokers: str, topic: str, database: str, until_idle: float | None, most: int = 5000) -> None:
    """Land what comes, for ever or until nothing came for so many seconds."""
    db = duckdb.connect(database)
    db.execute(TABLES)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "land-in-duckdb",  # asked for, but not used: the offsets are in the database
            "enable.auto.commit": False,
            # Events that a killed gateway did not commit must not be seen: they come again.
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    known = dict(db.execute("SELECT partition, next FROM offsets WHERE topic = ?", [topic]).fetchall())
    consumer.assign([TopicPartition(topic, number, known.get(number, 0)) for number in partitions])
    read, last = 0, time.monotonic()
    while until_idle is None or time.monotonic() - last < until_idle:
        messages = consumer.consume(most, timeout=0.5)
        values: list[str] = []
        ends: dict[int, int] = {}
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            values.append((message.value() or b"").decode())
            ends[message.partition() or 0] = (message.offset() or 0) + 1
        if not values:
            continue
        db.begin()
        db.execute(INSERT, [values])
        db.executemany(MOVE, [[topic, partition, end] for partition, end in ends.items()])
        db.commit()
        read, last = read + len(values), time.monotonic()
        print(f"{read} messages landed", flush=True)
    consumer.close()
    db.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Land the events of a topic in a DuckDB file, each once.")
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--topic", default="raw-events")
    parser.add_argument("--database", default="events.duckdb")
    parser.add_argument("--until-idle", type=float, metavar="SECONDS", help="end when nothing came for so long")
    arguments = parser.parse_args()
    land(arguments.brokers, arguments.topic, arguments.database, arguments.until_idle)
