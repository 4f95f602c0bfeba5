"""Copy the state of every model from the pipeline to the board, in the thread that owns the pipeline."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final

from collector_processor.alerts.alerting import Alerting
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.estimated_errors import without_losses
from collector_processor.monitors.estimated_performance import without_estimate
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.watched import Model
from collector_processor.reference.learn import Learner
from collector_processor.reference.profile import Reference
from collector_processor.service.unable import unable
from collector_processor.status.board import Board
from collector_processor.status.newest import Newest
from collector_processor.status.state import FiringAlert, Learning, ModelState, Phase, ServiceState
from otel_ml import semconv

INTERVAL_NS: Final = 10**9
"""How often the state is renewed when nothing was measured."""
_SCORES: Final = frozenset(
    {
        semconv.DRIFT_SCORE,
        semconv.DRIFT_BREACHED,
        semconv.DRIFT_DRIFTED,
        semconv.DRIFT_SHARE,
        semconv.DRIFT_WEIGHTED_SHARE,
    }
)
"""What a rule judges that finds drift at once."""
_log = logging.getLogger(__name__)


class Observer:
    """Renews the board's state: immediately with new measurements, otherwise once a second."""

    def __init__(self, board: Board, pipeline: Pipeline, alerting: Alerting | None, telemetry: Telemetry) -> None:
        self._board = board
        self._pipeline = pipeline
        self._alerting = alerting
        self._newest = Newest(pipeline.config.limits.series, telemetry)
        self._unable: dict[ModelKey, tuple[Reference, tuple[tuple[str, str], ...]]] = {}

    def look(self, measurements: Sequence[Measurement], now_ns: int) -> None:
        """Renew the state if there are measurements or an interval has passed."""
        if not measurements and 0 <= now_ns - self._board.state.time_ns < INTERVAL_NS:
            return
        models = self._pipeline.models
        self._newest.take(measurements)
        self._newest.forget_all_but(models)
        for key in self._unable.keys() - models.keys():
            del self._unable[key]
        states = {key: self._state(model) for key, model in models.items()}
        self._board.state = ServiceState(now_ns, MappingProxyType(states), tuple(self._firing()))

    def _state(self, model: Model) -> ModelState:
        watch, learner, join = model.watch, model.learner, self._pipeline.join
        measurements, window = self._newest.of(model.key)
        filled = None if watch is None else watch.windows.filled
        phase: Phase = "learning" if watch is None else "counting" if window is None else "measured"
        schema = None if watch is None else watch.windows.schema
        return ModelState(
            model.key,
            phase,
            reference="" if watch is None else watch.reference.source,
            task=(model.settings.task or "") if schema is None else schema.task,
            positive_class=model.settings.positive_class if schema is None else schema.positive_class,
            threshold=None if schema is None or schema.threshold != schema.threshold else schema.threshold,
            last_seen_ns=model.last_seen_ns,
            predictions=model.counter.total,
            late=model.late,
            waiting=join.waiting(model.key),
            joined=join.joined(model.key.name),
            learning=None if learner is None else _learning(learner),
            filling=None if filled is None else Learning(*filled),
            few_rows="" if watch is None else watch.few_rows.text,
            window=window,
            problems=tuple(model.problems.values()),
            measurements=measurements,
            unable=() if watch is None or self._alerting is None else self._unable_rules(model.key, watch.compared),
            first_labels=None
            if watch is None or watch.first_labels is None
            else Learning(int(watch.first_labels.labels), watch.first_labels.wanted),
            without_estimate="" if watch is None else _without_estimate(watch.reference),
            slow_alarms="" if watch is None else self._slow_alarms(model, watch.single_calls.text),
        )

    def _slow_alarms(self, model: Model, text: str) -> str:
        """Return why alarms are slow, unless a rule on scores is on; log it once."""
        if not text or self._alerting is None:
            return ""
        for book in self._alerting.engine.books.values():
            names = dict(book.rule.where).get(semconv.MODEL_NAME, ())
            if book.rule.measurement in _SCORES and (not names or model.key.name in names):
                return ""
        if "slow_alarms" not in model.logged:
            model.logged.add("slow_alarms")
            _log.warning("model '%s': %s", model.key, text)
        return text

    def _unable_rules(self, key: ModelKey, reference: Reference) -> tuple[tuple[str, str], ...]:
        """Return the rules that cannot fire for a model, each with its reason; log those that are new."""
        known = self._unable.get(key)
        if known is not None and known[0] is reference:
            return known[1]
        rules = [book.rule for book in self._alerting.engine.books.values()] if self._alerting else []
        reasons = ((rule.name, unable(rule, key.name, self._pipeline.config, reference)) for rule in rules)
        found = tuple((rule, reason) for rule, reason in reasons if reason)
        for rule, reason in found:
            if known is None or (rule, reason) not in known[1]:
                _log.info("model '%s': the alert rule %s cannot fire: %s", key, rule, reason)
        self._unable[key] = reference, found
        return found

    def _firing(self) -> Iterator[FiringAlert]:
        """Yield the alerts for which a notice was sent, so not the silenced ones."""
        for group in () if self._alerting is None else self._alerting.engine.groups.values():
            if group.notified_ns is not None:
                rule = group.rule
                yield FiringAlert(group.model, rule.name, rule.severity, group.started_ns, len(group.firing))


def _without_estimate(reference: Reference) -> str:
    """Return why performance is not estimated, of either task; empty if it is."""
    return reference.prepared(without_estimate) or reference.prepared(without_losses)


def _learning(learner: Learner) -> Learning:
    return Learning(
        learner.rows, learner.wanted, learner.progress, learner.least, learner.span_ns, learner.span_wanted_ns
    )
