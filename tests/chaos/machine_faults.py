"""Faults of the machine that a gateway runs on: its disk and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from tests.chaos.arena import Arena
from tests.chaos.fault import fault
from tests.chaos.gateways import RECOVERY_SECONDS, Gateway, wait_until

REFUSED = 20
DAY = 86400.0
SLACK = 1.0


def _fill(arena: Arena, fill: Callable[[Gateway], int]) -> Iterator[None]:
    """Keep a disk full, although shipping makes room, until requests are lost. Then compare the counts of lost requests."""
    gateway = arena.pick()
    lost, refused = gateway.lost(), len(gateway.load.refused)

    def is_refusing() -> bool:
        fill(gateway)
        return len(gateway.load.refused) >= refused + REFUSED

    wait_until(is_refusing, RECOVERY_SECONDS, "requests refused for a full disk")
    yield
    gateway.free_disk()
    gateway.wait_ready()
    wait_until(
        lambda: gateway.lost() - lost == len(gateway.load.refused) - refused,
        RECOVERY_SECONDS,
        "as many requests counted as lost as were refused",
    )


@fault("disk-append", "disk full while appending", seconds=(0.5, 1.5), short="always")
def fill_disk(arena: Arena, _: int) -> Iterator[None]:
    yield from _fill(arena, Gateway.fill_disk)


@fault("disk-rotate", "disk full (no inodes) while rotating", seconds=(0.5, 1.5), short="always")
def fill_names(arena: Arena, _: int) -> Iterator[None]:
    yield from _fill(arena, Gateway.fill_names)


@fault(
    "disk-checkpoint", "disk full while checkpointing, then kill -9; at least once", seconds=(1.0, 2.0), by_guest=True
)
def fill_while_checkpointing(arena: Arena, phase: int) -> Iterator[None]:
    # Exactly-once deliveries keep their checkpoints in Kafka, and have none on the disk that could fail.
    gateway = arena.guest({"PIXELCORE_DELIVERY": "at-least-once"}, phase)
    gateway.load.wait(answers=300, timeout=RECOVERY_SECONDS)
    gateway.fill_names()

    def is_failing() -> bool:
        return "a crash now would repeat events" in gateway.server.log()

    wait_until(is_failing, RECOVERY_SECONDS, "a checkpoint that could not be written")
    yield
    gateway.kill_workers(gateway.server.workers())
    gateway.free_disk()
    gateway.wait_ready()


@fault("fsync", "EIO from fsync", seconds=(1.0, 3.0), short="always")
def fail_flushes(arena: Arena, _: int) -> Iterator[None]:
    for gateway in arena.gateways:
        gateway.flushes.fail()
    yield
    for gateway in arena.gateways:
        wait_until(_tells_of_failed_flushes(gateway), RECOVERY_SECONDS, "/readyz tells that flushes fail")
        gateway.flushes.fail(False)
    for gateway in arena.gateways:
        gateway.wait_ready()


def _tells_of_failed_flushes(gateway: Gateway) -> Callable[[], bool]:
    return lambda: "see the log" in gateway.server.get("/readyz").body.decode()


def _step(arena: Arena, seconds: float) -> Iterator[None]:
    seen, begun = len(arena.watch()), time.time()
    for gateway in arena.gateways:
        gateway.clock.step(seconds)
    yield
    for gateway in arena.gateways:
        gateway.clock.step(0)
    ended = time.time()
    sent = set[str]().union(*(gateway.load.sent.copy() for gateway in arena.gateways))

    def was_stepped() -> bool:
        events = (message.event for message in arena.watch()[seen:] if message.mid in sent)
        times = (datetime.fromisoformat(event["receivedAt"].replace("Z", "+00:00")).timestamp() for event in events)
        return any(not begun - SLACK < time < ended + SLACK for time in times)

    wait_until(was_stepped, RECOVERY_SECONDS, f"events of a clock that is {seconds:.0f} s off")


@fault("clock-forward", "clock stepped forward, and right", seconds=(2.0, 5.0))
def step_forward(arena: Arena, _: int) -> Iterator[None]:
    # librdkafka waits by the wall clock, so setting it right may hold up shipping for as long as it was ahead.
    yield from _step(arena, arena.rng.uniform(10.0, 30.0))


@fault("clock-back", "clock stepped back, and right", seconds=(2.0, 5.0))
def step_back(arena: Arena, _: int) -> Iterator[None]:
    yield from _step(arena, -arena.rng.choice([60.0, 3600.0, DAY]))
