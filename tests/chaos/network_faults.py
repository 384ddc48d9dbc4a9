"""Faults of the network between gateways and brokers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.arena import TRANSACTION_SECONDS, Arena
from tests.chaos.fault import fault
from tests.chaos.gateways import RECOVERY_SECONDS, wait_until

RESETS = 6


@fault("cut", "network cut, beyond all timeouts", seconds=(TRANSACTION_SECONDS + 2, TRANSACTION_SECONDS + 6))
def cut(arena: Arena, _: int) -> Iterator[None]:
    arena.cluster.network.cut = True
    yield
    arena.cluster.network.cut = False


@fault("slow", "network slow: 200 ms, 50 kB/s", seconds=(4.0, 8.0))
def slow(arena: Arena, _: int) -> Iterator[None]:
    network = arena.cluster.network
    network.delay, network.bytes_per_second = 0.2, 50e3
    yield
    network.delay = network.bytes_per_second = 0.0


@fault("reset", "connections reset within a batch, before its answer", seconds=(1.0, 2.0), short="always")
def reset(arena: Arena, _: int) -> Iterator[None]:
    network = arena.cluster.network
    for _ in range(RESETS):
        network.resets.extend(arena.rng.sample(["request", "response"], 2))
    yield
    wait_until(lambda: not network.resets, RECOVERY_SECONDS, "resets")
