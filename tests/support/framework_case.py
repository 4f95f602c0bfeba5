"""What the contract tests of frameworks need to know of one: see ``tests/contract/frameworks/test_all.py``.

Each framework has ``tests/unit/otel_ml/frameworks/NAME/case.py`` with ``CASE = Case(...)``. That file imports the
framework inside of its functions only, because the tests instrument before and after the first import. The spans that
its calls emit are in ``spans.json`` beside it; ``OTEL_ML_UPDATE_SPANS=1`` writes the file again.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_ml.encode.reading import CapturedPrediction, read_predictions
from otel_ml.frameworks.framework import FrameworkInstrumentor

if TYPE_CHECKING:  # a test runs without the SDK
    from opentelemetry.sdk.trace import ReadableSpan

FOLDER = Path(__file__).parents[1] / "unit" / "otel_ml" / "frameworks"
SPANS = "spans.json"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/case.py"))

Call = Callable[[Any, Any], Any]
"""``call(model, table)`` is one call of the library or server by the application."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One framework, as an application uses it.

    - ``instrumentor``: the class; ``arguments`` are those of its ``instrument``.
    - ``make``: returns a trained model (or a pair of models, or a server's client), the same each time.
    - ``table``: returns the input of the calls, one to four rows.
    - ``predictions``: calls that are predictions, by name. Each emits what ``spans.json`` says, and has no side effect.
    - ``silent``: calls that are not, by name: training, cross-validation, early stopping, evaluation, margins, leaves.
      They may change the model: each gets a new one.
    - ``errors``: calls that raise, by name. Each leaves one failed prediction.
    - ``cheap``: the call that 8 threads make 1,000 times; else the first of ``predictions``.
    - ``dumps``, ``loads``: how a model is pickled; ``dumps`` is None if it cannot be.
    - ``copies``: further ways to copy a model: ``clone``, save and load, …; ``deepcopy`` is one unless it is replaced.
    - ``packages``: whose modules and classes the instrumentation changes; else ``package``.
    - ``imports_sdk``: the framework itself imports the SDK of OpenTelemetry, so it cannot run without.
    - ``skip``: names of tests that make no sense here, with the reason.
    """

    instrumentor: type[FrameworkInstrumentor[Any]]
    make: Callable[[], Any]
    table: Callable[[], Any]
    predictions: Mapping[str, Call]
    silent: Mapping[str, Call]
    errors: Mapping[str, Call] = field(default_factory=dict[str, Call])
    cheap: Call | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dumps: Callable[[Any], bytes] | None = pickle.dumps
    loads: Callable[[bytes], Any] = pickle.loads
    copies: Mapping[str, Callable[[Any], Any]] = field(default_factory=lambda: {"deepcopy": copy.deepcopy})
    packages: tuple[str, ...] = ()
    imports_sdk: bool = False
    skip: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def package(self) -> str:
        """The package that the application imports."""
        return self.instrumentor.module.partition(".")[0]

    def instrument(self) -> FrameworkInstrumentor[Any]:
        """Instrument the framework, and return what uninstruments it."""
        instrumentor = self.instrumentor()
        instrumentor.instrument(**self.arguments)
        return instrumentor

    def outcomes(self, model: Any) -> dict[str, Any]:
        """Return what the application sees of every call, in a form that can be compared."""
        table = self.table()
        calls = {**self.predictions, **self.errors}
        return {name: outcome(call, model, table) for name, call in calls.items()}


@lru_cache
def load(name: str) -> Case:
    """Return the case of a framework, without importing the framework."""
    path = FOLDER / name / "case.py"
    spec = importlib.util.spec_from_file_location(f"framework_case_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what it defines can be pickled
    spec.loader.exec_module(module)
    return module.CASE


def outcome(call: Call, model: Any, table: Any) -> Any:
    """Return the result and its types, or the exception and where it was raised; and the warnings."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            seen = plain(call(model, table))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            last = traceback.extract_tb(error.__traceback__)[-1]
            seen = (type(error), str(error), last.filename, last.lineno, error.__cause__ is None)
    return seen, [(warning.category, str(warning.message)) for warning in warned]


def plain(value: Any) -> Any:
    """Return a result with its types, so that equal ones compare equal: arrays, frames, mappings, sequences.

    >>> plain({"a": (1, 2.0)}) == plain({"a": (1, 2.0)}), plain(1) == plain(True)
    (True, False)
    """
    if isinstance(value, Mapping):
        return type(value), {str(key): plain(cell) for key, cell in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [plain(cell) for cell in value]
    if hasattr(value, "toarray"):  # a sparse matrix
        return type(value), plain(value.toarray())
    to_list = getattr(value, "tolist", None) or getattr(value, "to_dict", None)
    if callable(to_list):
        return type(value), str(getattr(value, "dtype", "")), repr(to_list())
    return type(value), repr(value)


def spans_of(spans: Iterable[ReadableSpan]) -> list[dict[str, Any]]:
    """Return what spans say, without ids and times, and numbers as far as versions of a library agree on them."""
    return [_span(span) for span in spans]


_OMITTED = {"ml.batch", "ml.batch.id", "ml.batch.preview", "ml.prediction.id"}


def _span(span: ReadableSpan) -> dict[str, Any]:
    attributes = {name: _json(value) for name, value in (span.attributes or {}).items() if name not in _OMITTED}
    seen: dict[str, Any] = {"name": span.name, "attributes": dict(sorted(attributes.items()))}
    if "ml.batch" in (span.attributes or {}):
        seen["rows"] = [_row(row) for row in read_predictions(span)]
    return seen


def _row(row: CapturedPrediction) -> dict[str, Any]:
    """Return one row; the model and the error are attributes of its span."""
    cells = {
        "class": row.class_,
        "score": row.score,
        "value": row.value,
        "scores": row.scores,
        "features": row.features,
        "segments": row.segments,
        "attributions": row.attributions,
    }
    return {name: _json(cell) for name, cell in cells.items() if cell is not None and cell != {}}


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.3g}") if value == value else "NaN"
    if isinstance(value, Mapping):
        return {str(key): _json(cell) for key, cell in sorted(value.items())}
    return [_json(cell) for cell in value] if isinstance(value, (list, tuple)) else value


def snapshot(name: str) -> dict[str, Any]:
    """Return the spans that each prediction call of a framework is to emit."""
    return json.loads((FOLDER / name / SPANS).read_text(encoding="utf-8"))


def write_snapshot(name: str, spans: Mapping[str, Any]) -> None:
    """Write these spans as the ones that the framework is to emit."""
    (FOLDER / name / SPANS).write_text(json.dumps(spans, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


_PYTHON_MAKES = {"__slotnames__", "_abc_impl", "__abstractmethods__", "__annotations_cache__", "__static_attributes__"}


def namespaces(packages: Iterable[str]) -> dict[Any, dict[str, Any]]:
    """Return what every imported module and class of these packages holds, with each object itself."""
    roots = tuple(packages)
    found: dict[Any, dict[str, Any]] = {}
    for name, module in list(sys.modules.items()):
        if module is None or name.partition(".")[0] not in roots:
            continue
        found[module] = dict(vars(module))
        for value in found[module].values():
            if isinstance(value, type) and value.__module__.partition(".")[0] in roots and value not in found:
                found[value] = {key: each for key, each in vars(value).items() if key not in _PYTHON_MAKES}
    return found
