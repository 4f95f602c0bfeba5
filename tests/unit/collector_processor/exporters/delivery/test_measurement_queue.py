"""Measurements on their way: queued, encoded, delivered or given up, and counted once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.measurement_queue import MeasurementQueue, Part
from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy
from collector_processor.journal.base import Signal
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry

NAME = "otlp_grpc/test"
AT_ONCE = RetryPolicy(initial_s=0.001, max_s=0.001, max_elapsed_s=0, jitter=0.0)
SENT = Delivery("sent")
LATER = Delivery("retry", "busy")


def points(count: int, time_ns: int = 1) -> list[Measurement]:
    return [Measurement("ml.window.rows", float(position), "{row}", (), time_ns) for position in range(count)]


class Destination:
    """A sender that answers from a script and then with success; ``gate`` holds it up."""

    def __init__(self, *answers: Delivery, gate: threading.Event | None = None) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.timeouts: list[float] = []
        self.closed = threading.Event()
        self.busy = threading.Event()
        self._gate = gate

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
        assert signal == "metrics"
        self.bodies.append(body)
        self.timeouts.append(timeout_s)
        self.busy.set()
        if self._gate is not None:
            self._gate.wait(30)
        return self.answers.pop(0) if self.answers else SENT

    def close(self) -> None:
        self.closed.set()
        if self._gate is not None:
            self._gate.set()


class Delivering:
    """A queue and the loop over it, as an exporter has them."""

    def __init__(
        self,
        encode: Callable[[Sequence[Measurement]], Iterable[Part]],
        telemetry: Telemetry,
        retry: RetryPolicy,
        **settings: int,
    ) -> None:
        self._queue = MeasurementQueue(NAME, encode, telemetry, **settings)
        self._destination = Destination()
        self._connection = Connection(NAME, lambda: self._destination)
        self._loop = DeliveryLoop(
            NAME,
            self._queue,
            lambda part, timeout_s: self._connection.use(lambda sender: sender.send("metrics", part.body, timeout_s)),
            telemetry,
            stage="export",
            retry=retry,
            connection=self._connection,
        )
        self.put = self._queue.put
        self.shutdown = self._loop.shutdown

    def start(self, destination: Destination) -> None:
        self._destination = destination
        self._loop.start()


def one_part(batch: Sequence[Measurement]) -> Iterator[Part]:
    yield Part(str(len(batch)).encode(), len(batch))


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def build(telemetry: Telemetry) -> Iterator[Callable[..., Delivering]]:
    built: list[Delivering] = []

    def make(
        encode: Callable[[Sequence[Measurement]], Iterable[Part]] = one_part,
        retry: RetryPolicy = AT_ONCE,
        **settings: int,
    ) -> Delivering:
        built.append(Delivering(encode, telemetry, retry, **settings))
        return built[-1]

    yield make
    for delivery in built:
        delivery.shutdown(5)


def counted(telemetry: Telemetry, verb: str) -> float:
    name = f"otelcol_exporter_{verb}_metric_points_total"
    return telemetry.registry.get_sample_value(name, {"exporter": NAME}) or 0.0


def gauge(telemetry: Telemetry, what: str) -> float | None:
    return telemetry.registry.get_sample_value(
        f"otelcol_exporter_queue_{what}", {"exporter": NAME, "data_type": "measurements"}
    )


def test_batches_are_delivered_in_order_and_counted(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery, destination = build(), Destination()
    delivery.put(points(3))
    delivery.start(destination)
    delivery.put(points(5))
    delivery.put([])
    delivery.shutdown(10)
    assert destination.bodies == [b"3", b"5"]
    assert counted(telemetry, "sent") == 8
    assert destination.closed.is_set()


def test_what_fails_for_now_is_tried_again_until_it_is_sent(
    build: Callable[..., Delivering], telemetry: Telemetry
) -> None:
    delivery, destination = build(), Destination(LATER, LATER, LATER)
    delivery.start(destination)
    delivery.put(points(2))
    while len(destination.bodies) < 4:
        destination.busy.wait(10)
        destination.busy.clear()
    delivery.shutdown(10)
    assert destination.bodies == [b"2"] * 4
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (2, 0)


def test_what_fails_for_good_is_not_tried_again(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery, destination = build(), Destination(Delivery("refused", "INVALID_ARGUMENT"))
    delivery.start(destination)
    delivery.put(points(2))
    delivery.put(points(3))
    delivery.shutdown(10)
    assert destination.bodies == [b"2", b"3"]
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (3, 2)


def test_retries_end_with_the_policy(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery, destination = build(retry=RetryPolicy(enabled=False)), Destination(LATER)
    delivery.start(destination)
    delivery.put(points(2))
    delivery.shutdown(10)
    assert (len(destination.bodies), counted(telemetry, "send_failed")) == (1, 2)


def test_points_that_the_destination_rejects_are_failed_ones(
    build: Callable[..., Delivering], telemetry: Telemetry
) -> None:
    delivery, destination = build(), Destination(Delivery("sent", rejected=2), Delivery("sent", rejected=99))
    delivery.start(destination)
    delivery.put(points(5))
    delivery.put(points(1))
    delivery.shutdown(10)
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (3, 3)


def test_a_full_queue_drops_the_newest(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery, destination = build(queue_size=2), Destination()
    for count in (1, 2, 4, 8):
        delivery.put(points(count))
    assert (gauge(telemetry, "size"), gauge(telemetry, "capacity")) == (2, 2)
    assert counted(telemetry, "enqueue_failed") == 12
    delivery.start(destination)
    delivery.shutdown(10)
    assert destination.bodies == [b"1", b"2"]
    assert gauge(telemetry, "size") == 0


def test_points_are_bounded_however_few_the_batches(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery = build(queue_points=10)
    for count in (6, 6, 4):
        delivery.put(points(count))
    assert (gauge(telemetry, "size"), counted(telemetry, "enqueue_failed")) == (2, 6)


def test_a_slow_destination_does_not_hold_up_the_caller(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    gate = threading.Event()
    delivery, destination = build(queue_size=1), Destination(gate=gate)
    delivery.start(destination)
    delivery.put(points(1))
    assert destination.busy.wait(10)
    delivery.put(points(2))
    delivery.put(points(4))
    assert counted(telemetry, "enqueue_failed") == 4
    gate.set()
    delivery.shutdown(10)
    assert destination.bodies == [b"1", b"2"]


def test_shutdown_gives_up_what_there_is_no_time_for(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery, destination = build(), Destination(gate=threading.Event())
    delivery.start(destination)
    delivery.put(points(1))
    assert destination.busy.wait(10)
    delivery.put(points(2))
    delivery.shutdown(0)
    assert counted(telemetry, "send_failed") + counted(telemetry, "sent") == 3
    assert counted(telemetry, "send_failed") >= 2


def test_shutdown_ends_the_wait_between_tries(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery = build(retry=RetryPolicy(initial_s=3600, max_s=3600, max_elapsed_s=0))
    destination = Destination(LATER)
    delivery.start(destination)
    delivery.put(points(2))
    assert destination.busy.wait(10)
    delivery.shutdown(10)
    assert len(destination.bodies) == 2
    assert counted(telemetry, "sent") == 2


def test_nothing_is_taken_after_the_shutdown(build: Callable[..., Delivering], telemetry: Telemetry) -> None:
    delivery = build()
    delivery.put(points(3))
    delivery.shutdown(1)
    delivery.put(points(4))
    assert (counted(telemetry, "send_failed"), counted(telemetry, "enqueue_failed")) == (3, 4)
    delivery.shutdown(1)


def test_a_batch_that_cannot_be_encoded_does_not_stop_the_next(
    build: Callable[..., Delivering], telemetry: Telemetry
) -> None:
    def encode(batch: Sequence[Measurement]) -> Iterator[Part]:
        yield Part(b"first", 1)
        if len(batch) == 3:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    delivery, destination = build(encode), Destination()
    delivery.start(destination)
    delivery.put(points(3))
    delivery.put(points(1))
    delivery.shutdown(10)
    assert (counted(telemetry, "sent"), counted(telemetry, "send_failed")) == (2, 2)
    assert telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "export"}) == 1


def test_a_part_is_acknowledged_only_when_it_was_sent(build: Callable[..., Delivering]) -> None:
    arrived: list[int] = []

    def encode(batch: Sequence[Measurement]) -> Iterator[Part]:
        for position in range(3):
            yield Part(b"", 1, lambda position=position: arrived.append(position))

    delivery = build(encode)
    delivery.start(Destination(SENT, Delivery("refused")))
    delivery.put(points(3))
    delivery.shutdown(10)
    assert arrived == [0, 2]
