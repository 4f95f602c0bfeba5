"""What one call was given and recorded, and how that becomes attributes and measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, cast

from otel_ml.emit.emitter import Emitter
from otel_ml.encode.batch import payloads
from otel_ml.encode.row import (
    Attributes,
    attribution_attributes,
    feature_attributes,
    feature_map,
    number_of,
    segment_attributes,
    text_of,
)
from otel_ml.encode.scalar import INT64_MAX, UnsupportedValueError, clean_key, identifier
from otel_ml.encode.scores import column_score, row_score
from otel_ml.encode.shape import (
    MAX_CLASSES,
    MAX_FEATURES,
    NO_ROWS,
    PLAIN,
    Rows,
    count,
    flatten,
    is_column,
    items,
    length,
    read,
)
from otel_ml.encode.table import Field, Kind, Table, misfit
from otel_ml.problems import report
from otel_ml.semconv import (
    PREDICTION_CLASS,
    PREDICTION_ID,
    PREDICTION_ROWS,
    PREDICTION_SCORE,
    PREDICTION_SCORES,
    PREDICTION_VALUE,
)

Segments = Mapping[Any, object]
_NO_FEATURES: Final[Mapping[Any, object]] = {}


class Call:
    """The inputs and outputs of one call as the application gave them."""

    __slots__ = ("attributions", "class_", "features", "id_given", "score", "scores", "segments", "value")

    def __init__(self, features: object, id: object, segments: Segments | None) -> None:
        self.features = features
        self.id_given = id
        self.segments = segments
        self.class_: object = None
        self.score: object = None
        self.value: object = None
        self.scores: Mapping[Any, object] | None = None
        self.attributions: object = None


def row_count(call: Call) -> int:
    """How many rows the call has: as many as the features, else as the outputs, else one."""
    known = None if callable(call.features) else count(call.features)
    return _output_rows(call) if known is None else known


def _output_rows(call: Call) -> int:
    """Rows of the first output that is a column, else one."""
    for output in (call.class_, call.score, call.value, *(call.scores or {}).values(), call.id_given):
        output = flatten(output)
        if is_column(output):
            return length(output)
    return 1


def plain_row(features: object) -> dict[Any, object] | None:
    """The features themselves where they plainly are one row, the most frequent case by far; None where one must look.

    >>> plain_row({"age": 37}), plain_row({"age": [37, 38]})
    ({'age': 37}, None)
    """
    if type(features) is dict:
        row = cast("dict[Any, object]", features)
        for value in row.values():
            return row if type(value) in PLAIN else None
    return None


def read_rows(emitter: Emitter, call: Call) -> Rows:
    """The features as a row or columns; what has neither shape is reported and left out."""
    rows = _read(emitter, call.features)
    return Rows(_output_rows(call), rows.row, rows.columns) if rows.number is None else rows


def _read(emitter: Emitter, features: object) -> Rows:
    try:
        features = cast("Callable[[], object]", features)() if callable(features) else features
        return read(features, emitter.feature_names)
    except UnsupportedValueError as error:
        report(f"shape {emitter.name}", "model %r: features are not captured: %s", emitter.name, error)
        return Rows(count(features))
    except Exception as error:  # noqa: BLE001 - a foreign container's own methods may raise anything
        report(f"read {emitter.name}", "model %r: features cannot be read", emitter.name, error=error)
        return NO_ROWS


def row_attributes(emitter: Emitter, call: Call, row: Mapping[Any, object] | None) -> Attributes:
    """The attributes of a call of one row, beside the model's identity."""
    features = _NO_FEATURES if row is None else row
    settings = emitter.settings
    attributes = feature_attributes(features, emitter.redaction.features, settings.max_string_chars)
    if call.segments or emitter.segment_names or call.attributions is not None:
        attributes = _with_slices_and_attributions(emitter, call, features, attributes)
    elif len(attributes) > emitter.flat_limit:
        attributes = feature_map(attributes, settings.max_span_bytes)
    add_outputs(emitter, call, attributes)
    return attributes


def _with_slices_and_attributions(
    emitter: Emitter, call: Call, features: Mapping[Any, object], attributes: Attributes
) -> Attributes:
    """Add segments and attributions; the features become a map where all together are too many."""
    settings, redaction = emitter.settings, emitter.redaction
    taken = [(name, features.get(name)) for name in emitter.segment_names]
    chosen = call.segments or _NO_FEATURES
    limit = settings.max_string_chars
    extra = segment_attributes(chosen, taken, redaction.segments, redaction.taken_segments, limit)
    room = settings.attribute_room - len(extra)
    known: Mapping[Any, object] = {}
    if call.attributions is not None:
        known = _attributions(call.attributions, features).row or {}
    if len(attributes) > settings.max_flat_features or len(attributes) + len(known) > room:
        attributes = feature_map(attributes, settings.max_span_bytes)
    extra.update(attribution_attributes(known, redaction.attributions, room - len(attributes)))
    attributes.update(extra)
    return attributes


def add_outputs(emitter: Emitter, call: Call, attributes: Attributes) -> None:
    """Add id, class, score, scores and value of a call of one row."""
    class_ = None
    if call.class_ is not None:
        limit = emitter.settings.max_string_chars
        class_ = text_of(single(call.class_, PREDICTION_CLASS), limit, PREDICTION_CLASS)
        if class_ is not None:
            attributes[PREDICTION_CLASS] = class_
    score = None
    if call.score is not None:
        score = number_of(single(call.score, PREDICTION_SCORE), PREDICTION_SCORE)
    if call.scores:
        scores = {
            name: amount
            for name, values in class_columns(call.scores)
            if (amount := number_of(single(values, PREDICTION_SCORES), PREDICTION_SCORES)) is not None
        }
        attributes[PREDICTION_SCORES] = {**scores}
        score = row_score(scores, class_, emitter.positive_class, emitter.task) if score is None else score
    if score is not None:
        attributes[PREDICTION_SCORE] = score
    if call.value is not None:
        value = number_of(single(call.value, PREDICTION_VALUE), PREDICTION_VALUE)
        if value is not None:
            attributes[PREDICTION_VALUE] = value
    if call.id_given is not None:
        identity = safe_identifier(single(call.id_given, PREDICTION_ID))
        if identity:
            attributes[PREDICTION_ID] = identity


def safe_identifier(value: object) -> str | None:
    """:func:`~.encode.scalar.identifier`, with what has no text reported once and dropped."""
    try:
        return identifier(value)
    except UnsupportedValueError as error:
        report(f"unsupported {PREDICTION_ID}", "%s: %s; dropped", PREDICTION_ID, error)
        return None


def table_payloads(emitter: Emitter, call: Call, rows: Rows, default_id: str) -> Iterator[Attributes]:
    """The attributes of each span of a call of many rows, first to last."""
    total = rows.number or 0
    if total == 0:
        nothing: Attributes = {PREDICTION_ROWS: 0}
        return iter([nothing])
    fields = [*_feature_fields(emitter, rows), *_segment_fields(emitter, call, rows)]
    fields += _output_fields(emitter, call, rows)
    base, own = default_id, True
    if call.id_given is not None:
        if is_column(flatten(call.id_given)):
            fields.append(Field(PREDICTION_ID, call.id_given, "id"))
        else:
            base, own = safe_identifier(call.id_given) or default_id, False
    table = Table(total, fields, dict(class_columns(call.scores or {})), base, own)
    return payloads(table, emitter.limits)


def _feature_fields(emitter: Emitter, rows: Rows) -> Iterator[Field]:
    columns = rows.columns or {}
    if len(columns) > MAX_FEATURES:
        report("columns over limit", "%d columns, the limit is %d; others are dropped", len(columns), MAX_FEATURES)
    for name, cells in islice(columns.items(), MAX_FEATURES):
        route = emitter.redaction.features[name]
        if route is not None:
            yield Field(route[0], cells, "feature", route[1])


def _segment_fields(emitter: Emitter, call: Call, rows: Rows) -> Iterable[Field]:
    columns = rows.columns or {}
    fields: dict[str, Field] = {}
    for name in emitter.segment_names:
        route = emitter.redaction.taken_segments[name]
        if route is not None and name in columns:
            fields[route[0]] = Field(route[0], columns[name], "text", route[1])
    for name, cells in (call.segments or _NO_FEATURES).items():
        route = emitter.redaction.segments[name]
        if route is not None and cells is not None:
            fields[route[0]] = Field(route[0], cells, "text", route[1])
    return fields.values()


def _output_fields(emitter: Emitter, call: Call, rows: Rows) -> Iterator[Field]:
    outputs: tuple[tuple[str, object, Kind], ...] = (
        (PREDICTION_CLASS, call.class_, "text"),
        (PREDICTION_SCORE, call.score, "number"),
        (PREDICTION_VALUE, call.value, "number"),
    )
    for attribute, cells, kind in outputs:
        if cells is None:
            continue
        if is_column(flatten(cells)):
            yield Field(attribute, cells, kind)
        else:
            misfit(attribute, 1, rows.number or 0)
    if call.attributions is not None:
        known = _attributions(call.attributions, rows.columns or {})
        for name, cells in (known.columns or {}).items():
            route = emitter.redaction.attributions[name]
            if route is not None:
                yield Field(route[0], cells, "number")


def choose_score(emitter: Emitter, call: Call, rows: int) -> None:
    """Where only the probabilities of all classes were recorded for many rows, choose each row's score from them."""
    if call.score is None and call.scores:
        scores = dict(class_columns(call.scores))
        call.score = column_score(scores, flatten(call.class_), emitter.positive_class, emitter.task, rows)


def class_columns(scores: Mapping[Any, object]) -> Iterator[tuple[str, object]]:
    """Class texts with what belongs to them; a class without a text is left out."""
    if len(scores) > MAX_CLASSES:
        report("classes over limit", "%d classes, the limit is %d; others are dropped", len(scores), MAX_CLASSES)
    for class_, values in islice(scores.items(), MAX_CLASSES):
        name = clean_key(text_of(class_, 256, PREDICTION_SCORES))
        if name is not None and class_ is not None:
            yield name, values


def _attributions(attributions: object, features: Mapping[Any, object]) -> Rows:
    """Attributions as a row or columns; arrays are in the order of the features."""
    try:
        return read(attributions, [str(name) for name in features])
    except UnsupportedValueError as error:
        report("attributions", "attributions are not captured: %s", error)
        return NO_ROWS


def mapping(value: object, what: str) -> Mapping[Any, object] | None:
    """The mapping itself; None, and a report, for anything else."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, object]", value)
    report(f"no mapping {what}", "%s must be a mapping by name, not %s; dropped", what, type(value).__name__)
    return None


def event_time(time_ns: object) -> int | None:
    """A time that a span can hold (Unix nanoseconds); None, and a report, for anything else: now is used then.

    >>> event_time(1_700_000_000_000_000_000)
    1700000000000000000
    """
    plain = getattr(time_ns, "item", lambda: time_ns)()
    if isinstance(plain, int) and 0 < plain <= INT64_MAX:
        return plain
    report("time_ns", "time_ns must be Unix nanoseconds from 1 to 2⁶³ − 1; now is used instead")
    return None


def single(output: object, attribute: str) -> object:
    """The only cell of an output of a call of one row; None, and a report, where there are more or none."""
    if type(output) in PLAIN:
        return output
    output = flatten(output)
    if not is_column(output):
        return output
    cells = items(output)
    if len(cells) != 1:
        misfit(attribute, len(cells), 1)
        return None
    return cells[0]
