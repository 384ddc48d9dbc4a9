"""Reads a gateway's metrics like Prometheus."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.kafka.broker import free_port
from tests.support.servers import PATIENCE


class Scrape(dict[tuple[str, frozenset[str]], float]):
    """Samples by name and label values."""

    def __init__(self, port: str | int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        super().__init__(
            ((sample.name, frozenset(sample.labels.values())), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )

    def of(self, name: str, *labels: str) -> float:
        """One sample."""
        return self[f"pixelcore_{name}", frozenset(labels)]

    def sum(self, name: str, *labels: str) -> float:
        """All samples of a name that have these label values."""
        return sum(v for (n, values), v in self.items() if n == f"pixelcore_{name}" and values.issuperset(labels))


def with_metrics(**more: str) -> tuple[int, dict[str, str]]:
    port = free_port()
    return port, {"PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{port}", **more}
