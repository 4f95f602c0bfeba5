"""One call of a model from entry to exit: its span, and the outputs recorded in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Token
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, NoReturn

from opentelemetry.context import Context, attach, detach
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Span, StatusCode, set_span_in_context

from otel_ml.activity import activity
from otel_ml.config import ATTRIBUTE_ROOM
from otel_ml.delivery.backlog import backlog, size_of
from otel_ml.emit.arguments import RECORD_ARGUMENTS, event_time, mapping, wrong_arguments
from otel_ml.emit.call import RecordedCall
from otel_ml.emit.emitter import Emitter
from otel_ml.emit.explained import Explained, batch_job, row_job
from otel_ml.emit.rehearsal import is_rehearsal
from otel_ml.encode.batch import Batch
from otel_ml.encode.row import Attributes, id_of
from otel_ml.encode.rows import flatten, is_column, items, length
from otel_ml.encode.shape import Features, plain_row, single, snapshot
from otel_ml.explain.explains import Explains
from otel_ml.explain.queue import Job
from otel_ml.explain.queue import queue as explanations
from otel_ml.explain.tables import kept
from otel_ml.problems import report
from otel_ml.semconv import BATCH_ID, ERROR_TYPE, FEATURES_WITHHELD, MODEL_NAME, PREDICTION_ID
from otel_ml.served import Request, ServedCall, current_request


class Prediction(RecordedCall):
    """One call of :meth:`Model.predict <otel_ml.Model.predict>`: record its outputs here.

    An exception of the application passes through untouched and marks the span as failed (``error.type``; its message
    stays out, because messages often quote feature values).
    """

    __slots__ = (
        "_attached",
        "_default_id",
        "_explained",
        "_job",
        "_others",
        "_recorded",
        "_rows",
        "_served",
        "_span",
        "_start_ns",
        "_started_s",
    )

    def __init__(
        self,
        emitter: Emitter,
        features: object,
        id: object,
        segments: Mapping[str, object] | None,
        time_ns: int | None,
    ) -> None:
        # RecordedCall has no constructor: this runs for every prediction, and a second call costs a twentieth of it.
        self.features = features
        self.id_given = id
        self.segments = segments if segments is None else mapping(segments, "segments")
        self.class_: object = None
        self.score: object = None
        self.value: object = None
        self.scores: Mapping[Any, object] | None = None
        self.attributions: object = None
        self._emitter = emitter
        self._default_id: str | None = None
        self._span: Span | None = None
        self._recorded = False
        self._rows: int | None = None
        self._explained: Explained | None = None
        self._job: Job | None = None
        self._others: Sequence[Prediction] = ()
        self._served: Request | None = None
        self._attached: Token[Context] | None = None
        self._start_ns = time_ns if time_ns is None else event_time(time_ns)
        self._started_s: float | None = None

    @property
    def recording(self) -> bool:
        """Whether this call is emitted at all (a sampled span, metrics); if not, outputs need no work."""
        return self._span is not None and (self._recorded or self._emitter.measures.active())

    @property
    def rows(self) -> int:
        """The number of predictions in the call: as it was emitted, else as far as is known by now."""
        return self.row_count() if self._rows is None else self._rows

    @property
    def id(self) -> str:
        """The prediction id that labels join on; in a call of many rows, the part before ``:{i}``.

        If tracing is off, it is a random id of the same form.
        """
        given = flatten(self.id_given)
        if given is None or (is_column(given) and length(given) != 1):
            return self._own_id()
        return id_of(single(given, PREDICTION_ID)) or self._own_id()

    @property
    def ids(self) -> list[str]:
        """The prediction id of every row; record outputs first if the features do not have the number of rows."""
        given = flatten(self.id_given)
        try:
            rows = self.row_count()
        except Exception as error:  # noqa: BLE001 - a foreign container's own methods may raise anything
            report("ids", "the rows of a call of model %r cannot be counted", self._emitter.name, error=error)
            rows = 1
        if is_column(given) and length(given) == rows:
            own = self._own_id()
            return [id_of(cell) or f"{own}:{row}" for row, cell in enumerate(items(given))]
        return [self.id] if rows == 1 else [f"{self.id}:{row}" for row in range(rows)]

    def record(
        self,
        *misplaced: NoReturn,
        class_: object = None,
        score: object = None,
        value: object = None,
        scores: Mapping[Any, object] | None = None,
        attributions: object = None,
        id: object = None,
        segments: Mapping[str, object] | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Record the outputs of the call; call it again to add more.

        - ``class_``: the predicted class; ``score``: the probability of the positive class (binary) or of the predicted
          class; ``scores``: all of them by class; ``value``: a regression's prediction.
        - ``attributions``: contributions by feature name, or an array in the order of the features.
        - ``id``, ``segments``: as in ``predict``, for when they are known only now.

        For a call of many rows each is an array, list or column of as many values. Raises :class:`TypeError` for an
        argument that it does not have; no value makes it raise.
        """
        if misplaced or unknown:
            raise TypeError(wrong_arguments("record", misplaced, unknown, RECORD_ARGUMENTS, "record(score=0.83)"))
        if self._started_s is None:
            report(
                "record outside",
                "record() outside of the block `with model.predict(…) as prediction:` does nothing, and neither does"
                " predict() without one",
            )
            return
        if class_ is not None:
            self.class_ = class_
        if score is not None:
            self.score = score
        if value is not None:
            self.value = value
        if scores is not None:
            self.scores = mapping(scores, "scores")
        if attributions is not None:
            self.attributions = attributions
        if id is not None:
            self.id_given = id
        if segments is not None:
            self.segments = {**(self.segments or {}), **(mapping(segments, "segments") or {})}

    def __enter__(self) -> Prediction:
        emitter = self._emitter
        self._started_s = 0.0
        if not emitter.enabled or not is_instrumentation_enabled() or is_rehearsal():
            return self
        activity.observed = True
        served = current_request()
        try:
            if served is not None:
                self._take_from(served)
            if self._start_ns is None:
                self._start_ns = time_ns()
            # Name and version go in at the start, where samplers see them.
            span = self._span = emitter.tracer.start_span(
                emitter.predict_span, attributes=emitter.identity, start_time=self._start_ns
            )
            recorded = self._recorded = span.is_recording()
            if emitter.explains is not None and self._explained is None:
                self._explained = Explained(emitter.explains, emitter.explainer, self.features)
            if recorded or emitter.observations is not None:
                self.features = snapshot(self.features, emitter.feature_names)
            # A span that is not sampled must be current as well, or its children would be; an invalid one need not.
            if recorded or span.get_span_context().is_valid:
                self._attached = attach(set_span_in_context(span))
        except Exception as error:  # noqa: BLE001 - our failure must not stop the application's prediction
            report("start", "a prediction of model %r is not observed", emitter.name, error=error)
        self._started_s = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        span = self._span
        if span is None:
            return
        duration_s = perf_counter() - (self._started_s or 0.0)
        # The time spent on encoding is not the model's latency.
        end_ns = (self._start_ns or 0) + int(duration_s * 1e9)
        self._started_s = None
        if self._others:
            self._end_others(duration_s, kind, error)
        measuring = self._emitter.measures.active()
        if measuring or self._recorded:
            failed = None if kind is None else error_type(kind)
            try:
                self._finish(span, duration_s, end_ns, measuring, failed)
            except Exception as failure:  # noqa: BLE001 - nor may our failure here
                report("emit", "a prediction of model %r is not fully recorded", self._emitter.name, error=failure)
                _fill(span, self._emitter, {}, failed)
            if self._served is not None and self._recorded:
                self._served.add(ServedCall(self._emitter.name, self.id, self._rows or 0))
        if self._attached is not None:
            detach(self._attached)
        try:
            if self._job is None:
                span.end(end_ns)
            else:
                explanations.put(self._job)
        except Exception as failure:  # noqa: BLE001 - the application's span processor may raise
            report("end", "a span of model %r is not ended", self._emitter.name, error=failure)

    def withdraw(self) -> None:
        """Say that the call is not a prediction after all; it must not be ended then."""
        if self._served is not None:
            self._served.give_back(self._emitter.name)

    def share(self, others: Sequence[Prediction]) -> None:
        """Let other models predict in the same call, such as the further outputs of an estimator: record theirs, too.

        They are neither entered nor exited: they end with this one, and have its features, times, id and segments.
        """
        self._others = others
        for other in others:
            other._started_s = 0.0  # noqa: SLF001 - of the same class

    def explain_by(self, explains: Explains, model: object, table: object) -> None:
        """Send attributions of the call if it is one of the sample: those of this fitted model for this table."""
        self._explained = Explained(explains, model, table)

    def _end_others(self, duration_s: float, kind: type[BaseException] | None, error: BaseException | None) -> None:
        others, self._others = self._others, ()
        for other in others:
            other._end_with(self, duration_s, kind, error)  # noqa: SLF001 - of the same class

    def _end_with(
        self, first: Prediction, duration_s: float, kind: type[BaseException] | None, error: BaseException | None
    ) -> None:
        self.features = first.features
        self.segments = first.segments
        self.id_given = first.id if first.id_given is None else first.id_given
        self._start_ns = first._start_ns
        self.__enter__()
        self._started_s = perf_counter() - duration_s
        self.__exit__(kind, error, None)

    def _take_from(self, served: Request) -> None:
        """Take what the server knows of the request: its id, unless the call has one, and segments."""
        self._served = served
        if served.segments:
            self.segments = {**served.segments, **(self.segments or {})}
        if self.id_given is None:
            self.id_given = served.id_for(self._emitter.name)

    def _finish(self, span: Span, duration_s: float, end_ns: int, measuring: bool, failed: str | None) -> None:
        emitter, recorded = self._emitter, self._recorded
        if emitter.redaction.unmatched:
            emitter.redaction.check_patterns(emitter.name)
        row = plain_row(self.features)
        if row is None or emitter.observations is not None:
            observing = measuring and emitter.observations is not None
            features = self._read_features() if recorded or observing else Features(self.row_count())
            row = features.row
            if observing:
                emitter.count_features(features, recorded)
            self._rows = features.rows
            if features.rows != 1:
                self._finish_batch(span, features, duration_s, end_ns, measuring, failed)
                return
        self._rows = 1
        attributes: Attributes = {}
        explained = None if failed else self._explained
        if explained is not None and not self._chosen(explained):
            explained = None
        if recorded:
            attributes = self._row_attributes(row, 0 if explained is None else explained.width(row))
        else:
            self._add_outputs(attributes)
        if measuring:
            emitter.measures.soon(duration_s, failed, attributes)
            emitter.count_row(attributes, recorded, failed)
        if recorded:
            if PREDICTION_ID not in attributes:  # the service would derive it; people search for it
                attributes[PREDICTION_ID] = self._own_id()
            _fill(span, emitter, attributes, failed)
            if explained is not None:
                self._job = row_job(explained, emitter, span, end_ns, ATTRIBUTE_ROOM - len(attributes))

    def _chosen(self, explained: Explained) -> bool:
        explains = explained.explains
        return self._recorded and explains.possible and self.attributions is None and explains.sample.chooses(self.id)

    def _finish_batch(
        self, span: Span, features: Features, duration_s: float, end_ns: int, measuring: bool, failed: str | None
    ) -> None:
        """Put the first payload on the call's span, and each further one on a child of zero length."""
        emitter, explained = self._emitter, self._explained
        rows = features.rows
        self._choose_score(rows)
        if measuring:
            emitter.measures.call(duration_s, rows, failed)
            emitter.measures.batch(self.score, self.class_, rows)
            outputs = {"class": self.class_, "score": self.score, "scores": self.scores, "value": self.value}
            emitter.count_batch(outputs, rows, self._recorded, failed)
        if not self._recorded:
            return
        batch = self._batch(features, self._own_id())
        if explained is None or failed or not rows or self.attributions is not None or not explained.explains.possible:
            self._send(span, batch, failed)
            return
        # Which rows are explained is decided there, too: a hash of each id is a part of what a batch costs.
        self._job = batch_job(
            explained,
            emitter,
            batch,
            self._ids_of(batch),
            lambda phi: batch.columns.extend(self._attribution_columns(phi)),
            lambda: self._end(span, batch, end_ns),
        )

    def _ids_of(self, batch: Batch) -> Callable[[], Iterable[str]]:
        base = batch.base_id
        if self.id_given is None or not is_column(flatten(self.id_given)):
            return lambda: (f"{base}:{row}" for row in range(batch.rows))
        given = kept(self.id_given)
        return lambda: (id_of(cell) or f"{base}:{row}" for row, cell in enumerate(items(flatten(given))))

    def _end(self, span: Span, batch: Batch, end_ns: int) -> None:
        try:
            self._send(span, batch, None)
        finally:
            span.end(end_ns)

    def _send(self, span: Span, batch: Batch, failed: str | None) -> None:
        emitter, start_ns = self._emitter, self._start_ns or 0
        shared: Attributes = {} if is_column(flatten(self.id_given)) else {BATCH_ID: self.id}
        parts = self._payloads(batch)
        first = next(parts)
        backlog.add(size_of(first))
        _fill(span, emitter, {**shared, **first}, failed)
        context = set_span_in_context(span)
        for part in parts:
            backlog.add(size_of(part))
            child = emitter.tracer.start_span(
                emitter.predict_span, context=context, attributes=emitter.identity, start_time=start_ns
            )
            _fill(child, emitter, {**shared, **part}, failed)
            child.end(start_ns)

    def _own_id(self) -> str:
        if self._default_id is None:
            span = self._span
            if span is not None and self._recorded:
                context = span.get_span_context()
                self._default_id = f"{context.trace_id:032x}:{context.span_id:016x}"
            else:
                self._default_id = f"{os.urandom(16).hex()}:{os.urandom(8).hex()}"
        return self._default_id


def _fill(span: Span, emitter: Emitter, attributes: Attributes, failed: str | None) -> None:
    if failed:
        span.set_status(StatusCode.ERROR)
        attributes[ERROR_TYPE] = failed
    if emitter.redaction.withheld:
        attributes[FEATURES_WITHHELD] = emitter.redaction.withheld
    # Set again, the name is the newest attribute: an SDK that drops the oldest over its limit cannot lose it.
    attributes[MODEL_NAME] = emitter.name
    span.set_attributes(attributes)


def error_type(kind: type[BaseException]) -> str:
    """Return an exception's name for ``error.type``: with its module, unless that is ``builtins``.

    >>> from json import JSONDecodeError
    >>> error_type(ValueError), error_type(JSONDecodeError)
    ('ValueError', 'json.decoder.JSONDecodeError')
    """
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
