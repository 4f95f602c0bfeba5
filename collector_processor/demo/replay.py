"""The traffic of the demo: prediction requests in the order of the flights, and a label when each flight has landed."""

from __future__ import annotations

import heapq
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field

import httpx
import pandas as pd
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from collector_processor.demo.flights import FEATURES, MODEL_NAME, Flights
from otel_ml import Model

_REQUESTS_PER_S = 20


@dataclass(slots=True)
class Progress:
    """The progress of the replay; written by its thread, read by the screen."""

    predictions: int = 0
    labels: int = 0
    now: pd.Timestamp | None = None
    done: bool = False
    failure: str = ""
    departures: list[pd.Timestamp] = field(default_factory=list[pd.Timestamp])
    """The last departure of each request, and below, the Unix time when it was answered."""
    answered_s: list[float] = field(default_factory=list[float])

    def flight_date(self, unix_s: float) -> pd.Timestamp:
        """Return the date in 2013 that the replay had reached at a time of this machine's clock."""
        position = bisect_left(self.answered_s, unix_s)
        return self.departures[min(position, len(self.departures) - 1)]


class Replay:
    """Replays flights over ``duration_s`` seconds: ``app_url`` predicts, ``otlp`` (host:port) receives the labels."""

    def __init__(self, flights: Flights, app_url: str, otlp: str, duration_s: float) -> None:
        self.progress = Progress()
        self._flights = flights
        self._app_url = app_url
        self._duration_s = duration_s
        self._requests = max(1, min(len(flights), int(duration_s * _REQUESTS_PER_S)))
        # The telemetry of the label job; in production that is a separate process, often on another day.
        self._provider = TracerProvider(resource=Resource.create({"service.name": "label-job"}))
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp, insecure=True), schedule_delay_millis=100)
        )
        self._model = Model(MODEL_NAME, tracer_provider=self._provider)
        # (when the truth is known, prediction id, truth): flights in the air.
        self._airborne: list[tuple[pd.Timestamp, str, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def start(self) -> None:
        """Start the replay in a separate thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the replay, early if needed, and send what is queued."""
        self._stop.set()
        self._thread.join(30)
        self._provider.shutdown()

    def _run(self) -> None:
        try:
            with httpx.Client(base_url=self._app_url, timeout=30) as client:
                self._replay(client)
        except httpx.HTTPError as error:
            self.progress.failure = f"the serving app did not answer: {error}"
        finally:
            self.progress.done = True

    def _replay(self, client: httpx.Client) -> None:
        flights, started = self._flights, time.monotonic()
        for request in range(self._requests):
            first = request * len(flights) // self._requests
            last = (request + 1) * len(flights) // self._requests
            self._predict(client, flights.part(slice(first, last)))
            due_s = (request + 1) * self._duration_s / self._requests - (time.monotonic() - started)
            if self._stop.wait(max(0.0, due_s)):
                return
        self._send_labels(None)
        self._provider.force_flush()

    def _predict(self, client: httpx.Client, flights: Flights) -> None:
        features = flights.features
        columns = {
            name: features[name].astype(object).where(features[name].notna(), None).tolist() for name in FEATURES
        }
        answer = client.post("/predict", json={"columns": columns})
        answer.raise_for_status()
        for prediction_id, known_at, outcome in zip(
            answer.json()["ids"], flights.known_at, flights.outcome, strict=True
        ):
            if isinstance(outcome, str):
                heapq.heappush(self._airborne, (known_at, prediction_id, outcome))
        self.progress.predictions += len(flights)
        self.progress.departures.append(flights.departure.iloc[-1])
        self.progress.answered_s.append(time.time())
        self.progress.now = flights.departure.iloc[-1]
        self._send_labels(self.progress.now)

    def _send_labels(self, now: pd.Timestamp | None) -> None:
        """Send the labels of all flights that have landed by ``now``; of all remaining flights if it is None."""
        ids: list[str] = []
        classes: list[str] = []
        while self._airborne and (now is None or self._airborne[0][0] <= now):
            _, prediction_id, outcome = heapq.heappop(self._airborne)
            ids.append(prediction_id)
            classes.append(outcome)
        if ids:
            self._model.labels(ids, classes=classes)
            self.progress.labels += len(ids)
