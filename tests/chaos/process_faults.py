"""Faults of processes: they are killed, stopped, replaced by a copy, or told to end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from pixelcore.journals import JournalDirectory

from tests.chaos.arena import TOPIC, TRANSACTION_SECONDS, Arena
from tests.chaos.fault import fault
from tests.chaos.gateways import RECOVERY_SECONDS, ChaosError, Gateway, wait_until
from tests.support.servers import forward

STOPPED = (TRANSACTION_SECONDS + 4, TRANSACTION_SECONDS + 8)
"""Longer than a transaction may be open, a session of a broker may be silent, a replica may lag, a request may take."""


@fault("worker-kill", "kill -9 of a worker", seconds=(0.2, 1.5), times=3, short="always")
def kill_worker(arena: Arena, _: int) -> Iterator[None]:
    gateway = arena.pick()
    gateway.kill_workers([arena.rng.choice(gateway.server.workers())])
    yield


@fault("gateway-kill", "kill -9 of a gateway", seconds=(0.2, 1.5), times=2, short="always")
def kill_gateway(arena: Arena, _: int) -> Iterator[None]:
    gateway = arena.pick()
    gateway.server.kill()
    yield
    gateway.server.start()


@fault("worker-stop", "SIGSTOP of a worker, beyond all timeouts", seconds=STOPPED)
def stop_worker(arena: Arena, _: int) -> Iterator[None]:
    worker = arena.rng.choice(arena.pick().server.workers())
    os.kill(worker, signal.SIGSTOP)
    yield
    os.kill(worker, signal.SIGCONT)


@fault("zombie", "a stopped worker's journal is taken over, it wakes up", seconds=STOPPED)
def zombie(arena: Arena, phase: int) -> Iterator[None]:
    # A stopped process holds its locks, so the twin uses a copy of its journal, like a cloned machine.
    gateway = arena.pick()
    worker = arena.rng.choice(gateway.server.workers())
    wait_until(lambda: _journal_of(worker) is not None, RECOVERY_SECONDS, "a journal of the worker")
    os.kill(worker, signal.SIGSTOP)
    yield
    journal = _journal_of(worker)
    if journal is None:
        raise ChaosError("the stopped worker has no journal any more")
    copy = arena.directory / f"copy-{phase}"
    shutil.copytree(journal, copy / "events" / journal.name)
    end = max(int(segment.stem) + segment.stat().st_size for segment in copy.glob("*/*/*.ndjson"))
    twin = forward(copy, arena.forwarding)
    output, _ = twin.communicate(timeout=RECOVERY_SECONDS)
    if twin.returncode != 0:
        raise ChaosError(f"the twin of {journal.name} could not ship it:\n{output}")
    os.kill(worker, signal.SIGCONT)
    # Either it finds itself fenced and stops forwarding, or its transaction has failed for its age before, and it claims
    # the journal anew and goes on from what the twin has committed.
    fenced = f"journal {journal.name} is forwarded by "
    wait_until(
        lambda: fenced in gateway.server.log() or JournalDirectory(journal).committed > end,
        RECOVERY_SECONDS,
        "the zombie found out",
    )
    # /healthz tells of a forwarder that was fenced; whoever watches that restarts it.
    gateway.kill_workers([worker])


@fault("sigterm", "SIGTERM under load", seconds=(0.0, 1.0), short="always")
def terminate(arena: Arena, _: int) -> Iterator[None]:
    gateway = arena.pick()
    _terminate(gateway)
    yield
    gateway.server.start()


@fault("rolling", "rolling restart of the gateways", seconds=(0.0, 0.0))
def roll(arena: Arena, _: int) -> Iterator[None]:
    for gateway in arena.gateways:
        _terminate(gateway)
        gateway.server.start()
        gateway.wait_ready()
    yield


@fault("broker-kill", "kill -9 of a broker", seconds=(3.0, 6.0))
def kill_broker(arena: Arena, _: int) -> Iterator[None]:
    broker = arena.rng.choice(arena.cluster.brokers)
    broker.kill()
    yield
    arena.cluster.start([broker])


@fault("leader-kill", "kill -9 of the leader", seconds=(3.0, 6.0), short="always")
def kill_leader(arena: Arena, _: int) -> Iterator[None]:
    leader = arena.cluster.leader(TOPIC)
    leader.kill()
    yield
    arena.cluster.start([leader])


@fault("two-brokers-kill", "kill -9 of two brokers", seconds=(5.0, 10.0))
def kill_two_brokers(arena: Arena, _: int) -> Iterator[None]:
    brokers = arena.rng.sample(arena.cluster.brokers, 2)
    arena.cluster.kill(brokers)
    yield
    arena.cluster.start(brokers)


@fault("broker-stop", "SIGSTOP of a broker, beyond all timeouts", seconds=STOPPED)
def stop_broker(arena: Arena, _: int) -> Iterator[None]:
    broker = arena.cluster.leader(TOPIC)
    broker.pause()
    yield
    broker.resume()


@fault("rolling-brokers", "rolling restart of the brokers", seconds=(0.0, 0.0), short="never")
def roll_brokers(arena: Arena, _: int) -> Iterator[None]:
    for broker in arena.cluster.brokers:
        broker.stop(60)
        arena.cluster.start([broker])
    yield


@fault("everything-kill", "kill -9 of all brokers and gateways at once", seconds=(1.0, 3.0), short="never")
def kill_everything(arena: Arena, _: int) -> Iterator[None]:
    arena.cluster.kill(arena.cluster.brokers)
    for gateway in arena.gateways:
        gateway.server.kill()
    yield
    for gateway in arena.gateways:
        gateway.server.start()
    arena.cluster.start(arena.cluster.brokers)


def _terminate(gateway: Gateway) -> None:
    if (code := gateway.server.terminate()) != 0:
        raise ChaosError(f"exit code {code} after SIGTERM:\n{gateway.server.log()[-3000:]}")


def _journal_of(worker: int) -> Path | None:
    """The events' journal that a worker writes; None before its first event."""
    for file in Path(f"/proc/{worker}/fd").iterdir():
        # The housekeeper and the forwarder open and close others meanwhile.
        with contextlib.suppress(FileNotFoundError):
            target = file.readlink()
            if target.name == "lock" and target.parent.parent.name == "events":
                return target.parent
    return None
