"""A TCP proxy between gateways and brokers whose network can be cut, slowed and reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tests.kafka.broker import free_port

Direction = Literal["request", "response"]

CHUNK = 64 << 10
# A reset is to hit the middle of a batch, not a heartbeat or a request for metadata.
BATCH_BYTES = 1000


@dataclass
class Network:
    """The state of the network, which all proxies share. The harness writes it, and the proxies' thread reads it."""

    cut: bool = False
    """Nothing passes, and no side notices. Data in transit arrives after the cut."""
    delay: float = 0.0
    """Seconds that a chunk takes."""
    bytes_per_second: float = 0.0
    """Of one connection and direction; 0: unlimited."""
    resets: deque[Direction] = field(default_factory=deque)
    """The target of a reset: the middle of the next large request, or the next response, which is then lost."""
    reset: int = 0
    """How many connections were reset."""


class Proxies:
    """One listening port for each broker's port; ``ports`` maps the latter to the former."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def add(self, upstream: int) -> int:
        """Begin to listen for ``upstream``, a port of this machine; returns the proxy's port."""
        port = free_port()
        asyncio.run_coroutine_threadsafe(self._listen(port, upstream), self._loop).result(60)
        return port

    def close(self) -> None:
        """Stop at once."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _listen(self, port: int, upstream: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, upstream)

        self._servers.append(await asyncio.start_server(serve, "127.0.0.1", port))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int) -> None:
        while self.network.cut:
            await asyncio.sleep(0.02)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", upstream)
        except OSError:
            _reset(writer)
            return
        ends = (writer, there_writer)
        pumps = [
            asyncio.ensure_future(self._pump("request", reader, there_writer)),
            asyncio.ensure_future(self._pump("response", there_reader, writer)),
        ]
        try:
            _, pending = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pending:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            # Who closes a connection to a broker, or a broker that dies, leaves nothing to say in the other direction.
            for end in ends:
                _reset(end)

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        network = self.network
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if seconds := network.delay + (len(data) / network.bytes_per_second if network.bytes_per_second else 0):
                    await asyncio.sleep(seconds)
                while network.cut:
                    await asyncio.sleep(0.02)
                if self._is_to_be_reset(direction, data):
                    if direction == "request":
                        writer.write(data[: len(data) // 2])
                        await writer.drain()
                        await asyncio.sleep(0.01)
                    return
                writer.write(data)
                await writer.drain()

    def _is_to_be_reset(self, direction: Direction, data: bytes) -> bool:
        resets = self.network.resets
        if not resets or resets[0] != direction or (direction == "request" and len(data) < BATCH_BYTES):
            return False
        resets.popleft()
        self.network.reset += 1
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN, as a firewall or a dying machine does."""
    with contextlib.suppress(OSError):
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
