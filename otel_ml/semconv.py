"""Every name, unit and closed set that crosses the wire; no other module may spell one out.

Attribute and metric names follow OpenTelemetry's naming rules under ``ml.``; names that end in ``.`` are
templates that take a key (``ml.feature.`` + ``age``). See ``docs/semantic-conventions.md`` for their meaning.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
"""Schema of the standard attributes beside ours; it allows remapping once a standard for predictive models exists."""

INSTRUMENTATION_SCOPE: Final = "otel_ml"
PROCESSOR_SCOPE: Final = "otel_ml.collector_processor"
"""Scope of everything that the processor derives; a request that sends it back is refused as a loop."""

Task = Literal["binary_classification", "multiclass_classification", "regression"]
Role = Literal["champion", "challenger", "shadow"]
ColumnRole = Literal["feature", "prediction", "score", "label"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
ROLES: Final[tuple[Role, ...]] = get_args(Role)
COLUMN_ROLES: Final[tuple[ColumnRole, ...]] = get_args(ColumnRole)

# --- spans and log records -----------------------------------------------------------------------------------
SPAN_PREDICT: Final = "predict"
"""Span name is ``predict {ml.model.name}``."""
SPAN_LABEL: Final = "label"
"""Span name is ``label {ml.model.name}``."""
EVENT_LABEL: Final = "ml.label"
"""``event_name`` of a label that arrives as a log record."""
EVENT_ALERT: Final = "ml.alert"
"""``event_name`` of an alert that the service sends as a log record."""

# --- attributes of a prediction ------------------------------------------------------------------------------
MODEL_NAME: Final = "ml.model.name"
MODEL_VERSION: Final = "ml.model.version"
MODEL_TASK: Final = "ml.model.task"
MODEL_ROLE: Final = "ml.model.role"
MODEL_POSITIVE_CLASS: Final = "ml.model.positive_class"
MODEL_THRESHOLD: Final = "ml.model.threshold"
FRAMEWORK_NAME: Final = "ml.framework.name"
PREDICTION_ID: Final = "ml.prediction.id"
PREDICTION_CLASS: Final = "ml.prediction.class"
PREDICTION_SCORE: Final = "ml.prediction.score"
PREDICTION_SCORES: Final = "ml.prediction.scores"
PREDICTION_VALUE: Final = "ml.prediction.value"
PREDICTION_ROWS: Final = "ml.prediction.rows"
FEATURE: Final = "ml.feature."
FEATURES: Final = "ml.features"
FEATURES_WITHHELD: Final = "ml.features.withheld"
"""The features that the sender keeps back, separated by commas: their cells are not missing."""
WITHHELD_ALL: Final = "*"
"""Every feature that is not sent."""
SEGMENT: Final = "ml.segment."
ATTRIBUTION: Final = "ml.attribution."
BATCH: Final = "ml.batch"
BATCH_ID: Final = "ml.batch.id"
"""What the ids of a call of many rows begin with: row ``i`` has ``{ml.batch.id}:{i}``."""
BATCH_COLUMNS: Final = "ml.batch.columns"
BATCH_PREVIEW: Final = "ml.batch.preview"
"""Names of the columns, and the first rows as text: for people, not for the service."""
ERROR_TYPE: Final = "error.type"
TRACE_SAMPLED: Final = "ml.trace.sampled"
"""False on a span that was sent for its prediction or label although its trace is not sampled."""

# --- attributes of a label -----------------------------------------------------------------------------------
LABEL_CLASS: Final = "ml.label.class"
LABEL_VALUE: Final = "ml.label.value"

# --- metrics of the instrumentation (section 3 of the contract) ----------------------------------------------
METRIC_PREDICTION_DURATION: Final = "ml.prediction.duration"
METRIC_PREDICTION_ROWS: Final = "ml.prediction.rows"
METRIC_PREDICTION_SCORE: Final = "ml.prediction.score"
METRIC_FEATURE_OBSERVATIONS: Final = "ml.feature.observations"
FEATURE_NAME: Final = "ml.feature.name"
FEATURE_OTHER: Final = "ml.feature.other"
"""The second feature of a pair."""
FEATURE_BUCKET: Final = "ml.feature.bucket"
BUCKET_MISSING: Final = "missing"
BUCKET_OTHER: Final = "other"

# --- metrics that the processor derives (section 4) ----------------------------------------------------------
WINDOW_ROWS: Final = "ml.window.rows"
WINDOW_LABELS: Final = "ml.window.labels"
LABELS_COVERAGE: Final = "ml.labels.coverage"
COHORT_END: Final = "ml.cohort.end"
COHORT_COVERAGE: Final = "ml.cohort.coverage"
LABELS_DELAY: Final = "ml.labels.delay"
DRIFT_SCORE: Final = "ml.drift.score"
DRIFT_THRESHOLD: Final = "ml.drift.threshold"
DRIFT_P_VALUE: Final = "ml.drift.p_value"
DRIFT_BREACHED: Final = "ml.drift.breached"
DRIFT_DRIFTED: Final = "ml.drift.drifted"
DRIFT_SHARE: Final = "ml.drift.share"
QUALITY_MISSING: Final = "ml.quality.missing"
QUALITY_MISSING_INCREASE: Final = "ml.quality.missing_increase"
QUALITY_MISSING_RISE: Final = "ml.quality.missing_rise"
QUALITY_MISSING_SHIFT: Final = "ml.quality.missing_shift"
QUALITY_GONE: Final = "ml.quality.gone"
QUALITY_ERROR_RATE: Final = "ml.quality.error_rate"
QUALITY_OUT_OF_RANGE: Final = "ml.quality.out_of_range"
QUALITY_UNSEEN: Final = "ml.quality.unseen"
QUALITY_WRONG_TYPE: Final = "ml.quality.wrong_type"
PERFORMANCE: Final = "ml.performance."
"""Template: ``ml.performance.accuracy``, …; the performance monitor holds the list."""
PERFORMANCE_DROP: Final = "ml.performance.drop"
PERFORMANCE_CERTAIN_DROP: Final = "ml.performance.certain_drop"
CONCEPT_DETECTIONS: Final = "ml.concept.detections"
MULTIVARIATE_PAIR: Final = "ml.multivariate.pair"
MULTIVARIATE_CORRELATION: Final = "ml.multivariate.correlation"
MULTIVARIATE_CHANGED: Final = "ml.multivariate.changed"
LATENCY_P50: Final = "ml.latency.p50"
LATENCY_P95: Final = "ml.latency.p95"
LATENCY_P99: Final = "ml.latency.p99"
PREDICTIONS: Final = "ml.predictions"

DRIFT_METHOD: Final = "ml.drift.method"
COLUMN_ROLE: Final = "ml.column.role"
SEGMENT_NAME: Final = "ml.segment.name"
SEGMENT_VALUE: Final = "ml.segment.value"
PERFORMANCE_SOURCE: Final = "ml.performance.source"
PERFORMANCE_AVERAGE: Final = "ml.performance.average"
PERFORMANCE_METRIC: Final = "ml.performance.metric"
"""The metric that ``ml.performance.drop`` is about: the last part of its name."""
PERFORMANCE_CLASS: Final = "ml.performance.class"
PERFORMANCE_AT: Final = "ml.performance.at"
"""The share of rows, those with the highest scores, that ``ml.performance.lift`` is about."""
CONCEPT_DETECTOR: Final = "ml.concept.detector"
SOURCE_LABELS: Final = "labels"
SOURCE_ESTIMATED: Final = "estimated"
SOURCE_RESTATED: Final = "restated"

# --- attributes of an alert, beside the model's (section 7) ----------------------------------------------------
ALERT_NAME: Final = "ml.alert.name"
ALERT_STATE: Final = "ml.alert.state"
ALERT_REASON: Final = "ml.alert.reason"
ALERT_SEVERITY: Final = "ml.alert.severity"
ALERT_METRIC: Final = "ml.alert.metric"
ALERT_VALUE: Final = "ml.alert.value"
ALERT_THRESHOLD: Final = "ml.alert.threshold"
ALERT_CONDITION: Final = "ml.alert.condition"
ALERT_SERIES_COUNT: Final = "ml.alert.series.count"
ALERT_SERIES: Final = "ml.alert.series"
ALERT_SUMMARY: Final = "ml.alert.summary"
ALERT_BOARD: Final = "ml.alert.board"
ALERT_TRACES: Final = "ml.alert.traces"
ALERT_RUNBOOK: Final = "ml.alert.runbook"
ALERT_STARTED: Final = "ml.alert.started"

# --- units (UCUM) --------------------------------------------------------------------------------------------
UNIT_RATIO: Final = "1"
UNIT_SECOND: Final = "s"
UNIT_ROW: Final = "{row}"
UNIT_LABEL: Final = "{label}"
UNIT_SCORE: Final = "{score}"
UNIT_ALARM: Final = "{alarm}"
UNIT_BREACH: Final = "{breach}"
UNIT_PAIR: Final = "{pair}"
UNIT_PREDICTION: Final = "{prediction}"
UNIT_OBSERVATION: Final = "{observation}"
UNIT_VALUE: Final = "{unit}"
"""Unit of a regression's errors: that of the predicted value."""
