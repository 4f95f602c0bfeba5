"""Calls of one row that gather and leave together (``OTEL_ML_EMIT=columnar``), instead of each as its own span.

The caller's thread keeps what it was given: numbers and texts, which cannot change any more, and anything else as the
attributes that it becomes. A call of many rows, and one that is chosen to be explained, is a span as usual.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextvars import Token
from itertools import count
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Final, cast

from opentelemetry.context import Context, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import get_current_span

from otel_ml.activity import activity, inside_prediction
from otel_ml.delivery.gather import Gatherer
from otel_ml.emit.emitter import Emitter
from otel_ml.emit.explained import Explained
from otel_ml.emit.gathered import GatheredRow, send
from otel_ml.emit.rehearsal import is_rehearsal
from otel_ml.encode.row import Attributes
from otel_ml.encode.rows import shape_of
from otel_ml.encode.scalar import MAX_ID_CHARS
from otel_ml.encode.shape import snapshot
from otel_ml.prediction import Prediction, error_type
from otel_ml.problems import report
from otel_ml.semconv import PREDICTION_ID
from otel_ml.served import ServedCall, current_request

_NUMBERS: Final = frozenset({float, int, bool, type(None)})
_ROW_BYTES, _CELL_BYTES = 600, 100
"""What a row takes while it waits, and each of its features."""
_EMPTY: Final[Mapping[Any, object]] = {}
_TABLES: Final = ("table", "grid", "nested", "opaque")


def predicting(
    emitter: Emitter, features: object, id: object, segments: Mapping[str, object] | None, time_ns: int | None
) -> Prediction:
    """Return the object that observes one call."""
    kind = ColumnarPrediction if emitter.gathers else Prediction
    return kind(emitter, features, id, segments, time_ns)


class ColumnarPrediction(Prediction):
    """One call of a model that emits columns: without a separate span, the caller's is its parent and its trace."""

    __slots__ = (
        "_attributes",
        "_context",
        "_duration_s",
        "_failed",
        "_generation",
        "_number",
        "_plain",
        "_sampled",
        "_span_id",
        "_token",
        "_trace_id",
    )

    _start_ns: int | None

    def __init__(
        self,
        emitter: Emitter,
        features: object,
        id: object,
        segments: Mapping[str, object] | None,
        time_ns: int | None,
    ) -> None:
        super().__init__(emitter, features, id, segments, time_ns)
        self._token: Token[bool] | None = None
        self._attributes: Attributes | None = None
        self._failed: str | None = None
        self._plain = False
        self._trace_id = 0

    @property
    def recording(self) -> bool:
        """Whether this call is emitted at all."""
        return self._token is not None or super().recording

    def __enter__(self) -> Prediction:
        emitter = self._emitter
        if not emitter.enabled or not is_instrumentation_enabled() or is_rehearsal() or not emitter.tracer.ready():
            return super().__enter__()
        try:
            if self._is_many():
                return super().__enter__()
            if self._start_ns is None:
                self._start_ns = time_ns()
            served = current_request()
            if served is not None:
                self._take_from(served)
            if emitter.explains is not None and self._explained is None:
                self._explained = Explained(emitter.explains, emitter.explainer, self.features)
            self._join_trace()
        except Exception as error:  # noqa: BLE001 - our failure must not stop the application's prediction
            report("start", "a prediction of model %r is not observed", emitter.name, error=error)
            self._started_s = 0.0
            return self
        activity.observed = True
        self._generation = _ids.generation
        self._token = inside_prediction.set(True)
        self._started_s = perf_counter()
        return self

    def _is_many(self) -> bool:
        """Return True for features of several rows; keep a copy of those of one, or of what outputs must decide."""
        features: Any = self.features
        if type(features) is dict:
            self._plain = _is_plain(features.values())
            self.features = features.copy()
            if self._plain:
                return False
        elif features is None or callable(features):
            return False
        try:
            kind, rows = shape_of(features)
            if kind == "row" or kind not in _TABLES or rows == 1:
                row = self.features = snapshot(features, self._emitter.feature_names)
                self._plain = type(row) is dict and _is_plain(cast("dict[Any, object]", row).values())
                return False
        except Exception:  # noqa: BLE001 - a foreign container's own methods may raise anything; reading it reports it
            return False
        return True

    def _join_trace(self) -> None:
        """Take trace and span of the caller; without one, an id that looks the same and is of no span."""
        span = get_current_span().get_span_context()
        self._context: Context | None = None
        self._number: int | None = None
        if span.is_valid:
            self._trace_id, self._span_id, self._sampled = span.trace_id, span.span_id, span.trace_flags.sampled
            self._number = next(_ids.numbers)
            if self._sampled:
                self._context = get_current()
        else:
            self._trace_id, self._span_id = _ids.random.getrandbits(128), _ids.random.getrandbits(64)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        started_s, token = self._started_s, self._token
        if token is None:
            super().__exit__(kind, error, traceback)
            return
        self._duration_s = perf_counter() - (started_s or 0.0)
        self._leave(token)
        if self._generation != _ids.generation:
            return  # this is a child that was forked meanwhile: the parent sends the row
        if self._others:
            self._end_others(self._duration_s, kind, error)
        try:
            if kind is not None:
                self._failed = error_type(kind)
            if self._settle():
                self._gather()
                return
        except Exception as failure:  # noqa: BLE001 - nor may our failure here
            report("emit", "a prediction of model %r is not fully recorded", self._emitter.name, error=failure)
            self.features, self._attributes = None, {}
            self._gather()
            return
        self._as_span(kind, error, traceback)

    def withdraw(self) -> None:
        """Say that the call is not a prediction after all."""
        if self._token is not None:
            self._leave(self._token)
        super().withdraw()

    def _leave(self, token: Token[bool]) -> None:
        self._token, self._started_s = None, None
        try:
            inside_prediction.reset(token)
        except ValueError:  # another task or thread ends the block than the one that began it
            inside_prediction.set(False)

    def _settle(self) -> bool:
        """Keep only what cannot change while it waits; return False for a call that has to be a span."""
        if self._explained is not None and self._is_explained(self._explained):
            return False
        emitter = self._emitter
        if not self._plain or len(cast("dict[Any, object]", self.features)) > emitter.settings.max_features:
            if callable(self.features):
                self._call_features(self.features)
            features = self._read_features()
            if features.rows != 1:
                return False
            if emitter.measures.active():
                emitter.count_features(features, True)
            self.features = None
            self._attributes = self._whole_row(features.row)
        elif not self._has_plain_outputs():
            self._attributes = self._beside(cast("dict[Any, object]", self.features))
        else:
            if self.segments is not None:
                self.segments = dict(self.segments)
            if self.scores is not None:
                self.scores = dict(self.scores)
        return True

    def _call_features(self, function: Callable[[], object]) -> None:
        """Put what the function returns in its place, so that it is called once."""
        try:
            self.features = function()
        except Exception as error:  # noqa: BLE001 - the application's function may raise anything
            name = self._emitter.name
            report(f"read {name}", "model %r: features cannot be read", name, error=error)
            self.features = None

    def _has_plain_outputs(self) -> bool:
        return (
            self.attributions is None
            and _is_plain((self.class_, self.score, self.value))
            and (self.id_given is None or (type(self.id_given) is str and len(self.id_given) <= MAX_ID_CHARS))
            and (self.scores is None or _is_plain_mapping(self.scores))
            and (self.segments is None or _is_plain_mapping(self.segments))
        )

    def _is_explained(self, explained: Explained) -> bool:
        explains = explained.explains
        wanted = not self._failed and explains.possible and self.attributions is None
        return wanted and explains.sample.chooses(self.id)

    def _gather(self) -> None:
        emitter = self._emitter
        self._rows = 1
        if self._served is not None:
            self._served.add(ServedCall(emitter.name, self.id, 1))
        gatherer = emitter.gatherer
        if gatherer is None:
            gatherer = emitter.gatherer = Gatherer[ColumnarPrediction](
                f"model {emitter.name!r}", lambda rows: send(emitter, [row.row() for row in rows]), emitter.lost
            )
        cells = len(self._kept_features()) + len(self._attributes or ())
        gatherer.add(self, _ROW_BYTES + _CELL_BYTES * cells)

    def _as_span(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Emit the call as a span that begins when the call did; it keeps the id that it has had since."""
        emitter = self._emitter
        if self.id_given is None:
            self.id_given = self._own_id()
        try:
            span = self._span = emitter.tracer.start_span(
                emitter.predict_span, attributes=emitter.identity, start_time=self._start_ns
            )
            self._recorded = span.is_recording()
        except Exception as failure:  # noqa: BLE001 - the application's sampler may raise
            report("start", "a prediction of model %r is not observed", emitter.name, error=failure)
            return
        self._started_s = perf_counter() - self._duration_s
        super().__exit__(kind, error, traceback)

    def _kept_features(self) -> Mapping[Any, object]:
        """Return the features as they were given; none if they are attributes by now."""
        return cast("dict[Any, object]", self.features) if self._plain and self.features is not None else _EMPTY

    def row(self) -> GatheredRow:
        """Return the call as a row of many; called when it leaves, in another thread."""
        features, attributes = self._kept_features(), self._attributes
        if attributes is None:
            attributes = self._beside(features)
        if PREDICTION_ID not in attributes:
            attributes[PREDICTION_ID] = self._own_id()
        return GatheredRow(
            features,
            attributes,
            self._start_ns or 0,
            self._duration_s,
            self._failed,
            None if self._number is None else (self._trace_id, self._span_id, self._sampled),
            self._context,
            not self._plain or self.features is None,
        )

    def _own_id(self) -> str:
        if self._default_id is None and self._trace_id and self._span is None:
            number = "" if self._number is None else f":{self._number}"
            self._default_id = f"{self._trace_id:032x}:{self._span_id:016x}{number}"
        return super()._own_id()


def _is_plain(cells: Any, limit: int = 256) -> bool:
    """Return whether cells are numbers or short texts."""
    for cell in cells:
        kind = type(cell)
        if kind not in _NUMBERS and (kind is not str or len(cell) > limit):
            return False
    return True


def _is_plain_mapping(cells: Mapping[Any, object]) -> bool:
    return type(cells) is dict and _is_plain(cells.values())


class _Ids:
    """Numbers that no two predictions share: a forked child inherits its parent's span, and counts from elsewhere."""

    def __init__(self) -> None:
        self.generation = 0
        self.restart()

    def restart(self) -> None:
        """Begin with other numbers, in a forked child."""
        self.generation += 1
        self.random = random.Random(int.from_bytes(os.urandom(16), "big"))  # noqa: S311 - unique, not secret
        self.numbers: Iterator[int] = count(self.random.getrandbits(40))


_ids = _Ids()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.restart)
