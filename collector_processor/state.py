"""What survives a restart: panes, watermarks, learned references, grown tables, predictions that wait for labels.

Counters start anew, as Prometheus expects of a new process. A learned reference is in the snapshot; a model with
a reference file is restored only while that file still means the same: otherwise its panes and its pending
predictions are dropped, counted and told, and it starts from the file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from collector_processor.decode.batch import ModelKey
from collector_processor.labels.join import LabelJoin
from collector_processor.pipeline import Pipeline
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.profile import Reference
from collector_processor.statistics.schema import Categories, Schema
from collector_processor.storage.lock import DirectoryLock
from collector_processor.storage.snapshot import Array, Json, load, save
from collector_processor.telemetry import Telemetry
from collector_processor.watch import Watch, begin, window_policy
from collector_processor.window.windows import ModelWindows

_NAME: Final = "state"
_TABLES: Final = ("categories", "classes", "groups")
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

    def save(self, pipeline: Pipeline) -> None:
        """Writes the pipeline's state; what was there stays until the new file is whole."""
        models: list[Json] = []
        arrays: dict[str, Array] = {f"join.{name}": values for name, values in pipeline.join.arrays().items()}
        for position, model in enumerate(pipeline.models.values()):
            if model.watch is None:
                continue
            windows, learned = model.watch.windows, model.key.name not in pipeline.references
            models.append(
                {
                    "position": position,
                    "name": model.key.name,
                    "version": model.key.version,
                    "learned": learned,
                    "windows": windows.state(),
                    "tables": {name: _pairs(getattr(windows.schema, name)) for name in _TABLES},
                }
            )
            arrays |= {f"model.{position}.{name}": values for name, values in windows.arrays().items()}
            if learned:
                text = reference_text(model.watch.reference).encode()
                arrays[f"reference.{position}"] = np.frombuffer(text, np.uint8)
        save(self._directory, _NAME, {"models": models}, arrays)

    def restore(self, pipeline: Pipeline, now_ns: int) -> None:
        """Brings the pipeline to where the last snapshot was; does nothing without one."""
        snapshot = load(self._directory, _NAME, self._telemetry)
        if snapshot is None:
            return
        config, arrays = pipeline.config, snapshot.arrays
        pipeline.join = LabelJoin.from_arrays(
            _under("join.", arrays),
            wait_ns=config.labels.wait,
            capacity=config.labels.capacity,
            telemetry=self._telemetry,
        )
        saved: Any = snapshot.header["models"]
        for entry in saved:
            key = ModelKey(entry["name"], entry["version"])
            try:
                self._restore_model(pipeline, key, entry, arrays, now_ns)
            except (ValueError, KeyError) as error:
                pipeline.join.forget(key)
                self._telemetry.dropped("state", "does_not_fit", 1)
                _log.warning("model '%s': its saved windows were dropped and it starts afresh: %s", key, error)
        _log.info("state restored: %d models, %d predictions wait for labels", len(saved), len(pipeline.join))

    def _restore_model(
        self, pipeline: Pipeline, key: ModelKey, entry: Any, arrays: Mapping[str, Array], now_ns: int
    ) -> None:
        model = pipeline.model(key, now_ns)
        if model is None:
            raise ValueError(f"limits.models is {pipeline.config.limits.models}")
        reference = self._reference(pipeline, key, entry, arrays)
        schema = _grown(reference.schema, entry["tables"])
        window = model.settings.window or pipeline.config.window
        windows = ModelWindows.from_state(
            key,
            schema,
            window_policy(window),
            self._telemetry,
            entry["windows"],
            _under(f"model.{entry['position']}.", arrays),
            now_ns,
        )
        watch: Watch = begin(model, reference, pipeline.config, self._telemetry)
        model.watch = replace(watch, windows=windows)

    def _reference(self, pipeline: Pipeline, key: ModelKey, entry: Any, arrays: Mapping[str, Array]) -> Reference:
        """The reference that the saved windows were counted with, or the file's that must match them."""
        given = pipeline.references.get(key.name)
        if given is not None and not entry["learned"]:
            return given
        if given is not None:
            raise ValueError("it was learned then and has a reference file now")
        if not entry["learned"]:
            raise ValueError("its reference file is no longer configured")
        return parse_reference(arrays[f"reference.{entry['position']}"].tobytes(), "the snapshot")


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
