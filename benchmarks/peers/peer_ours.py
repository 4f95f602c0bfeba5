"""otel-ml as a library: a frame becomes columns, columns become a reference or a window, monitors measure it.

Each case but ``all`` derives only the drift that another tool derives; the sums behind it are always all of them.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from protocol import Case, main

from collector_processor.columns.batch import ModelKey, PredictionBatch
from collector_processor.drift import DRIFT_METHODS
from collector_processor.monitors import configured_monitors
from collector_processor.monitors.base import Sequential
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.reference.build import build_reference
from collector_processor.reference.frame import column_cells
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

_NUMERIC, _CATEGORICAL = (
    [method.name for method in DRIFT_METHODS if kind in method.kinds] for kind in ("numeric", "categorical")
)


class Parts:
    """CPU time by what it went into, read after each step."""

    def __init__(self):
        self.cpu_s, self._last = {}, time.process_time()

    def done(self, what):
        now = time.process_time()
        self.cpu_s[what] = self.cpu_s.get(what, 0.0) + now - self._last
        self._last = now


def batch_of(rows, names, side, parts):
    """A frame's columns as predictions: numbers as they are, texts as codes."""
    features = {}
    for name in names:
        features[name] = column_cells(rows[name], name)
        what = "numbers" if features[name].codes is None else "texts"
        parts.done(f"{side}: {what} from the frame")
    size = len(rows)
    batch = PredictionBatch(
        model=ModelKey("model"),
        time_ns=np.zeros(size, np.int64),
        ids=np.zeros((size, 2), np.uint64),
        weights=np.ones(size),
        duration_s=np.full(size, np.nan),
        features=features,
    )
    parts.done(f"{side}: numbers from the frame")
    return batch


def fit(reference, numeric, categorical, *, monitors):
    parts, names = Parts(), [*numeric, *categorical]
    built = build_reference("model", batch_of(reference, names, "fit", parts))
    parts.done("fit: bins and sums")
    return built, names, monitors(), parts


def numbers_only(reference, numeric, categorical, *, monitors):
    return fit(reference, numeric, [], monitors=monitors)


def score(fitted, current):
    reference, names, monitors, before = fitted
    parts = Parts()
    batch = batch_of(current, names, "score", parts)
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    parts.done("score: counting")
    window = Window(batch.model, 0, 1, schema, pane)
    found = [item for monitor in monitors for item in monitor.evaluate(window, reference)]
    parts.done("score: evaluating")
    return found, before.cpu_s | parts.cpu_s


def read(result):
    found, cpu_s = result
    scores = {"measurements": {"all": len(found)}, "cpu_s": cpu_s}
    for item in found:
        attributes = dict(item.attributes)
        if item.name in (semconv.DRIFT_SCORE, semconv.DRIFT_P_VALUE):
            figure = attributes[semconv.DRIFT_METHOD] + ("_p" if item.name == semconv.DRIFT_P_VALUE else "")
            scores.setdefault(figure, {})[attributes[semconv.FEATURE_NAME]] = item.value
    return scores


def everything():
    config = MlMonitor.model_validate({"drift": {"numeric": _NUMERIC, "categorical": _CATEGORICAL}})
    every = configured_monitors(lambda name: config.section(name, ModelConfig()))
    return [monitor for monitor in every if not isinstance(monitor, Sequential)]  # others have no such figures


def drift_by(numeric, categorical):
    return [DriftMonitor(DriftSettings(numeric=numeric, categorical=categorical), LeastRows())]


def drift_case(name, numeric, categorical, how=fit):
    return Case(name, partial(how, monitors=partial(drift_by, numeric, categorical)), score, read)


CASES = [
    Case("all", partial(fit, monitors=everything), score, read),
    drift_case("ks+chi2", ["ks"], ["chi2"]),
    drift_case("js", ["js"], ["js"]),
    drift_case("wasserstein+js", ["wasserstein"], ["js"]),
    drift_case("psi", ["psi"], ["psi"]),
    drift_case("psi of numbers", ["psi"], [], numbers_only),
]

if __name__ == "__main__":
    main(CASES, ["otel-ml", "numpy", "scipy", "pyarrow", "pandas"])
