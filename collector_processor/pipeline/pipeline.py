"""The order of things: decoded requests in, measurements out.

    journal ─▶ predictions ─▶ reference (loaded, or learned first) ─▶ panes ─▶ windows ─▶ monitors ─▶ measurements
            └▶ labels ─▶ join with the predictions that wait ─▶ outcomes ─▶ panes ┘

One thread runs it, so nothing here locks. Models are bounded in number: a new one takes the place of the longest idle
one if that has nothing left in its windows, else its rows are dropped and counted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from collector_processor.columns.batch import Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import concatenate
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.predictions import PredictionCounter
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.gather import gather
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.pipeline.watched import Model, Watch, begin
from collector_processor.reference.learn import Learner
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import score_cells
from collector_processor.statistics.groups import segment_groups
from collector_processor.window.windows import ModelWindows

COUNT_NS: Final = 30 * 10**9
"""How often the predictions so far are told, windows or not: whoever watches for silence must not wait for a window."""
COUNTED_FOR_NS: Final = 3600 * 10**9
"""For so long after its last prediction a model's count is told: a retired one must not be watched for ever."""
_log = logging.getLogger(__name__)


class Pipeline:
    """Statistics of all models. ``references`` are the loaded profiles by model name.

    Feed it with :meth:`process` and call :meth:`tick` often: it closes what is due and gives the measurements.
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
        self._full_told = False
        self._none_idle_until_ns = 0

    def process(self, requests: Sequence[Decoded], now_ns: int) -> None:
        """Counts everything of some requests, which came in this order."""
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

    def tick(self, now_ns: int) -> list[Measurement]:
        """Closes every window that is due at ``now_ns`` and returns what the monitors say of it, and the counts."""
        found: list[Measurement] = []
        for model in self.models.values():
            if model.watch is not None:
                with survived("evaluate", self.telemetry):
                    found.extend(self._close(model, model.watch, now_ns))
        self.join.expire(now_ns)
        return found

    def _pane_ns(self, name: str) -> int:
        """How wide the panes of a model are; −1 where they are cut by rows, and each batch must find its own."""
        settings = self.config.models.get(name)
        window = self.config.window if settings is None or settings.window is None else settings.window
        return window.step.ns or -1

    def _close(self, model: Model, watch: Watch, now_ns: int) -> Iterator[Measurement]:
        # A long gap may leave more windows than fit in memory at once; they come a part at a time.
        due = _is_count_due(model, now_ns)
        while windows := watch.windows.close(now_ns):
            due = True
            for window in windows:
                yield from watch.evaluate(window)
                self.telemetry.windows.labels(str(model.key)).inc()
        if due:
            model.counted_ns = now_ns
            yield from model.counter.measurements(now_ns)

    def model(self, key: ModelKey, now_ns: int) -> Model | None:
        """The model version, new if there is room for it."""
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
            begin(model, reference, self.config, self.telemetry)
        else:
            model.learner = Learner(rows=self.config.reference.learn)
            _log.info("model '%s': no reference; learning one from the first %d rows", key, self.config.reference.learn)
        return model

    def add_rows(self, model: Model, batch: PredictionBatch, now_ns: int) -> None:
        """Counts rows into the model's windows, or keeps them while its reference is learned."""
        for ready in self._with_reference(model, batch):
            self._count(model, ready, now_ns)

    def _evict(self, now_ns: int) -> bool:
        """Makes room by forgetting the model whose windows have been empty for the longest; whether there was one."""
        if now_ns <= self._none_idle_until_ns:
            return False
        oldest = min(self.models.values(), key=self._idle_from_ns)
        if now_ns <= self._idle_from_ns(oldest):
            # Until then a flood of new names needs no search each.
            self._none_idle_until_ns = self._idle_from_ns(oldest)
            return False
        key, versions = oldest.key, self._versions[oldest.key.name]
        del self.models[key]
        versions.remove(key)
        if not versions:
            del self._versions[key.name]
        self.join.forget(key)
        for metric in (self.telemetry.rows, self.telemetry.windows):
            with contextlib.suppress(KeyError):
                metric.remove(str(key))
        self.telemetry.evicted("models", "limit", 1)
        _log.warning("model '%s' was forgotten to make room: limits.models is %d", key, self.config.limits.models)
        return True

    def _idle_from_ns(self, model: Model) -> int:
        """When a model has nothing left in its windows, should no more rows come."""
        window = model.settings.window or self.config.window
        return model.last_seen_ns + max(window.size.ns, window.step.ns) + window.allowed_lateness

    def _predictions(self, batch: PredictionBatch, now_ns: int) -> None:
        model = self.model(batch.model, now_ns)
        if model is None:
            self.telemetry.dropped(("models", "limit"), len(batch))
            self._tell_full(batch.model)
            return
        self.telemetry.rows.labels(str(batch.model)).inc(len(batch))
        model.counter.add(batch)
        self.add_rows(model, batch, now_ns)

    def _tell_full(self, key: ModelKey) -> None:
        """Says once that models are left out; the counters tell how many of their rows."""
        if not self._full_told:
            self._full_told = True
            _log.warning(
                "model '%s' is left out, as any further one: limits.models is %d and none of them is idle",
                key,
                self.config.limits.models,
            )

    def _with_reference(self, model: Model, batch: PredictionBatch) -> Iterator[PredictionBatch]:
        """The batches to count now: this one, none while the reference is learned, or all that it was learned from."""
        learner, limits = model.learner, self.config.limits
        if learner is None:
            yield batch
            return
        taken = learner.add(batch)
        if not learner.ready:
            return
        # Should the rows be of no use, the model learns from the next ones instead of keeping these for ever.
        model.learner = Learner(rows=self.config.reference.learn)
        reference = learner.finish(
            model.key.name,
            task=model.settings.task or "",
            positive_class=model.settings.positive_class,
            segments=model.settings.segments,
            categorical=model.settings.categorical,
            max_features=limits.features,
            max_categories=limits.categories,
            max_classes=limits.classes,
            max_segment_values=limits.segment_values,
        )
        begin(model, reference, self.config, self.telemetry)
        _log.info("model '%s': reference learned from %s", model.key, reference.source)
        wanted, found = model.settings.positive_class, reference.schema.positive_class
        if wanted and wanted != found:
            model.warn_once("positive_class", "no positive class %r in what came; taking %r", wanted, found)
        yield from learner.batches
        if not taken:
            yield batch

    def _count(self, model: Model, batch: PredictionBatch, now_ns: int) -> None:
        watch = model.watch
        if watch is None:
            return
        model.check_features(batch)
        windows = watch.windows
        segment_groups(windows.schema, batch)  # of the whole batch, before the windows cut it into panes
        score_cells(batch, windows.schema.positive_class)
        model.late += windows.add(batch, now_ns)
        outcomes = self.join.predictions(model.key, windows.schema, batch, windows.not_before_ns)
        if outcomes is not None:
            windows.add_outcomes(outcomes)

    def _labels(self, batch: LabelBatch) -> None:
        versions: dict[ModelKey, ModelWindows] = {}
        learning = False
        for key in self._versions.get(batch.model_name, ()):
            watch = self.models[key].watch
            if watch is None:
                learning = True
            else:
                versions[key] = watch.windows
        schemas = {key: windows.schema for key, windows in versions.items()}
        not_before = {key: windows.not_before_ns for key, windows in versions.items()}
        for key, outcomes in self.join.labels(batch, schemas, not_before, awaited=learning):
            versions[key].add_outcomes(outcomes)


def _is_count_due(model: Model, now_ns: int) -> bool:
    """Whether the predictions so far are to be told, although no window closes."""
    lately = now_ns - model.last_seen_ns <= COUNTED_FOR_NS
    return lately and not 0 <= now_ns - model.counted_ns < COUNT_NS
