"""Opens of three kinds, each from its own topic: counts that name nobody, people who agreed, and last days.

    python examples/opens_of_all_kinds.py --brokers localhost:9092

Which number is from which kind has to be said with it: counts are of loads, unique opens are of those who agreed alone, and machines
such as Apple's Mail Privacy Protection and scanners are in all three. Only an event says where one of them said so itself.
Needs ``pip install confluent-kafka duckdb``.
"""

from __future__ import annotations

import argparse

import duckdb
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

COUNTED = """
SELECT coalesce(e->>'$.properties.campaign', 'the rest') AS campaign, left(e->>'window', 13) AS hour,
    sum((e->>'count')::BIGINT) AS loads
FROM (SELECT unnest(?::JSON[]) AS e) GROUP BY ALL ORDER BY ALL
"""
AGREED = """
SELECT coalesce(e->>'$.properties.campaign', '-') AS campaign,
    count(DISTINCT e->>'userId') FILTER (NOT automated) AS people, count(*) FILTER (automated) AS machines
FROM (SELECT e, coalesce((e->>'$.context.client.automated')::BOOLEAN, false) AS automated
      FROM (SELECT unnest(?::JSON[]) AS e))
WHERE e->>'$.context.consent.mode' = 'individual' GROUP BY ALL ORDER BY ALL
"""
LAST = """
SELECT e->>'pipelineId' AS pipeline, coalesce(e->>'userId', e->>'anonymousId') AS person, max(e->>'day') AS day
FROM (SELECT unnest(?::JSON[]) AS e) GROUP BY ALL ORDER BY ALL
"""


def read(brokers: str, topic: str) -> list[str]:
    """The committed values of a topic, up to its end. Where a key has a newer one, both are there."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "opens-of-all-kinds",  # asked for, but not used
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    values: list[str] = []
    left = set(partitions)
    while left:
        for message in consumer.consume(1000, timeout=0.2):
            error = message.error()
            if error is None:
                values.append((message.value() or b"").decode())
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition() or 0)
            else:
                raise KafkaException(error)
    consumer.close()
    return values


def show(title: str, query: str, values: list[str]) -> None:
    """Print a query's rows."""
    print(title)
    for row in duckdb.execute(query, [values]).fetchall() if values else []:
        print("  ", *row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Opens of three kinds, each from its own topic.")
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--topic", default="raw-events")
    parser.add_argument("--counts", default="pixelcore-counts")
    parser.add_argument("--last-opens", default="pixelcore-last-opens")
    chosen = parser.parse_args()
    counts, events, days = (read(chosen.brokers, topic) for topic in (chosen.counts, chosen.topic, chosen.last_opens))
    show("loads by campaign and hour, of nobody in particular", COUNTED, counts)
    show("unique opens of those who agreed, and machines that said so", AGREED, events)
    show("the last day of each person, for the hygiene of a list", LAST, days)
