"""The check of the brokers: every bootstrap address and every advertised address must answer."""

from __future__ import annotations

from ...address import HostPort
from ...settings import BOOTSTRAP
from ...shipping import kafka
from .broker_probe import probe
from .findings import Failed, Finding, Setup


def check_brokers(setup: Setup) -> Finding:
    """Check that every bootstrap address and every advertised address answers."""
    if not setup.settings.ships:
        return Finding("warn", "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS is not set: events stay in the journal")
    kafka.try_settings(setup.settings)
    addresses = [
        text.strip()
        for text in next(setup.settings.kafka[name] for name in BOOTSTRAP if name in setup.settings.kafka).split(",")
        if text.strip()
    ]
    bootstrap = probe(setup.settings, addresses, setup.seconds / 2)
    silent = [one.diagnosis for one in bootstrap if one.nodes is None]
    nodes = next((one.nodes for one in bootstrap if one.nodes is not None), None)
    if nodes is None:
        raise Failed("; ".join(silent) or "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is empty")
    advertised = {str(HostPort(node.host, node.port)) for node in nodes}
    others = probe(setup.settings, sorted(advertised - set(addresses)), setup.seconds)
    if unreachable := [one.diagnosis for one in others if one.nodes is None]:
        raise Failed("advertised.listeners: " + "; ".join(unreachable))
    setup.brokers, setup.nodes = len(nodes), [node.id for node in nodes]
    if silent:
        return Finding("warn", "; ".join(silent))
    return Finding("ok", ", ".join(sorted(advertised)))
