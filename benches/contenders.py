"""The servers of the whole way: pixelcore in its ways of delivery, the floor, and the peers."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from typing_extensions import Self

from benches.goals import BARE, EXACTLY_ONCE, FORWARDER_APART, INLINE, JOURNAL
from benches.peers.commands import PEERS, Peer
from benches.servers import Server

BARE_APP: Final = "benches.peers.bare:app"
INLINE_APP: Final = "benches.peers.inline:app"
APP: Final = "pixelcore.app:app"
FORWARD: Final = (sys.executable, "-m", "pixelcore", "forward", "--follow")
NO_BROKER: Final = "no broker: --kafka or --bootstrap"

Cores: TypeAlias = tuple[int | None, int | None]
"""The servers' and the driver's; None where nothing is pinned."""


@dataclass
class Figures:
    """What rounds gave for one server: microseconds of CPU a request, and requests a second."""

    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    driver_busy: list[float] = field(default_factory=list)
    forwarder_cpu: list[float] = field(default_factory=list)
    """Of a forwarder in a process of its own, which is not in ``cpu``."""

    def __iadd__(self, other: Figures) -> Self:
        for name, values in vars(self).items():
            values += getattr(other, name)
        return self


@dataclass
class Contender:
    """A server, the topic that its events go to, if any, and who ships them, where that is another process."""

    server: Server
    topic: str | None = None
    forwarder: Server | None = None
    rival: bool = False
    figures: Figures = field(default_factory=Figures)

    def stop(self) -> None:
        """End it in order."""
        self.server.stop()
        if self.forwarder:
            self.forwarder.stop()


def contenders(directory: Path, bootstrap: str | None, peers: Sequence[Peer], cores: Cores) -> list[Contender]:
    """The servers, not yet started; without a broker none that ships."""
    server_core, driver_core = cores
    run = uuid.uuid4().hex[:12]

    def topic(name: str) -> str:
        return f"bench-{run}-{name}"

    def pixelcore(name: str, short: str, **settings: str) -> Server:
        # What is shipped is deleted; it has to stay until it is counted.
        data = directory / short
        settings |= {"PIXELCORE_DATA_DIR": str(data), "PIXELCORE_JOURNAL_RETAIN": "1h"}
        return Server(name, APP, directory / f"{short}.log", settings, data, server_core)

    found = [
        Contender(Server(BARE, BARE_APP, directory / "bare.log", core=server_core)),
        Contender(Server(INLINE, INLINE_APP, directory / "inline.log", core=server_core)),
        Contender(pixelcore(JOURNAL, "journal")),
    ]
    if bootstrap:
        kafka = {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PIXELCORE_TOPIC": topic("exactly-once")}
        found.append(Contender(pixelcore(EXACTLY_ONCE, "exactly-once", **kafka), topic("exactly-once")))
        apart = pixelcore(FORWARDER_APART, "apart")
        kafka |= {"PIXELCORE_TOPIC": topic("apart"), **apart.settings}
        forwarder = Server("forwarder", "", directory / "forwarder.log", kafka, core=driver_core, command=FORWARD)
        found.append(Contender(apart, topic("apart"), forwarder))
    for peer in peers:
        command = tuple(part.replace("{directory}", str(directory)) for part in peer.command)
        server = Server(peer.name, "", directory / f"{peer.name}.log", core=server_core, command=command, gif=peer.gif)
        if peer.produces and bootstrap:
            server.settings = {"BOOTSTRAP": bootstrap, "TOPIC": topic(peer.name)}
        found.append(Contender(server, topic(peer.name) if peer.produces else None, rival=True))
    return found


def taking_part(wanted: Collection[str], with_broker: bool) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can take part, built, and why the others can't."""
    left_out = {} if with_broker else dict.fromkeys((EXACTLY_ONCE, FORWARDER_APART), NO_BROKER)
    peers = []
    for peer in PEERS:
        if peer.name not in wanted:
            left_out[peer.name] = "not asked for"
        elif peer.produces and not with_broker:
            left_out[peer.name] = NO_BROKER
        elif reason := peer.obstacle():
            left_out[peer.name] = reason
        else:
            peers.append(peer)
    return peers, left_out


def peers_of(text: str) -> frozenset[str]:
    """The names that ``--peers`` means."""
    known = frozenset(peer.name for peer in PEERS)
    if text in ("all", "none"):
        return known if text == "all" else frozenset()
    names = frozenset(text.split(","))
    if unknown := names - known:
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(sorted(unknown))}")
    return names
