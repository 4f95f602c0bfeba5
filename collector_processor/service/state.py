"""What survives a restart: panes, watermarks, learned references, grown tables, predictions that wait for labels.

Counters start anew, as Prometheus expects of a new process. A learned reference is in the snapshot, and so are the rows
of a model that is still learning one. Saved windows come back only while they mean the same: when a reference file has
other columns or bins, or the settings that a reference was learned with have changed, the model's windows and
its pending predictions are dropped, counted and told, and it starts afresh. When only the windows' own setting has
changed, reference and pending predictions stay.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from collector_processor.alerts.alerting import Alerting
from collector_processor.columns.batch import ModelKey
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.fold import restore_folds, saved_folds
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import ModelConfig
from collector_processor.pipeline.watched import Model, begin, window_policy
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.kept import batch_arrays, batches_from_arrays
from collector_processor.reference.profile import Reference
from collector_processor.statistics.schema import Categories, Schema
from collector_processor.storage.lock import DirectoryLock
from collector_processor.storage.snapshot import Array, Json, load, save
from collector_processor.window.windows import ModelWindows

_NAME: Final = "state"
_TABLES: Final = ("categories", "classes", "groups")
_PANES, _REFERENCE, _KEPT, _FOLDS = "panes.", "reference", "kept.", "sequential."
_log = logging.getLogger(__name__)


class StateStore:
    """One service's state in one directory, locked from :meth:`open` to :meth:`close`."""

    def __init__(self, directory: Path, telemetry: Telemetry) -> None:
        self._directory = directory
        self._telemetry = telemetry
        self._lock = DirectoryLock(directory)

    def open(self) -> None:
        """Takes the directory; raises :class:`.StorageError` when another service has it or it cannot be used."""
        self._lock.acquire()

    def close(self) -> None:
        """Lets go of the directory."""
        self._lock.release()

    def save(self, pipeline: Pipeline, alerting: Alerting | None = None) -> None:
        """Writes the state of the pipeline and the alerts; what was there stays until the new file is whole."""
        models: list[Json] = []
        arrays: dict[str, Array] = {f"join.{name}": values for name, values in pipeline.join.arrays().items()}
        for model in pipeline.models.values():
            learned = model.key.name not in pipeline.references
            entry, own = _saved(model, learned)
            arrays |= {f"model.{len(models)}.{name}": values for name, values in own.items()}
            models.append({"name": model.key.name, "version": model.key.version, "learned": learned, **entry})
        header: dict[str, Json] = {"models": models}
        if alerting is not None:
            header["alerts"] = alerting.state()
        save(self._directory, _NAME, header, arrays)

    def restore(self, pipeline: Pipeline, now_ns: int, alerting: Alerting | None = None) -> None:
        """Brings the pipeline to where the last snapshot was; does nothing without one."""
        snapshot = load(self._directory, _NAME, self._telemetry)
        if snapshot is None:
            return
        labels = pipeline.config.labels
        pipeline.join = LabelJoin.from_arrays(
            _under("join.", snapshot.arrays), wait_ns=labels.wait, capacity=labels.capacity, telemetry=self._telemetry
        )
        saved: Any = snapshot.header["models"]
        for position, entry in enumerate(saved):
            key = ModelKey(entry["name"], entry["version"])
            try:
                self._restore_model(pipeline, key, entry, _under(f"model.{position}.", snapshot.arrays), now_ns)
            except (ValueError, KeyError) as error:
                pipeline.join.forget(key)
                too_many = isinstance(error, _NoRoomError)
                self._telemetry.dropped(("state", "limit") if too_many else ("state", "does_not_fit"), 1)
                _log.warning("model '%s': its saved windows were dropped and it starts afresh: %s", key, error)
        if alerting is not None and "alerts" in snapshot.header:
            self._restore_alerts(alerting, snapshot.header["alerts"], now_ns)
        _log.info("state restored: %d models, %d predictions wait for labels", len(saved), len(pipeline.join))

    def _restore_alerts(self, alerting: Alerting, saved: Json, now_ns: int) -> None:
        try:
            alerting.restore(saved, now_ns)
        except ValueError as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("%s; alerts start afresh", error)

    def _restore_model(
        self, pipeline: Pipeline, key: ModelKey, entry: Any, own: Mapping[str, Array], now_ns: int
    ) -> None:
        model = pipeline.model(key, now_ns)
        if model is None:
            raise _NoRoomError(f"limits.models is {pipeline.config.limits.models}")
        if "windows" not in entry:
            for batch in batches_from_arrays(key, _under(_KEPT, own)):
                pipeline.add_rows(model, batch, now_ns)
            return
        reference = _reference(pipeline, model, entry, own)
        schema = _grown(reference.schema, entry["tables"])
        policy = window_policy(model.settings.window or pipeline.config.window)
        try:
            windows = ModelWindows.from_state(
                key, schema, policy, self._telemetry, entry["windows"], _under(_PANES, own), now_ns
            )
        except ValueError as error:
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("%s; its saved windows were dropped, its reference was not", error)
            windows = ModelWindows(key, schema, policy, self._telemetry)
        watch = model.watch = replace(begin(model, reference, pipeline.config, self._telemetry), windows=windows)
        heads, states = entry.get("sequential", {}), _under(_FOLDS, own)
        for problem in restore_folds(watch.folds, reference, heads, states, windows.not_before_ns):
            self._telemetry.dropped(("state", "does_not_fit"), 1)
            _log.warning("model '%s': the state of a monitor was dropped and it starts afresh: %s", key, problem)


class _NoRoomError(ValueError):
    """A snapshot holds more models than the configuration allows."""


def _saved(model: Model, learned: bool) -> tuple[dict[str, Json], dict[str, Array]]:
    """One model as a header's entry and arrays; one that is still learning has rows instead of windows."""
    if model.watch is None:
        kept = {} if model.learner is None else batch_arrays(model.learner.batches)
        return {}, {f"{_KEPT}{name}": values for name, values in kept.items()}
    windows, reference = model.watch.windows, model.watch.reference
    arrays = {f"{_PANES}{name}": values for name, values in windows.arrays().items()}
    heads, states = saved_folds(model.watch.folds, reference)
    arrays |= {f"{_FOLDS}{name}": values for name, values in states.items()}
    entry: dict[str, Json] = {
        "windows": windows.state(),
        "sequential": heads,
        "tables": {name: _pairs(getattr(windows.schema, name)) for name in _TABLES},
        "meaning": _meaning(reference.schema),
    }
    if learned:
        entry["settings"] = _learned_with(model.settings)
        arrays[_REFERENCE] = np.frombuffer(reference_text(reference).encode(), np.uint8)
    return entry, arrays


def _reference(pipeline: Pipeline, model: Model, entry: Any, own: Mapping[str, Array]) -> Reference:
    """The reference that the saved windows were counted with; ``ValueError`` when it is another one now."""
    given = pipeline.references.get(model.key.name)
    if given is not None:
        if entry["learned"]:
            raise ValueError("its reference was learned then and is a file now")
        if entry["meaning"] != _meaning(given.schema):
            raise ValueError("its reference file has other columns or bins now")
        return given
    if not entry["learned"]:
        raise ValueError("its reference file is no longer configured")
    then, now = entry["settings"], _learned_with(model.settings)
    changed = [name for name, value in now.items() if then.get(name) != value]
    if changed:
        raise ValueError(f"{', '.join(changed)} changed since its reference was learned")
    return parse_reference(own[_REFERENCE].tobytes(), "the snapshot")


def _learned_with(settings: ModelConfig) -> dict[str, Json]:
    """The settings that a learned reference depends on."""
    return {
        "task": settings.task,
        "positive_class": settings.positive_class,
        "segments": [*settings.segments],
        "categorical": [*settings.categorical],
    }


def _meaning(schema: Schema) -> str:
    """A digest of what a pane's vectors mean, tables aside: two schemas with the same one can share panes."""
    columns = [[(spec.role, spec.name) for spec in part] for part in (schema.numeric, schema.categorical)]
    words = json.dumps([schema.task, schema.positive_class, columns, schema.groups.columns])
    return hashlib.blake2b(schema.edges.astype("<f8").tobytes() + words.encode(), digest_size=16).hexdigest()


def _pairs(table: Categories) -> Json:
    return [[column, category] for column, category in table.pairs()]


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _grown(schema: Schema, tables: Mapping[str, list[tuple[int, str]]]) -> Schema:
    """The schema with its tables as they had grown; they must begin with what the reference has."""
    found: dict[str, Categories] = {}
    for name in _TABLES:
        own: Categories = getattr(schema, name)
        pairs = [(int(column), str(category)) for column, category in tables[name]]
        if pairs[: len(own.pairs())] != own.pairs():
            raise ValueError(f"its reference has other {name} now")
        found[name] = Categories.from_pairs(own.columns, own.limit, pairs)
    return replace(schema, **found)
