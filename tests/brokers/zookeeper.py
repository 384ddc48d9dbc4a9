"""A broker of the time before KRaft, with the ZooKeeper that it needs."""

from __future__ import annotations

import subprocess
import time

from tests.kafka.broker import Broker, free_port


class ZooKeeperBroker(Broker):
    """As `Broker`; its ZooKeeper starts with it, and ends with `kill`."""

    _zookeeper: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 120) -> None:
        if self._zookeeper is None:
            self._zookeeper_port = free_port()
            self.directory.mkdir(parents=True, exist_ok=True)
            chosen = self.directory / "zookeeper.properties"
            chosen.write_text(
                f"dataDir={self.directory / 'zookeeper'}\nclientPort={self._zookeeper_port}\n"
                "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
            )
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            self._zookeeper = self._java("-Xmx128m", "-XX:+UseSerialGC", main, str(chosen))
        # A node that was killed is let back in once its session at ZooKeeper is over.
        deadline = time.monotonic() + timeout
        while True:
            try:
                return super().start(timeout)
            except RuntimeError:
                if "NodeExists" not in self.log(200) or time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        super().close()
        if self._zookeeper is not None:
            self._zookeeper.kill()
            self._zookeeper.wait()

    def _all_properties(self) -> dict[str, str]:
        of_kraft = ("process.roles", "node.id", "controller.quorum.voters", "controller.listener.names")
        with_zookeeper = {
            "broker.id": "1",
            "zookeeper.connect": f"127.0.0.1:{self._zookeeper_port}",
            "zookeeper.session.timeout.ms": "3000",
            "listeners": ",".join(f"{protocol}://{address}" for protocol, address in self.addresses.items()),
            "listener.security.protocol.map": ",".join(f"{name}:{name}" for name in self.addresses),
        }
        common = {name: value for name, value in super()._all_properties().items() if name not in of_kraft}
        return common | with_zookeeper | self.properties

    def _format(self, _: object) -> None:
        """Nothing is formatted without KRaft."""
