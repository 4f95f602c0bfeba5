"""The order of processing: decoded requests in, measurements out.

    journal ─▶ predictions ─▶ reference (loaded, or learned first) ─▶ panes ─▶ windows ─▶ monitors ─▶ measurements
            └▶ labels ─▶ join with the waiting predictions ─▶ outcomes ─▶ panes ┘

One thread runs it, so nothing here locks. The number of models is bounded: a new model replaces the one that has been
idle longest if that has nothing left in its windows; otherwise its rows are dropped and counted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from collector_processor.columns.batch import Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.columns.classes import canonical_labels, canonical_predictions
from collector_processor.columns.observations import ObservationBatch
from collector_processor.decode import concatenate
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.predictions import PredictionCounter
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.classes import (
    adopt,
    check_figures,
    check_labels,
    decide,
    label_names,
    report_guess,
    understood,
)
from collector_processor.pipeline.few_rows import FEW_REFERENCE_ROWS
from collector_processor.pipeline.gather import gather
from collector_processor.pipeline.label_words import check_cells, renamed, respell
from collector_processor.pipeline.observed import take
from collector_processor.pipeline.score_words import usable
from collector_processor.pipeline.senders import Senders
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.pipeline.watched import Model, Watch, begin, learner_of
from collector_processor.reference.learn import Learner
from collector_processor.reference.profile import Reference
from collector_processor.statistics.parts.observed import Observed
from collector_processor.window.policy import duration_words

COUNT_NS: Final = 30 * 10**9
"""How often prediction counts are reported, windows or not: an alert on silence must not wait for a window."""
COUNTED_FOR_NS: Final = 3600 * 10**9
"""How long after its last prediction a model's count is reported: a retired model must not be watched forever."""
_log = logging.getLogger(__name__)


class Pipeline:
    """Statistics of all models. ``references`` are the loaded profiles by model name.

    Feed it with :meth:`process` and call :meth:`tick` often, which closes windows and returns their measurements.
    """

    def __init__(
        self, config: MlMonitor, references: Mapping[str, Reference], telemetry: Telemetry, start_ns: int
    ) -> None:
        self.config = config
        self.telemetry = telemetry
        self.references = dict(references)
        self.models: dict[ModelKey, Model] = {}
        self._versions: dict[str, list[ModelKey]] = {}
        self.join = LabelJoin(wait_ns=config.labels.wait, capacity=config.labels.capacity, telemetry=telemetry)
        self._start_ns = start_ns
        self.senders = Senders(start_ns)
        self._uncounted: set[ModelKey] = set()
        """Models whose counts were left out, which the log says once."""
        self._full_logged = False
        self._none_idle_until_ns = 0

    def process(self, requests: Sequence[Decoded], now_ns: int) -> None:
        """Count everything in requests, given in the order in which they came."""
        for decoded in requests:
            for reason, count in decoded.dropped.items():
                self.telemetry.dropped(("decode", reason), count)
        # One batch that fails must not take those of other models with it.
        for run in gather(requests, self._pane_ns):
            for batches in run.predictions.values():
                rows = sum(map(len, batches))
                with survived("statistics", self.telemetry, drop=("statistics", "failed"), items=rows):
                    self._predictions(concatenate(batches), now_ns)
            if run.labels:
                labels = sum(map(len, run.labels))
                with survived("labels", self.telemetry, drop=("labels", "failed"), items=labels):
                    self._labels(concatenate(run.labels))
        for decoded in requests:
            for batch in decoded.observations:
                with survived("statistics", self.telemetry, drop=("statistics", "failed"), items=len(batch)):
                    self._observations(batch, now_ns)

    def tick(self, now_ns: int) -> list[Measurement]:
        """Close every window that can close at ``now_ns`` and return what its monitors measure, and the counts."""
        measurements: list[Measurement] = []
        for model in self.models.values():
            with survived("evaluate", self.telemetry):
                measurements.extend(self._close(model, now_ns))
        self.join.expire(now_ns)
        return measurements

    def become(self, other: Pipeline) -> None:
        """Take the settings, models and labels of another pipeline; counts since the start continue."""
        for key, model in self.models.items():
            successor = other.models.get(key)
            if successor is not None:
                successor.counter, successor.counted_ns = model.counter, model.counted_ns
                successor.last_seen_ns, successor.late = model.last_seen_ns, model.late
        other.join.continue_counts(self.join)
        self.config, self.references, self.join = other.config, other.references, other.join
        self.models, self._versions = other.models, other._versions
        self.senders = other.senders
        self._full_logged, self._none_idle_until_ns = False, 0
        self.telemetry.models.set(len(self.models))

    def _pane_ns(self, name: str) -> int:
        """Return the width of a model's panes; −1 where they are cut by rows, and each batch must find its own pane."""
        settings = self.config.models.get(name)
        window = self.config.window if settings is None or settings.window is None else settings.window
        return window.step.ns or -1

    def _close(self, model: Model, now_ns: int) -> Iterator[Measurement]:
        report, watch = _must_report_counts(model, now_ns), model.watch
        # A long gap may leave more windows than fit in memory at once, so they come in parts.
        while watch is not None and (windows := watch.windows.close(now_ns)):
            report = True
            for window in windows:
                measured = model.evaluate(window)
                kept = usable(model, watch, measured)
                check_figures(model, watch, window, measured)
                yield from kept
                self.telemetry.windows.labels(str(model.key)).inc()
                if window.pane.rows[1] > 0 or window.pane.further[Observed].rows[0] > 0:
                    self.telemetry.newest_window.labels(str(model.key)).set(window.end_ns / 1e9)
        if report:
            model.counted_ns = now_ns
            yield from model.counter.measurements(now_ns)

    def model(self, key: ModelKey, now_ns: int) -> Model | None:
        """Return the model version, created if there is room for it; None if there is not."""
        known = self.models.get(key)
        if known is not None:
            known.last_seen_ns = now_ns
            return known
        if len(self.models) >= self.config.limits.models and not self._evict(now_ns):
            return None
        settings = self.config.models.get(key.name, ModelConfig())
        counter = PredictionCounter(key, self._start_ns, self.config.limits.classes)
        model = self.models[key] = Model(key, settings, counter, now_ns, counted_ns=now_ns)
        self._versions.setdefault(key.name, []).append(key)
        self.telemetry.models.set(len(self.models))
        reference = self.references.get(key.name)
        if reference is not None:
            self.begin(model, reference)
        else:
            model.learn(self.config.reference)
        return model

    def relearn(self, name: str, version: str | None = None) -> list[ModelKey]:
        """Forget what was learned of a model, of one version or of all, and learn its reference from the next rows.

        Its windows, its predictions that wait for a label and its problems are forgotten, too. Raises ``KeyError`` for
        a model that is not tracked, and ``ValueError`` for one whose reference is a file.
        """
        keys = [key for key in self._versions.get(name, ()) if version in (None, key.version)]
        if not keys:
            raise KeyError(name)
        if name in self.references:
            raise ValueError(f"the reference of model '{name}' is a file: build it again, and send SIGHUP")
        for key in keys:
            self.models[key].learn(self.config.reference)
            self.join.forget(key)
            self.telemetry.learning.labels(str(key)).set(0.0)
            with contextlib.suppress(KeyError):
                self.telemetry.newest_window.remove(str(key))  # there are no figures until it has learned
            _log.info("model '%s': relearning its reference from the next %d rows", key, self.config.reference.learn)
        return keys

    def begin(self, model: Model, reference: Reference) -> Watch:
        """Begin to monitor a model with a reference, by its configuration."""
        watch = begin(model, reference, self.config, self.telemetry)
        adopt(model, watch.windows.schema)
        rows = int(reference.pane.rows[1])
        if model.key.name not in self.references and rows < min(FEW_REFERENCE_ROWS, self.config.reference.learn):
            model.report(
                "few_reference_rows",
                "its reference was learned from %d rows: thresholds are higher because of that, and small changes do "
                "not count as drift. `otel-ml relearn` learns it from the next rows, `otel-ml reference build` makes "
                "one from a table",
                rows,
            )
        return watch

    def add_rows(self, model: Model, batch: PredictionBatch, now_ns: int) -> None:
        """Count rows into the model's windows, or keep them while its reference is learned."""
        for ready in self._with_reference(model, batch, now_ns):
            self._count(model, ready, now_ns)

    def _evict(self, now_ns: int) -> bool:
        """Make room by removing the model whose windows have been empty longest; return whether there was one."""
        if now_ns <= self._none_idle_until_ns:
            return False
        oldest = min(self.models.values(), key=self._idle_from_ns)
        if now_ns <= self._idle_from_ns(oldest):
            # Until then a flood of new names does not need a search for each.
            self._none_idle_until_ns = self._idle_from_ns(oldest)
            return False
        key, versions = oldest.key, self._versions[oldest.key.name]
        del self.models[key]
        versions.remove(key)
        if not versions:
            del self._versions[key.name]
        self.join.forget(key)
        self.senders.forget(key)
        by_model = (
            self.telemetry.rows,
            self.telemetry.windows,
            self.telemetry.unmatched_labels,
            self.telemetry.newest_window,
            self.telemetry.learning,
        )
        for metric in by_model:
            with contextlib.suppress(KeyError):
                metric.remove(str(key))
        self.telemetry.evicted("models", "limit", 1)
        _log.warning("model '%s' was evicted to make room: limits.models is %d", key, self.config.limits.models)
        return True

    def _idle_from_ns(self, model: Model) -> int:
        """Return when a model's windows will be empty if no more rows come."""
        window = model.settings.window or self.config.window
        return model.last_seen_ns + max(window.size.ns, window.step.ns) + window.allowed_lateness

    def _predictions(self, batch: PredictionBatch, now_ns: int) -> None:
        new = batch.model not in self.models
        model = self.model(batch.model, now_ns)
        if model is None:
            self.telemetry.dropped(("models", "limit"), len(batch))
            self._warn_full(batch.model)
            return
        if new and model.learner is not None:
            _log.info(
                "model '%s': no reference; learning one from the first %s",
                batch.model,
                _first_rows(model.learner),
            )
        self.telemetry.rows.labels(str(batch.model)).inc(len(batch))
        batch = canonical_predictions(batch)
        model.counter.add(batch)
        self.add_rows(model, batch, now_ns)

    def _observations(self, batch: ObservationBatch, now_ns: int) -> None:
        model = self.models.get(batch.model)
        if model is None and not batch.in_span and batch.reference and batch.model.name in self.references:
            model = self.model(batch.model, now_ns)
            if model is None:
                self.telemetry.dropped(("models", "limit"), len(batch))
                self._warn_full(batch.model)
        elif model is None and batch.model not in self._uncounted:
            if len(self._uncounted) < self.config.limits.models:
                self._uncounted.add(batch.model)
            if batch.in_span:
                why = "the application says that the same values leave in spans, and no span has come"
            else:
                why = "counts need a reference file here and in the application"
            _log.warning("model '%s': its counts are left out: %s", batch.model, why)
        if model is not None:
            take(model, batch, self.senders, self.telemetry, now_ns)
        elif not batch.in_span:
            self.telemetry.dropped(("statistics", "observations_refused"), len(batch))

    def _warn_full(self, key: ModelKey) -> None:
        """Log once that models are dropped; the counters show how many of their rows."""
        if not self._full_logged:
            self._full_logged = True
            _log.warning(
                "model '%s' and any other new model are dropped: limits.models is %d and none of those models is idle",
                key,
                self.config.limits.models,
            )

    def _with_reference(self, model: Model, batch: PredictionBatch, now_ns: int) -> Iterator[PredictionBatch]:
        """Yield the batches to count now: this one; none while a reference is learned, then all those learned from."""
        learner, limits = model.learner, self.config.limits
        if learner is None:
            yield batch
            return
        taken = learner.add(batch, now_ns)
        if not learner.ready:
            self.telemetry.learning.labels(str(model.key)).set(learner.progress)
            return
        # If the rows cannot be used, the model learns from the next ones instead of keeping these forever.
        model.learner = learner_of(self.config.reference)
        reference = learner.finish(
            model.key.name,
            task=model.settings.task or "",
            positive_class=model.settings.positive_class,
            threshold=model.settings.threshold,
            segments=model.settings.segments,
            categorical=model.settings.categorical,
            max_features=limits.features,
            max_categories=limits.categories,
            max_classes=limits.classes,
            max_segment_values=limits.segment_values,
        )
        self.begin(model, reference)
        _log.info("model '%s': reference learned from %s", model.key, reference.source)
        self.telemetry.learning.labels(str(model.key)).set(1.0)
        wanted, learned = model.settings.positive_class, reference.schema.positive_class
        if wanted and wanted != learned:
            model.report("positive_class", "no row has the positive class %r; using %r instead", wanted, learned)
        elif learned and not wanted and not batch.positive_class and learned != learner.scored_class:
            report_guess(model, learned, reference.schema.classes.names(0))
        yield from learner.batches
        if not taken:
            yield batch

    def _count(self, model: Model, batch: PredictionBatch, now_ns: int) -> None:
        watch = model.watch
        if watch is None:
            return
        model.check(batch, self.telemetry)
        batch = understood(model, watch, batch, partial(self.join.early_classes, model.key.name))
        model.late += watch.add(batch, now_ns)
        windows = watch.windows
        outcomes = self.join.predictions(model.key, windows.schema, batch, windows.not_before_ns, windows.not_after_ns)
        if outcomes is not None:
            watch.add_outcomes(outcomes)

    def _without_class(self, name: str, labels: int) -> None:
        """Count labels that name no class; log and note it once for each version of the model."""
        self.telemetry.dropped(("labels", "no_class"), labels)
        for key in self._versions.get(name, ()):
            self.models[key].report("no_class", "labels without a class, such as '', 'nan' or 'None', are left out")

    def _labels(self, batch: LabelBatch) -> None:
        batch, without_class = canonical_labels(batch)
        if without_class:
            self._without_class(batch.model_name, without_class)
        versions: dict[ModelKey, Watch] = {}
        learning = False
        for key in self._versions.get(batch.model_name, ()):
            watch = self.models[key].watch
            if watch is None:
                learning = True
            else:
                versions[key] = watch
        classified = {key: watch for key, watch in versions.items() if watch.windows.schema.task != "regression"}
        names = label_names(batch) if classified else {}
        for key, watch in versions.items():
            check_cells(self.models[key], watch, batch, self.telemetry)
        for key, watch in classified.items():
            model = self.models[key]
            respell(model, watch, names, self.telemetry)
            meant = renamed(names, watch.windows.schema.meant)
            decide(model, watch, meant)
            check_labels(model, watch, meant, self.telemetry)
        schemas = {key: watch.windows.schema for key, watch in versions.items()}
        not_before = {key: watch.windows.not_before_ns for key, watch in versions.items()}
        not_after = {key: watch.windows.not_after_ns for key, watch in versions.items()}
        for key, outcomes in self.join.labels(batch, schemas, not_before, not_after, awaited=learning):
            versions[key].add_outcomes(outcomes)


def _must_report_counts(model: Model, now_ns: int) -> bool:
    """Return whether to report the prediction counts although no window closes."""
    lately = now_ns - model.last_seen_ns <= COUNTED_FOR_NS
    return lately and not 0 <= now_ns - model.counted_ns < COUNT_NS


def _first_rows(learner: Learner) -> str:
    """Return how many rows a learner waits for, for the log."""
    rows = f"{learner.wanted} rows"
    if learner.span_wanted_ns is None or learner.least == learner.wanted:
        return rows
    return f"{rows}, or from {learner.least} after {duration_words(learner.span_wanted_ns)}"
