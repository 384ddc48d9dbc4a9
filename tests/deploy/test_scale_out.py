"""Four gateways behind nginx on one cluster: answered events are in the topic once, whichever gateway is killed."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from tests.kafka.broker import Broker, External
from tests.kafka.topics import create
from tests.support.delivery import check_load
from tests.support.load import Load
from tests.support.nginx import ask, nginx
from tests.support.servers import Serve, is_gif, kafka_settings
from tests.support.waiting import wait_for

TARGET = "/v1/pixel/track?wk=dk_test_1&e=E"


@pytest.mark.kafka
def test_four_gateways_and_one_is_killed(serve: Serve, broker: Broker | External, topic: str, tmp_path: Path) -> None:
    create(broker.bootstrap, topic, partitions=4)
    settings = kafka_settings(broker.bootstrap, topic)
    gateways = [serve(settings) for _ in range(4)]
    victim = gateways[1]
    with nginx(tmp_path, *(gateway.port for gateway in gateways)) as port:
        assert ask(port, "/healthz")[0] == 200
        with Load(port, rate=400, connections=16) as load:
            load.wait(answers=400)
            victim.kill()
            load.wait(answers=600)
            failed = load.failures.total()
            load.wait(answers=200)
            assert load.failures.total() == failed, "nginx passes a dead gateway over, and costs nobody an image for it"
            old = set((victim.data_dir / "events").iterdir())
            victim.start()
            wait_for(lambda: bool(set((victim.data_dir / "events").iterdir()) - old), 60)  # it gets its share again
            load.wait(answers=200)
    # Only what was under way at the killed gateway, one request on each of nginx's connections to it at most.
    assert failed <= 16, load.failures
    assert all("502" in failure for failure in load.failures), load.failures
    check_load(broker.bootstrap, topic, load)


class Fickle:
    """A gateway that takes a request and dies without an answer, if it lets anybody connect at all."""

    def __init__(self, stack: ExitStack, *, reachable: bool) -> None:
        self._socket = stack.enter_context(socket.socket())
        self._socket.bind(("127.0.0.1", 0))  # nobody else gets the port, also if it never listens
        self.port: int = self._socket.getsockname()[1]
        self.taken = 0
        if reachable:
            self._socket.listen()
            Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.taken += bool(connection.recv(65536))


def test_nginx_asks_another_gateway_only_where_the_first_cannot_have_seen_the_request(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    taken = 0
    for reachable in (True, False):
        directory = tmp_path / str(reachable)
        directory.mkdir()
        with ExitStack() as stack:
            fickle = Fickle(stack, reachable=reachable)
            port = stack.enter_context(nginx(directory, fickle.port, server.port))
            answers = [ask(port, f"{TARGET}&mid={reachable}-{number}") for number in range(6)]
        statuses = Counter(status for status, _ in answers)
        assert all(is_gif(body) for status, body in answers if status == 200)
        if reachable:
            assert statuses == {502: fickle.taken, 200: 6 - fickle.taken}
            taken = fickle.taken
            assert taken > 0
        else:
            assert statuses == {200: 6}
    mids = Counter(event["messageId"] for event in server.events())
    assert set(mids.values()) == {1}
    assert mids.total() == 12 - taken, "what went to the fickle one went to nobody else"
