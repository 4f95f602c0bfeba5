"""What survives a restart: panes, watermarks, learned references, grown tables, predictions that wait for labels.

Counters restart at zero, as Prometheus expects of a new process. A learned reference is in the snapshot, and so are the
rows of a model that is still learning one. Saved windows are restored only if they still mean the same: when a
reference file has other columns or bins, or the settings that a reference was learned with have changed, the model's
windows and its pending predictions are dropped, counted and logged, and the model starts over. When only the setting of
the windows themselves has changed, the reference and the pending predictions stay.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from collector_processor.alerts.alerting import Alerting
from collector_processor.columns.batch import ModelKey
from collector_processor.columns.classes import canonical_predictions
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.fold import restore_folds, saved_folds
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.classes import adopt, check_change, report_guess, set_of_predicted
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.score_words import set_guessed_wrong
from collector_processor.pipeline.settings import ModelConfig
from collector_processor.pipeline.watched import GUESSED, GUESSED_WRONG, OF_PREDICTED, Model, Watch, window_policy
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.fits.registry import fit_digests
from collector_processor.reference.learning_rows import batches_from_state, batches_state
from collector_processor.reference.profile import Reference
from collector_processor.reference.respelled import respelled_pairs
from collector_processor.service.state_0_1_0 import state_of_0_1_0
from collector_processor.statistics.classes import decision_threshold
from collector_processor.statistics.outcomes import SCORE_SUMS
from collector_processor.statistics.schema import Categories, Schema
from collector_processor.storage.instance_id import keep_instance_id
from collector_processor.storage.lock import DirectoryLock
from collector_processor.storage.snapshot import FORMAT, Snapshot, load, save
from collector_processor.window.cohorts import Cohorts
from collector_processor.window.former_panes import with_classes
from collector_processor.window.windows import ModelWindows
from otel_ml.classes import canonical_class, spellings

_NAME: Final = "state"
_TABLES: Final = ("categories", "classes", "groups")
_MISFITS: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)
"""What reading raises for a state that is intact but did not come from this service."""
_log = logging.getLogger(__name__)


class StateStore:
    """One service's state in one directory, locked from :meth:`open` to :meth:`close`."""

    def __init__(self, directory: Path, telemetry: Telemetry, instance_id: str = "") -> None:
        self._directory = directory
        self._instance_id = instance_id
        self._telemetry = telemetry
        self._lock = DirectoryLock(directory)

    def open(self) -> None:
        """Lock the directory, and keep the service's id in it.

        Raises :class:`.StorageError` when another service has it or it cannot be used.
        """
        self._lock.acquire()
        if self._instance_id:
            keep_instance_id(self._directory, self._instance_id)

    def close(self) -> None:
        """Release the directory."""
        self._lock.release()

    def save(self, pipeline: Pipeline, alerting: Alerting | None = None) -> None:
        """Write the state of the pipeline and the alerts; the old file stays until the new one is complete."""
        save(self._directory, _NAME, state_of(pipeline, alerting))

    def restore(self, pipeline: Pipeline, now_ns: int, alerting: Alerting | None = None) -> None:
        """Restore the pipeline from the last snapshot; do nothing without one."""
        snapshot = load(self._directory, _NAME, self._telemetry)
        if snapshot is None:
            return
        StateReader(self._telemetry).restore(snapshot, pipeline, now_ns, alerting)


def state_of(pipeline: Pipeline, alerting: Alerting | None = None) -> dict[str, Any]:
    """Return the state of the pipeline and the alerts: JSON with arrays in it."""
    state = {
        "models": [_saved(model, model.key.name not in pipeline.references) for model in pipeline.models.values()],
        "join": pipeline.join.state(),
        "senders": pipeline.senders.state(),
    }
    if alerting is not None:
        state["alerts"] = alerting.state()
    return state


class StateReader:
    """Restores a state into a pipeline that was just created; what does not fit is dropped, counted and logged."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def restore(self, snapshot: Snapshot, pipeline: Pipeline, now_ns: int, alerting: Alerting | None = None) -> None:
        """Restore a snapshot."""
        try:
            state = snapshot.state if snapshot.format == FORMAT else state_of_0_1_0(snapshot.state)
            models: list[Any] = list(state["models"])
            pipeline.join = self._join(state["join"], pipeline)
        except _MISFITS as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.error("the saved state cannot be used; all models start over: %r", error)
            return
        for entry in models:
            self._restore_or_forget(pipeline, entry, now_ns)
        if "senders" in state:  # not before version 0.2
            self._restore_senders(pipeline, state["senders"])
        if alerting is not None and "alerts" in state:
            self._restore_alerts(alerting, state["alerts"], now_ns)
        _log.info("state restored: %d models, %d predictions kept for their labels", len(models), len(pipeline.join))

    def _join(self, saved: Any, pipeline: Pipeline) -> LabelJoin:
        labels = pipeline.config.labels
        return LabelJoin.from_state(saved, wait_ns=labels.wait, capacity=labels.capacity, telemetry=self._telemetry)

    def _restore_or_forget(self, pipeline: Pipeline, entry: Any, now_ns: int) -> None:
        key = None
        try:
            key = _key(entry)
            self._restore_model(pipeline, key, entry, now_ns)
        except _MISFITS as error:
            if key is not None:
                pipeline.join.forget(key)
            too_many = isinstance(error, _NoRoomError)
            self._telemetry.dropped(("state", "limit") if too_many else ("state", "does_not_fit"), 1)
            _log.warning("model '%s': its saved windows were dropped, and it starts over: %s", key, error)

    def _restore_senders(self, pipeline: Pipeline, saved: Any) -> None:
        try:
            pipeline.senders.restore(saved)
        except _MISFITS as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("what senders have counted so far is a new baseline: %s", error)

    def _restore_alerts(self, alerting: Alerting, saved: Any, now_ns: int) -> None:
        try:
            alerting.restore(saved, now_ns)
        except ValueError as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("%s; alerts start over", error)

    def _restore_model(self, pipeline: Pipeline, key: ModelKey, entry: Any, now_ns: int) -> None:
        model = pipeline.model(key, now_ns)
        if model is None:
            raise _NoRoomError(f"limits.models is {pipeline.config.limits.models}")
        if "windows" not in entry:
            for batch in batches_from_state(entry["learning"]):
                pipeline.add_rows(model, canonical_predictions(batch), now_ns)
            return
        reference = _reference(pipeline, model, entry)
        if entry["learned"]:
            self._telemetry.learning.labels(str(key)).set(1.0)
        schema = _grown(reference.schema, entry["tables"])
        _check_fits(reference, entry)
        adopt(model, schema)
        decided_now = _restore_classes(model, schema, entry.get("classes", {}))
        folds: Any = entry.get("sequential", {})
        if not isinstance(folds, dict):
            raise ValueError("the states of its monitors are not a mapping")
        policy = window_policy(model.settings.window or pipeline.config.window)
        panes, lost = with_classes(entry["panes"])
        if lost:
            self._telemetry.dropped(("state", "does_not_fit"), lost)
            _log.warning(
                "model '%s': the performance of %d saved panes is left out: an earlier version counted all classes "
                "beyond limits.classes as one",
                key,
                lost,
            )
        try:
            windows = ModelWindows.from_state(key, schema, policy, self._telemetry, entry["windows"], panes, now_ns)
        except ValueError as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("%s; its saved windows were dropped, but its reference was kept", error)
            windows = ModelWindows(key, schema, policy, self._telemetry)
        watch = pipeline.begin(model, reference)
        cohorts = None if watch.cohorts is None else watch.cohorts.with_schema(schema)
        watch = model.watch = replace(watch, windows=windows, cohorts=cohorts)
        if cohorts is not None and "cohorts" in entry:
            self._restore_cohorts(key, cohorts, entry["cohorts"])
        watch.arrivals.restore(entry.get("arrivals"))
        if decided_now:
            watch.decide(schema.positive_class, SCORE_SUMS)
        if watch.first_labels is not None and "first_labels" in entry and not decided_now:
            self._restore_first_labels(watch, entry["first_labels"])
        for problem in restore_folds(watch.folds, reference, cast("dict[str, Any]", folds), windows.not_before_ns):
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning(
                "model '%s': the state of a monitor was dropped, and the monitor starts over: %s", key, problem
            )

    def _restore_cohorts(self, key: ModelKey, cohorts: Cohorts, saved: Any) -> None:
        try:
            cohorts.restore(saved)
        except _MISFITS as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("model '%s': performance by the time of prediction starts over: %s", key, error)

    def _restore_first_labels(self, watch: Watch, saved: Any) -> None:
        if watch.first_labels is None:
            return
        try:
            watch.first_labels.restore(watch.reference, watch.windows.schema, saved)
        except _MISFITS as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning(
                "model '%s': its performance is learned again from the next labels: %s", watch.windows.key, error
            )


def _restore_classes(model: Model, schema: Schema, saved: Mapping[str, Any]) -> bool:
    """Restore what was decided while the model was served; version 0.1.0 did not save which classes were predicted.

    Return whether the configuration now has a positive class for windows that were counted without one.
    """
    positive, threshold = saved.get("positive", ""), saved.get("threshold")
    if positive and not schema.positive_class:
        schema.decide(str(positive))
    counted = saved.get("counted", schema.positive_class)
    if counted and counted != schema.positive_class:
        raise ValueError("its positive class changed since its windows were counted")
    if threshold is not None and schema.threshold is None:
        schema.set_threshold(float(threshold))
    if "decided_by" in saved:  # not before version 0.2
        check_change(model, float(saved["decided_by"]), decision_threshold(schema))
    model.predicted = dict.fromkeys(map(str, saved.get("predicted", schema.classes.names(0))))
    model.labeled = dict.fromkeys(map(str, saved.get("labeled", ())))
    model.tentative = bool(saved.get("tentative")) and not model.settings.positive_class
    model.scored = True
    if saved.get("score_of_predicted"):
        set_of_predicted(model, True)  # until many rows show the opposite
    if saved.get("guessed") and not model.settings.positive_class:
        report_guess(model, schema.positive_class, dict.fromkeys((*model.predicted, *model.labeled)))
        set_guessed_wrong(model, bool(saved.get("guessed_wrong")))  # until labels show the opposite
    return bool(schema.positive_class) and not counted


class _NoRoomError(ValueError):
    """A snapshot holds more models than the configuration allows."""


def _key(entry: Any) -> ModelKey:
    name, version = entry["name"], entry["version"]
    if not isinstance(name, str) or not isinstance(version, str):
        raise ValueError(f"{[name, version]!r} is not a model version")  # the error is in a file, not in a caller
    return ModelKey(name, version)


def _saved(model: Model, learned: bool) -> dict[str, Any]:
    """Return one model as JSON with arrays in it; while it is learning, it has rows instead of windows."""
    entry: dict[str, Any] = {"name": model.key.name, "version": model.key.version, "learned": learned}
    if model.watch is None:
        return {**entry, "learning": batches_state([] if model.learner is None else model.learner.batches)}
    windows, reference = model.watch.windows, model.watch.reference
    entry |= {
        "windows": windows.state(),
        "panes": windows.arrays(),
        "sequential": saved_folds(model.watch.folds, reference),
        "tables": {name: _pairs(getattr(windows.schema, name)) for name in _TABLES},
        "meaning": _meaning(reference.schema),
        "fits": reference.prepared(_fits),
        "arrivals": model.watch.arrivals.state(),
        "classes": {
            "positive": "" if model.settings.positive_class else windows.schema.positive_class,
            "counted": windows.schema.positive_class,
            "decided_by": decision_threshold(windows.schema),
            "threshold": None if model.threshold_given() else windows.schema.threshold,
            "predicted": [*model.predicted],
            "labeled": [*model.labeled],
            "tentative": model.tentative,
            "score_of_predicted": OF_PREDICTED in model.problems,
            "guessed": GUESSED in model.problems,
            "guessed_wrong": GUESSED_WRONG in model.problems,
        },
    }
    if model.watch.cohorts is not None:
        entry["cohorts"] = model.watch.cohorts.state()
    if model.watch.first_labels is not None:
        entry["first_labels"] = model.watch.first_labels.state()
    if learned:
        entry |= {"settings": _learned_with(model.settings), "reference": reference_text(reference)}
    return entry


def _reference(pipeline: Pipeline, model: Model, entry: Any) -> Reference:
    """Return the reference that the saved windows were counted with; raise ``ValueError`` if it has changed."""
    given = pipeline.references.get(model.key.name)
    if given is not None:
        if entry["learned"]:
            raise ValueError("its reference was learned when it was saved and is a file now")
        if entry["meaning"] not in _meanings(given.schema):
            raise ValueError("its reference file has other columns or bins now")
        return given
    if not entry["learned"]:
        raise ValueError("its reference file is no longer configured")
    then, now = entry["settings"], _learned_with(model.settings)
    then = {**then, "positive_class": canonical_class(then["positive_class"])}
    changed = [name for name, value in now.items() if then.get(name) != value]
    if changed:
        raise ValueError(f"{', '.join(changed)} changed since its reference was learned")
    return parse_reference(entry["reference"], "the snapshot")


def _check_fits(reference: Reference, entry: Any) -> None:
    """Raise ``ValueError`` if windows were counted in the cells of other fits: columns and bins may still be equal."""
    saved = cast("dict[str, Any]", {} if entry["learned"] else entry.get("fits", {}))  # 0.1.0 did not save them
    if any(saved.get(name, digest) != digest for name, digest in reference.prepared(_fits).items()):
        raise ValueError("its reference file was built again, from other rows or labels")


def _fits(reference: Reference) -> dict[str, str]:
    return fit_digests(reference.schema)


def _learned_with(settings: ModelConfig) -> dict[str, Any]:
    """Return the settings that a learned reference depends on."""
    return {
        "task": settings.task,
        "positive_class": settings.positive_class,
        "segments": [*settings.segments],
        "categorical": [*settings.categorical],
    }


def _meanings(schema: Schema) -> set[str]:
    """Return the digests that a schema may have had, before its positive class had one spelling."""
    return {_meaning(replace(schema, positive_class=spelling)) for spelling in spellings(schema.positive_class)}


def _meaning(schema: Schema) -> str:
    """Return a digest of what a pane's vectors mean, except tables: schemas with the same digest can share panes."""
    columns = [[(spec.role, spec.name) for spec in part] for part in (schema.numeric, schema.categorical)]
    words = json.dumps([schema.task, schema.positive_class, columns, schema.groups.columns])
    return hashlib.blake2b(schema.edges.astype("<f8").tobytes() + words.encode(), digest_size=16).hexdigest()


def _pairs(table: Categories) -> Any:
    return [[column, category] for column, category in table.pairs()]


def _grown(schema: Schema, tables: Mapping[str, list[tuple[int, str]]]) -> Schema:
    """Return the schema with its grown tables, which must begin with what the reference has."""
    tables_by_name: dict[str, Categories] = {}
    for name in _TABLES:
        known: Categories = getattr(schema, name)
        pairs = [(int(column), str(category)) for column, category in tables[name]]
        if name == "classes":
            pairs = [(column, canonical_class(category)) for column, category in pairs]
        elif name == "categories":
            pairs = respelled_pairs(schema, pairs)
        if len(set(pairs)) < len(pairs):
            raise ValueError("it has several spellings of one class")
        if pairs[: len(known.pairs())] != known.pairs():
            raise ValueError(f"its reference has other {name} now")
        tables_by_name[name] = known.with_pairs(pairs)
    return replace(schema, **tables_by_name, known=len(schema.categories))
