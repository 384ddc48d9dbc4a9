"""Measures the time from an event's due time to its arrival at a consumer.

The ``mid`` of each event is its due time (`benches.driver`, ``--stamped``). Prints a line when it listens, and then the seconds of
each event as JSON. It is a process of its own, so that nothing else delays it. Both clocks are the system's monotonic one.

    python -m benches.arrivals --bootstrap localhost:9092 --topic raw-events --count 1000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException, TopicPartition

SECONDS = 30.0


def arrivals(bootstrap: str, topic: str, count: int) -> list[float]:
    """Seconds from due to arrived, of ``count`` events that are committed from now on. Raises ``TimeoutError``."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"arrivals-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        partitions = [
            TopicPartition(topic, number) for number in consumer.list_topics(topic, SECONDS).topics[topic].partitions
        ]
        for partition in partitions:
            # Not OFFSET_END, which is looked up some time later.
            partition.offset = consumer.get_watermark_offsets(partition, SECONDS)[1]
        consumer.assign(partitions)
        consumer.poll(1.0)  # connects
        print("listening", flush=True)
        delays: list[float] = []
        while len(delays) < count:
            message = consumer.poll(SECONDS)
            now = time.monotonic()
            if message is None:
                raise TimeoutError(f"{len(delays)} of {count} events arrived, and none for {SECONDS} s")
            if (error := message.error()) is not None:
                raise KafkaException(error)
            delays.append(now - int(json.loads(message.value() or b"")["messageId"]) / 1e9)
        return delays
    finally:
        consumer.close()


def main() -> int:
    """Listen as the command line says."""
    parser = argparse.ArgumentParser(description="How long stamped events took to their topic.")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    print(json.dumps(arrivals(arguments.bootstrap, arguments.topic, arguments.count)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
