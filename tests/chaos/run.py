"""One run: start everything, inject one fault after the other under load, compare."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos import clock, machine_faults, network_faults, process_faults  # noqa: F401 (they enter their faults)
from tests.chaos.accounting import Phase, Report, report
from tests.chaos.arena import CHECKPOINTS, TOPIC, Arena
from tests.chaos.cluster import NODES, Cluster
from tests.chaos.fault import FAULTS, Fault
from tests.chaos.gateways import RECOVERY_SECONDS, ChaosError
from tests.kafka.topics import read_committed

RATE = 150.0
CALM_SECONDS = 1.0
SHORT_EXTRA = 3

Say = Callable[[str], None]


def short_schedule(rng: random.Random) -> list[Fault]:
    """The cheap and important faults, and some of the others."""
    chosen = [fault for fault in FAULTS.values() if fault.short == "always"]
    chosen += rng.sample([fault for fault in FAULTS.values() if fault.short == "sometimes"], SHORT_EXTRA)
    rng.shuffle(chosen)
    return chosen


def run(directory: Path, rng: random.Random, faults: Sequence[Fault], seconds: float, say: Say) -> Report:
    """Inject each fault, in their order, and again in any other until ``seconds`` are over; all logs are in ``directory``.

    Raises `ChaosError` when the run proves nothing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    library = clock.build(directory)
    say("starting three brokers and two gateways")
    with Cluster(directory) as cluster:
        arena = Arena(directory, library, cluster, rng, RATE)
        try:
            return _run(arena, faults, seconds, say)
        except BaseException:
            for gateway in (*arena.gateways, *arena.guests):
                say(f"--- the end of the log of {gateway.server.directory.name}\n{gateway.server.log()[-4000:]}")
            raise
        finally:
            arena.close()


def _run(arena: Arena, faults: Sequence[Fault], seconds: float, say: Say) -> Report:
    for gateway in arena.gateways:
        gateway.start()
    for gateway in arena.gateways:
        gateway.load.wait(answers=100, timeout=RECOVERY_SECONDS)
    arena.watch()
    for topic in (TOPIC, CHECKPOINTS):
        if arena.cluster.replication(topic) != {NODES}:
            raise ChaosError(f"the topic {topic} has not {NODES} replicas")
    phases = [Phase(0, "none, and between the others")]
    end = time.monotonic() + seconds
    queue = list(faults)
    while queue:
        fault = queue.pop(0)
        phases.append(_phase(arena, fault, len(phases), say))
        if not queue and time.monotonic() < end:
            queue = arena.rng.sample(list(faults), len(faults))
    for gateway in arena.gateways:
        gateway.load.stop()
    phases[0].caught_up = _catch_up(arena)
    traffic = [gateway.load.traffic for gateway in arena.gateways] + arena.gone
    # A consumer that has seen nothing before, from the first record to the last.
    messages = read_committed(arena.cluster.bootstrap, TOPIC, RECOVERY_SECONDS)
    return report(phases, traffic, ((message.key, message.mid) for message in messages))


def _phase(arena: Arena, fault: Fault, number: int, say: Say) -> Phase:
    say(f"{number:3}  {fault.title}")
    phase = Phase(number, fault.title, fault.times, repeats_allowed=fault.by_guest)
    for gateway in arena.gateways:
        gateway.load.phase = 0 if fault.by_guest else number
    time.sleep(CALM_SECONDS)
    for _ in range(fault.times):
        with fault.inject(arena, number):
            time.sleep(arena.rng.uniform(*fault.seconds))
    for gateway in arena.gateways:
        gateway.wait_ready()
    time.sleep(CALM_SECONDS)
    for gateway in arena.gateways:
        gateway.load.phase = 0
    for gateway in arena.guests:
        gateway.load.stop()
    phase.caught_up = _catch_up(arena)
    arena.dismiss()
    return phase


def _catch_up(arena: Arena) -> float:
    """Wait until all that was answered until now is in the topic; what still misses is the report's affair."""
    begun = time.monotonic()
    answered = set[str]().union(*(gateway.load.answered.copy() for gateway in (*arena.gateways, *arena.guests)))
    while arena.behind(answered) and time.monotonic() < begun + RECOVERY_SECONDS:
        pass
    return time.monotonic() - begun
