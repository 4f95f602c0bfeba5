"""The inputs and outputs of one call, and the attributes that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from otel_ml.config import ATTRIBUTE_ROOM, ENV_MAX_FEATURES
from otel_ml.emit.emitter import Emitter
from otel_ml.encode.batch import Batch, BatchColumn, ColumnKind
from otel_ml.encode.payloads import payloads
from otel_ml.encode.row import (
    Attributes,
    attribution_attributes,
    feature_attributes,
    feature_map,
    id_of,
    number_of,
    segment_attributes,
    text_of,
)
from otel_ml.encode.rows import Outputs, count, flatten, is_column
from otel_ml.encode.scalar import UnsupportedValueError
from otel_ml.encode.scores import by_class, column_score, row_score
from otel_ml.encode.shape import Features, read, single
from otel_ml.problems import report, report_misfit, report_over_limit
from otel_ml.semconv import (
    PREDICTION_CLASS,
    PREDICTION_ID,
    PREDICTION_ROWS,
    PREDICTION_SCORE,
    PREDICTION_SCORES,
    PREDICTION_VALUE,
)

_EMPTY: Final[Mapping[Any, object]] = {}
_FEATURES: Final = f"features ({ENV_MAX_FEATURES} and limits.features of the service allow more)"


class RecordedCall:
    """What the application passed to one call of a model and recorded in it; :class:`~otel_ml.Prediction` sets it."""

    __slots__ = ("_emitter", "attributions", "class_", "features", "id_given", "score", "scores", "segments", "value")
    _emitter: Emitter
    features: object
    id_given: object
    segments: Mapping[Any, object] | None
    class_: object
    score: object
    value: object
    scores: Mapping[Any, object] | None
    attributions: object

    def row_count(self) -> int:
        """Return the number of predictions in the call, without reading the features."""
        return count(None if callable(self.features) else self.features, self._outputs())

    def _outputs(self) -> Outputs:
        outputs = (self.class_, self.score, self.value, *(self.scores or {}).values())
        return Outputs.of(outputs, self.id_given)

    def _read_features(self) -> Features:
        """Return the features as a row or columns; features that have no such shape are reported and left out."""
        features, name, outputs = self.features, self._emitter.name, self._outputs()
        try:
            features = cast("Callable[[], object]", features)() if callable(features) else features
            return read(features, self._emitter.feature_names, outputs)
        except UnsupportedValueError as error:
            report(f"shape {name}", "model %r: features are not captured: %s", name, error)
            return Features(count(features, outputs))
        except Exception as error:  # noqa: BLE001 - a foreign container's own methods may raise anything
            report(f"read {name}", "model %r: features cannot be read", name, error=error)
            return Features(count(None, outputs))

    # --- one row -------------------------------------------------------------------------------------------------

    def _row_attributes(self, row: Mapping[Any, object] | None, later: int = 0) -> Attributes:
        """Return the attributes of a call of one row, besides the model's identity; ``later`` more are to come."""
        emitter = self._emitter
        settings = emitter.settings
        features = _EMPTY if row is None else row
        attributes = feature_attributes(
            self._within_limit(features), emitter.redaction.features, settings.max_string_chars
        )
        if self.segments or emitter.segment_names or self.attributions is not None:
            attributes = self._with_segments_and_attributions(features, attributes, later)
        elif len(attributes) > min(emitter.flat_limit, ATTRIBUTE_ROOM - later):
            attributes = feature_map(attributes, settings.max_span_bytes)
        self._add_outputs(attributes)
        return attributes

    def _within_limit(self, features: Mapping[Any, object]) -> Mapping[Any, object]:
        """Return the features that may leave because of their number."""
        limit, routes = self._emitter.settings.max_features, self._emitter.redaction.features
        if len(features) <= limit:
            return features
        # By name, before missing cells are left out: otherwise the row would decide which features leave.
        kept = [name for name in features if routes[name] is not None]
        if len(kept) <= limit:
            return features
        report_over_limit(_FEATURES, len(kept), limit)
        return {name: features[name] for name in kept[:limit]}

    def _segments(self, features: Mapping[Any, object]) -> Attributes:
        emitter = self._emitter
        return segment_attributes(
            self.segments or _EMPTY,
            [(name, features.get(name)) for name in emitter.segment_names],
            emitter.redaction.segments,
            emitter.redaction.taken_segments,
            emitter.settings.max_string_chars,
        )

    def _with_segments_and_attributions(
        self, features: Mapping[Any, object], attributes: Attributes, later: int
    ) -> Attributes:
        """Add segments and attributions; the features become a map where all together are too many."""
        emitter = self._emitter
        settings, redaction = emitter.settings, emitter.redaction
        extra = self._segments(features)
        room = ATTRIBUTE_ROOM - len(extra)
        attributions = self._read_attributions(features).row or {}
        if len(attributes) > settings.max_flat_features or len(attributes) + len(attributions) + later > room:
            attributes = feature_map(attributes, settings.max_span_bytes)
        extra.update(attribution_attributes(attributions, redaction.attributions, room - len(attributes)))
        attributes.update(extra)
        return attributes

    def _whole_row(self, row: Mapping[Any, object] | None) -> Attributes:
        """Return everything of a call of one row as flat attributes, for columns, which have room for all."""
        emitter = self._emitter
        features = _EMPTY if row is None else row
        attributes = feature_attributes(
            self._within_limit(features), emitter.redaction.features, emitter.settings.max_string_chars
        )
        attributes.update(self._beside(features))
        return attributes

    def _beside(self, features: Mapping[Any, object]) -> Attributes:
        """Return what a call of one row has beside its features, for columns."""
        emitter = self._emitter
        attributes = self._segments(features) if self.segments or emitter.segment_names else {}
        if self.attributions is not None:
            attributions = self._read_attributions(features).row or {}
            room = emitter.settings.max_features
            attributes.update(attribution_attributes(attributions, emitter.redaction.attributions, room))
        self._add_outputs(attributes)
        return attributes

    def _add_outputs(self, attributes: Attributes) -> None:
        """Add id, class, score, scores and value of a call of one row."""
        emitter = self._emitter
        class_ = None
        if self.class_ is not None:
            limit = emitter.settings.max_string_chars
            class_ = text_of(single(self.class_, PREDICTION_CLASS), limit, PREDICTION_CLASS)
            if class_ is not None:
                attributes[PREDICTION_CLASS] = class_
        score = None
        if self.score is not None:
            score = number_of(single(self.score, PREDICTION_SCORE), PREDICTION_SCORE)
        if self.scores:
            scores = {
                name: probability
                for name, values in by_class(self.scores)
                if (probability := number_of(single(values, PREDICTION_SCORES), PREDICTION_SCORES)) is not None
            }
            attributes[PREDICTION_SCORES] = {**scores}
            score = row_score(scores, class_, emitter.positive_class, emitter.task) if score is None else score
        if score is not None:
            attributes[PREDICTION_SCORE] = score
        if self.value is not None:
            value = number_of(single(self.value, PREDICTION_VALUE), PREDICTION_VALUE)
            if value is not None:
                attributes[PREDICTION_VALUE] = value
        if self.id_given is not None:
            identity = id_of(single(self.id_given, PREDICTION_ID))
            if identity:
                attributes[PREDICTION_ID] = identity

    # --- many rows -----------------------------------------------------------------------------------------------

    def _batch(self, features: Features, default_id: str) -> Batch:
        """Return the columns of a call of many rows."""
        rows = features.rows
        if rows == 0:
            return Batch(0)
        feature_columns = features.columns or _EMPTY
        columns = [
            *self._feature_columns(feature_columns),
            *self._segment_columns(feature_columns),
            *self._output_columns(rows),
            *self._attribution_columns(self._read_attributions(feature_columns).columns or _EMPTY),
        ]
        base, own = default_id, True
        if self.id_given is not None:
            if is_column(flatten(self.id_given)):
                columns.append(BatchColumn(PREDICTION_ID, self.id_given, "id"))
            else:
                base, own = id_of(self.id_given) or default_id, False
        return Batch(rows, columns, dict(by_class(self.scores or _EMPTY)), base, own)

    def _payloads(self, batch: Batch) -> Iterator[Attributes]:
        """Return the attributes of each span of a call of many rows, first to last."""
        if batch.rows == 0:
            nothing: Attributes = {PREDICTION_ROWS: 0}
            return iter([nothing])
        return payloads(batch, self._emitter.limits)

    def _feature_columns(self, features: Mapping[Any, object]) -> Iterator[BatchColumn]:
        routes, limit = self._emitter.redaction.features, self._emitter.settings.max_features
        kept = [(route, cells) for name, cells in features.items() if (route := routes[name]) is not None]
        if len(kept) > limit:
            report_over_limit(_FEATURES, len(kept), limit)
        for (attribute, rule), cells in kept[:limit]:
            yield BatchColumn(attribute, cells, "feature", rule)

    def _segment_columns(self, features: Mapping[Any, object]) -> list[BatchColumn]:
        redaction = self._emitter.redaction
        columns: dict[str, BatchColumn] = {}
        taken = {name: features.get(name) for name in self._emitter.segment_names}
        for segments, routes in ((taken, redaction.taken_segments), (self.segments or _EMPTY, redaction.segments)):
            for name, cells in segments.items():
                route = routes[name]
                if route is not None and cells is not None:
                    columns[route[0]] = BatchColumn(route[0], cells, "text", route[1])
        return list(columns.values())

    def _output_columns(self, rows: int) -> Iterator[BatchColumn]:
        outputs: tuple[tuple[str, object, ColumnKind], ...] = (
            (PREDICTION_CLASS, self.class_, "text"),
            (PREDICTION_SCORE, self.score, "number"),
            (PREDICTION_VALUE, self.value, "number"),
        )
        for attribute, cells, kind in outputs:
            if cells is None:
                continue
            if is_column(flatten(cells)):
                yield BatchColumn(attribute, cells, kind)
            else:
                report_misfit(attribute, 1, rows)

    def _attribution_columns(self, columns: Mapping[Any, object]) -> Iterator[BatchColumn]:
        routes = self._emitter.redaction.attributions
        kept = [(route[0], cells) for name, cells in columns.items() if (route := routes[name]) is not None]
        limit = self._emitter.settings.max_features
        if len(kept) > limit:
            report_over_limit("attributions", len(kept), limit)
        for attribute, cells in kept[:limit]:
            yield BatchColumn(attribute, cells, "number")

    def _choose_score(self, rows: int) -> None:
        """Take each row's score from the probabilities of all classes if only these were recorded."""
        if self.score is None and self.scores:
            emitter = self._emitter
            scores = dict(by_class(self.scores))
            self.score = column_score(scores, flatten(self.class_), emitter.positive_class, emitter.task, rows)

    def _read_attributions(self, features: Mapping[Any, object]) -> Features:
        """Return the attributions as a row or columns; arrays are in the order of the features."""
        try:
            return read(self.attributions, [str(name) for name in features])
        except UnsupportedValueError as error:
            report("attributions", "attributions are not captured: %s", error)
            return Features(0)
