"""One monitored model version: learn or load its reference, count its rows into windows, evaluate what closes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from collector_processor.columns.batch import ModelKey, PredictionBatch
from collector_processor.monitors import configured_monitors
from collector_processor.monitors.alarms import AlarmMonitor
from collector_processor.monitors.base import LeavesOut, Measurement, Monitor, Sequential, TakesCounts
from collector_processor.monitors.exemplars import with_exemplars
from collector_processor.monitors.fold import Fold
from collector_processor.monitors.further_performance import FurtherPerformanceSettings
from collector_processor.monitors.interval_monitor import Looks
from collector_processor.monitors.left_out import LeavesOutOfWindows
from collector_processor.monitors.performance import DROP_LABELS, LeastLabels
from collector_processor.monitors.predictions import PredictionCounter
from collector_processor.monitors.restated import restated
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline import misfits
from collector_processor.pipeline.few_rows import FewRows
from collector_processor.pipeline.first_labels import FirstLabels
from collector_processor.pipeline.settings import LearnConfig, MlMonitor, ModelConfig, WindowConfig
from collector_processor.pipeline.single_calls import SingleCalls
from collector_processor.reference.learn import Learner
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import listed
from collector_processor.statistics.accumulate import withheld_columns
from collector_processor.statistics.calls import call_weights
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.estimates import estimates
from collector_processor.statistics.groups import segment_groups
from collector_processor.statistics.observed import Layout, layout_of, with_observed
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.sample import Arrivals
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from collector_processor.window.cohorts import Cohorts, cohort_width_ns
from collector_processor.window.policy import WindowPolicy
from collector_processor.window.windows import ModelWindows
from otel_ml import semconv

OF_PREDICTED: Final = "score_of_predicted"
"""The problem of a binary model whose scores are probabilities of the predicted class."""
GUESSED: Final = "positive_guessed"
"""The problem of a binary model whose positive class is the last of its classes by name."""
GUESSED_WRONG: Final = "positive_guessed_wrong"
"""The problem of a binary model whose scores are most likely about the class that is not taken for positive."""
_OF_WINDOW: Final = "window_"
"""Begins the kinds of problems that are about the newest window."""
_OF_SCORES: Final = ("roc_auc", "log_loss", "brier", "calibration_error")
_log = logging.getLogger(__name__)


def window_policy(config: WindowConfig) -> WindowPolicy:
    """Return the window rules of a configuration."""
    return WindowPolicy(
        size_ns=config.size.ns,
        every_ns=config.step.ns,
        rows=config.size.rows,
        every_rows=config.step.rows,
        allowed_lateness_ns=config.allowed_lateness,
    )


def learner_of(config: LearnConfig) -> Learner:
    """Return the learner of a configuration, without rows."""
    return Learner(rows=config.learn, span_ns=config.learn_for)


@dataclass(frozen=True, slots=True)
class Watch:
    """What a model with a reference has: its windows, their monitors, and the monitors that step over closed panes."""

    reference: Reference
    windows: ModelWindows
    monitors: tuple[Monitor, ...]
    telemetry: Telemetry
    arrivals: Arrivals
    """Numbers the rows, for what looks at a sample of them."""
    folds: tuple[Fold, ...] = ()
    first_labels: FirstLabels | None = None
    """Learns the performance to compare with; None if the reference has enough labels."""
    few_rows: FewRows = field(default_factory=FewRows)
    single_calls: SingleCalls = field(default_factory=SingleCalls)
    cohorts: Cohorts | None = None
    """Outcomes by the time of prediction."""
    min_labels: int = 0
    looks: Looks = True
    """Whether restated figures have intervals, and of which kind."""

    @property
    def compared(self) -> Reference:
        """What windows are compared with: the reference, with the performance of the first labels if it was learned."""
        learned = None if self.first_labels is None else self.first_labels.reference
        return self.reference if learned is None else learned

    def add(self, batch: PredictionBatch, now_ns: int) -> int:
        """Add predictions to the windows and count them for their cohorts; return how many were late."""
        prepare(self.windows.schema, batch, self.arrivals, now_ns + self.windows.policy.max_clock_ahead_ns)
        if self.cohorts is not None:
            self.cohorts.add(batch, now_ns + self.windows.policy.max_clock_ahead_ns)
        return self.windows.add(batch, now_ns)

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Add joined labels to the windows and cohorts, and to the first labels while they are learned from."""
        self.windows.add_outcomes(outcomes)
        for fold in self.folds:
            with survived(f"monitor_{fold.monitor.name}", self.telemetry):
                fold.feed(outcomes, self.windows.schema, self.reference)
        if self.cohorts is not None:
            self.cohorts.add_outcomes(outcomes)
        learning = self.first_labels
        if learning is not None and learning.add(self.reference, self.windows.schema, outcomes):
            _log.info(
                "model '%s': performance learned from the first %.0f labels: %s",
                self.windows.key,
                learning.labels,
                learning.figures() or "nothing that can be compared",
            )

    def decide(self, positive_class: str, wrong: Collection[str]) -> None:
        """Set the positive class; sums that took another one for it begin again at zero."""
        self.windows.schema.decide(positive_class)
        if wrong:
            self.windows.forget(wrong)
            if self.cohorts is not None:
                self.cohorts.clear(wrong)
        if self.first_labels is not None:
            self.first_labels.start_over()

    def evaluate(self, window: Window) -> list[Measurement]:
        """Return everything that the monitors measure; one that fails is counted, and the others continue."""
        measurements: list[Measurement] = []
        reference, counted = self.compared, with_counts(window, self.reference)
        with self.telemetry.evaluate_seconds.time():
            for monitor in self.monitors:
                with survived(f"monitor_{monitor.name}", self.telemetry):
                    measurements += monitor.evaluate(counted if takes_counts(monitor) else window, reference)
            pane = window.newest_pane() if self.folds else None
            if pane is not None:
                with survived("single_calls", self.telemetry):
                    self.single_calls.see(pane)
                for fold in self.folds:
                    with survived(f"monitor_{fold.monitor.name}", self.telemetry):
                        measurements += fold.step(pane, self.reference)
            with survived("exemplars", self.telemetry):
                measurements = with_exemplars(measurements, window, reference)
            with survived("monitor_restated", self.telemetry):
                cohort = None if self.cohorts is None else self.cohorts.settled(self.min_labels, window.end_ns)
                if cohort is not None:
                    measurements += restated(cohort, self.min_labels, window.end_ns, looks=self.looks)
        return measurements


@dataclass(slots=True)
class Model:
    """One model version: counted from its first row, monitored from the moment it has a reference."""

    key: ModelKey
    settings: ModelConfig
    counter: PredictionCounter
    last_seen_ns: int
    counted_ns: int = 0
    """When its prediction counts were last reported."""
    learner: Learner | None = None
    watch: Watch | None = None
    late: int = 0
    """Rows that arrived after their window had closed."""
    problems: dict[str, str] = field(default_factory=dict[str, str])
    """What is wrong with what came, by kind, in words for the model's state."""
    logged: set[str] = field(default_factory=set[str])
    predicted: dict[str, None] = field(default_factory=dict[str, None])
    """Classes that predictions had, as classes or as names of scores."""
    labeled: dict[str, None] = field(default_factory=dict[str, None])
    unmatched: dict[str, None] = field(default_factory=dict[str, None])
    """Classes that only labels had."""
    spelled: bool = False
    """Whether it is known what the labels that wait mean by their spelling."""
    tentative: bool = False
    """Whether the positive class is the opposite of the only class that came."""
    scored: bool = False
    """Whether rows came that a threshold may have decided."""
    counted: set[str] = field(default_factory=set[str])
    """Features that senders count, so that it does not matter that they withhold them."""

    def learn(self, config: LearnConfig) -> None:
        """Learn the reference from the next rows, and forget what the one before led to."""
        self.learner, self.watch = learner_of(config), None
        for known in (self.problems, self.logged, self.predicted, self.labeled, self.unmatched, self.counted):
            known.clear()
        self.tentative = self.spelled = self.scored = False

    def report(self, kind: str, message: str, *arguments: object) -> None:
        """Log the first problem of a kind, and keep it in the model's state; counters show how many there were."""
        if kind not in self.problems:
            self.problems[kind] = message % arguments
        if kind not in self.logged:
            self.logged.add(kind)
            _log.warning("model '%s': %s", self.key, self.problems[kind])

    def check(self, batch: PredictionBatch, telemetry: Telemetry) -> None:
        """Count, log and keep what a batch says that the reference contradicts."""
        if self.watch is not None:
            self.check_features(batch)
            self.contradicted(misfits.of_batch(self.watch.reference.schema, batch), telemetry)

    def evaluate(self, window: Window) -> list[Measurement]:
        """Return the measurements of a closed window; count, log and keep what its reference contradicts."""
        if self.watch is None:
            return []
        counted = with_counts(window, self.watch.reference)
        if self.watch.few_rows.see(counted) and "few_rows" not in self.logged:
            self.logged.add("few_rows")
            _log.warning("model '%s': %s", self.key, self.watch.few_rows.text)
        with survived("misfits", self.watch.telemetry):
            self.contradicted(misfits.of_window(counted, self.watch.reference), self.watch.telemetry)
        measured = self.watch.evaluate(window)
        self.left_out(self.watch, window, measured)
        kept = measured
        if OF_PREDICTED in self.problems:
            kept = [each for each in measured if not of_scores(each) and not is_expected(each)]
        elif "scored_class" in self.problems:
            kept = [each for each in measured if not is_expected(each)]
        self.watch.telemetry.dropped(("figures", "wrong_scores"), len(measured) - len(kept))
        return kept

    def left_out(self, watch: Watch, window: Window, measured: Sequence[Measurement]) -> None:
        """Count, log once and keep, until the next window, what monitors leave out of a window."""
        found: dict[str, str] = {}
        for monitor in watch.monitors:
            if isinstance(monitor, LeavesOutOfWindows):
                with survived(f"monitor_{monitor.name}", watch.telemetry):
                    seen = with_counts(window, watch.reference) if takes_counts(monitor) else window
                    for reason, figures, text in monitor.left_out_of(seen, watch.compared, measured):
                        watch.telemetry.dropped(("figures", reason), figures)
                        found[f"{_OF_WINDOW}{monitor.name}_{reason}"] = text
        for kind in [kind for kind in self.problems if kind.startswith(_OF_WINDOW)]:
            del self.problems[kind]
        for kind, text in found.items():
            self.report(kind, "%s", text)

    def contradicted(self, found: Iterable[tuple[misfits.Misfit, str]], telemetry: Telemetry) -> None:
        """Count, log and keep contradictions."""
        for kind, text in found:
            telemetry.misfits.labels(kind).inc()
            self.report(kind, "%s", text)

    def threshold_given(self) -> bool:
        """Return whether configuration or reference have a threshold, which counts more than the sender's."""
        reference = None if self.watch is None else self.watch.reference.schema.threshold
        return self.settings.threshold is not None or reference is not None

    def check_features(self, batch: PredictionBatch) -> None:
        """Log once which features the sender withholds, and which the reference does not have.

        The latter is usually another model's reference.
        """
        if self.watch is None:
            return
        if batch.withheld and "withheld" not in self.problems:
            columns = withheld_columns(self.watch.windows.schema, batch)
            withheld = [name for _, name in columns if name not in self.counted]
            if withheld:
                text = "features that a sender withholds have no figures, unless it counts them (docs/privacy.md): %s"
                self.report("withheld", text, listed(withheld, 10))
        if "unknown_feature" in self.problems:
            return
        known = [column.name for column in self.watch.windows.schema.columns if column.role == "feature"]
        unknown = sorted(set(batch.features).difference(known))
        if unknown:
            self.report(
                "unknown_feature",
                "reference has no feature %s; it has: %s",
                listed([repr(name) for name in unknown], 10),
                listed(known, 10) or "none",
            )


def layout_of_reference(reference: Reference) -> Layout:
    """Return by which buckets senders count the columns of a reference."""
    return layout_of(reference.schema)


def takes_counts(monitor: object) -> bool:
    """Return whether a monitor gets windows to which counts of senders are added."""
    return isinstance(monitor, TakesCounts) and monitor.takes_counts


def with_counts(window: Window, reference: Reference) -> Window:
    """Return the window with what senders counted themselves; the window itself if nothing was."""
    pane = with_observed(window.pane, reference.prepared(layout_of_reference))
    return window if pane is window.pane else replace(window, pane=pane)


def of_scores(measurement: Measurement) -> bool:
    """Return whether a figure of performance is about the probability of the positive class."""
    metric = dict(measurement.attributes).get(semconv.PERFORMANCE_METRIC, measurement.name)
    return metric.removeprefix(semconv.PERFORMANCE) in _OF_SCORES


def is_expected(measurement: Measurement) -> bool:
    """Return whether a figure rests on what the scores of the reference meant."""
    source = dict(measurement.attributes).get(semconv.PERFORMANCE_SOURCE)
    expected = source in (semconv.SOURCE_ESTIMATED, semconv.SOURCE_COMBINED)
    return expected or measurement.name in (semconv.CONCEPT_DIVERGENCE, semconv.CONCEPT_DIVERGENCE_ERROR)


def prepare(schema: Schema, batch: PredictionBatch, arrivals: Arrivals, latest_ns: int) -> None:
    """Derive what must not depend on where windows cut a batch into panes."""
    arrivals.number(batch, latest_ns)
    segment_groups(schema, batch)
    score_cells(batch, schema.positive_class)
    estimates(schema, batch)
    call_weights(batch)


def begin(model: Model, reference: Reference, config: MlMonitor, telemetry: Telemetry) -> Watch:
    """Begin to monitor a model with a reference; return the watch, which the model keeps from then on."""
    window = model.settings.window or config.window
    least = window if isinstance(window, LeastLabels) else LeastLabels()
    needed = DROP_LABELS * least.min_labels
    has_labels = len(reference.pane.outcomes.labels) > 0 and reference.pane.outcomes.labels[0] >= needed
    configured = list(configured_monitors(lambda name: config.section(name, model.settings)))
    policy, schema = window_policy(window), reference.schema.fork()
    shown = config.section("performance", model.settings)
    watch = Watch(
        reference=reference,
        windows=ModelWindows(model.key, schema, policy, telemetry),
        monitors=tuple(monitor for monitor in configured if not isinstance(monitor, Sequential)),
        telemetry=telemetry,
        arrivals=Arrivals(policy.pane_rows),
        folds=tuple(Fold.begun(monitor, reference) for monitor in configured if isinstance(monitor, Sequential)),
        first_labels=None if has_labels else FirstLabels(max(config.reference.labels, needed)),
        few_rows=FewRows.configured(window, config.section("drift", model.settings)),
        single_calls=SingleCalls(any(isinstance(each, AlarmMonitor) and each.raises for each in configured)),
        cohorts=Cohorts(model.key, schema, cohort_width_ns(policy, config.labels.wait)),
        min_labels=least.min_labels,
        looks=shown.intervals if isinstance(shown, FurtherPerformanceSettings) else True,
    )
    model.watch, model.learner = watch, None
    model.contradicted(misfits.of_reference(reference), telemetry)
    for monitor in configured:
        for number, note in enumerate(monitor.left_out(reference)) if isinstance(monitor, LeavesOut) else ():
            model.report(f"left_out_{monitor.name}_{number}", "%s", note)
    for number, note in enumerate(reference.notes):
        model.report(f"reference_{number}", "%s", note)
    return watch
