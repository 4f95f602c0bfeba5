"""A network that forgets a connection and drops what is sent on it, as load balancers and firewalls do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from collector_processor.exporters.component import ExporterContext
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.retry import Delivery, Sender
from collector_processor.exporters.otlp.connection import connect
from collector_processor.exporters.otlp.settings import OtlpGrpcSettings, OtlpHttpSettings
from collector_processor.own.telemetry import Telemetry
from support.sinks import grpc_sink, http_sink

Protocol = Literal["grpc", "http"]


class Middlebox:
    """Passes connections on to a port; those that are open at :meth:`forget` stay open, and nothing passes any more."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._age = 0
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def forget(self) -> None:
        self._age += 1

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self.connections += 1
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink, self._age), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, age: int) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if age == self._age:
                    sink.sendall(piece)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextlib.contextmanager
def through_a_middlebox(protocol: Protocol, **settings: Any) -> Iterator[tuple[Middlebox, Connection[Sender]]]:
    with (grpc_sink if protocol == "grpc" else http_sink)("127.0.0.1:0") as sink:
        box = Middlebox(sink.port)
        kind = OtlpGrpcSettings if protocol == "grpc" else OtlpHttpSettings
        context = ExporterContext("otlp", Telemetry(), "one", expiration_s=60.0, max_series=10)
        with contextlib.closing(box):
            endpoint = {"endpoint": f"http://127.0.0.1:{box.port}", **settings}
            connection = connect(kind.model_validate(endpoint), context, protocol)
            yield box, connection
            connection.close()


def send(connection: Connection[Sender], timeout_s: float) -> Delivery:
    return connection.use(lambda sender: sender.send("traces", b"\x0a\x00", timeout_s))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_connection_that_was_forgotten_is_replaced_after_a_few_tries(
    protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with through_a_middlebox(protocol) as (box, connection):
        assert send(connection, 30.0).outcome == "sent"
        for _ in range(2):
            box.forget()
            outcomes = []
            while not outcomes or (outcomes[-1] != "sent" and len(outcomes) < 5):
                # Long enough for a new connection, even on a slow machine.
                outcomes.append(send(connection, 1.0).outcome)
            assert outcomes[-1] == "sent"
        assert box.connections >= 3
    assert (
        protocol == "http" or "exporters.otlp: opens a new connection: no answer came over the old one" in caplog.text
    )


@pytest.mark.parametrize("permit", [False, True])
def test_the_checks_of_grpc_find_a_forgotten_connection_before_the_timeout(permit: bool) -> None:
    keepalive = {"time": "300ms", "timeout": "300ms", "permit_without_stream": permit}
    with through_a_middlebox("grpc", keepalive=keepalive) as (box, connection):
        assert send(connection, 30.0).outcome == "sent"
        box.forget()
        deliveries: list[Delivery] = []
        while not deliveries or (deliveries[-1].outcome != "sent" and len(deliveries) < 5):
            deliveries.append(send(connection, 30.0))
        assert deliveries[-1].outcome == "sent"
        assert not any(delivery.timed_out for delivery in deliveries)


@pytest.mark.parametrize("key", ["time", "timeout"])
def test_checks_without_a_pause_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="at least 1ms"):
        OtlpGrpcSettings.model_validate({"endpoint": "collector:4317", "keepalive": {key: "0s"}})
