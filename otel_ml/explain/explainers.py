"""Attributions of fitted models, exact and by their library's own method; numpy is needed, and loaded by all of them.

Each returns φ of the model's raw output (log-odds of a boosted classifier, probability of a forest, decision function
of a linear model), for the positive class of two, or for the likeliest class of several.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from otel_ml.classes import canonical_class
from otel_ml.encode.scalar import class_text

Contributions: TypeAlias = Callable[[Any], Any]
"""From a table to φ ``[n, F + 1]`` or ``[n, C, F + 1]``, the last is the constant part."""

_DEPTH: Final = 16
_FUNCTION: Final = "pass a function that returns the attributions of one"
_INSTALL: Final = "attributions of {} need the package shap: pip install shap"


class UnexplainedError(Exception):
    """The model cannot be explained; the message says why."""


class Explanation(NamedTuple):
    """The attributions ``[n, K]`` of some rows, and the names of what they are for."""

    names: tuple[str, ...]
    phi: Any


class Explainer:
    """Explains one model; ``positive`` is the class whose score is reported, by default the second of two.

    ``model`` is a fitted estimator of scikit-learn, XGBoost, LightGBM or CatBoost, a pipeline that ends with one, or a
    function from a table to φ ``[n, K]``. Raises :class:`UnexplainedError` for any other.

    >>> Explainer(lambda table: [[0.5, -0.5]], names=("age", "income"))([[41, 3]])
    Explanation(names=('age', 'income'), phi=array([[ 0.5, -0.5]]))
    """

    def __init__(self, model: Any, names: Sequence[str] | None = None, positive: str | None = None) -> None:
        steps, final = _taken_apart(model)
        self._names = tuple(names) if names is not None else _feature_names(model, final)
        self._as_frame = hasattr(model, "feature_names_in_") or hasattr(final, "feature_names_in_")
        self._as_is = _is_function(final)
        self._mixed = hasattr(final, "get_cat_feature_indices")
        self._transform = steps.transform if steps is not None else None
        self._outer = self._names
        if steps is not None:
            self._names = _names_after(steps, self._names)
        self._contributions = _contributions(final, steps)
        classes = getattr(final, "classes_", None)
        # A booster of a library, which cannot be fitted again, does not say how many classes it has.
        self._outputs = len(classes) if classes is not None else 1 if hasattr(final, "fit") else None
        self._class = 1
        if positive is not None and classes is not None and len(classes) == 2:
            first = class_text(classes.tolist()[0] if hasattr(classes, "tolist") else classes[0])
            self._class = 0 if first is not None and canonical_class(first) == canonical_class(positive) else 1

    def __call__(self, table: Any) -> Explanation:
        """Return the attributions of the rows of a table, or of one row."""
        rows = table if self._as_is else _table(table, self._outer, self._as_frame, self._mixed)
        found = np.asarray(self._contributions(rows if self._transform is None else self._transform(rows)), np.float64)
        if found.ndim == 3:
            if self._outputs not in (None, found.shape[1]):
                raise UnexplainedError(f"it has {found.shape[1]} outputs that are not classes; {_FUNCTION}")
            phi = found[:, self._class] if found.shape[1] == 2 else _likeliest(found)
        else:
            phi = found if self._class else -found
        phi = phi[:, :-1]
        names = self._names
        if names is None or len(names) != phi.shape[1]:
            if isinstance(table, Mapping) and len(table) == phi.shape[1]:
                names = tuple(map(str, table))
            else:
                names = tuple(f"x{place}" for place in range(phi.shape[1]))
        return Explanation(names, phi)


def _likeliest(found: Any) -> Any:
    """Return φ for the class with the largest sum, which is the one that is predicted."""
    return found[np.arange(len(found)), found.sum(axis=2).argmax(axis=1)]


def _layers(model: Any) -> Iterator[Any]:
    for _ in range(_DEPTH):
        yield model
        inner = getattr(model, "best_estimator_", None)
        # A threshold decides the class and leaves the score, and so φ, as it is.
        if inner is None and any(base.__name__ == "BaseThresholdClassifier" for base in type(model).__mro__):
            inner = getattr(model, "estimator_", None) or model.estimator
        if inner is None:
            return
        model = inner


def _taken_apart(model: Any) -> tuple[Any, Any]:
    """Return what transforms the features, None if nothing does, and the model that predicts."""
    *_, model = _layers(model)
    steps = getattr(model, "steps", None)
    if not isinstance(steps, list) or not steps:
        return None, model
    before, final = model[:-1], steps[-1][1]
    inner, final = _taken_apart(final)
    if inner is not None:
        raise UnexplainedError("a pipeline in a pipeline")
    return (before if len(steps) > 1 else None), final


def _feature_names(model: Any, final: Any) -> tuple[str, ...] | None:
    for each in (model, final):
        names = getattr(each, "feature_names_in_", None)
        if names is not None:
            return tuple(map(str, names))
    names = getattr(final, "feature_names_", None) or getattr(final, "feature_names", None)
    if names is None and callable(getattr(final, "feature_name", None)):
        names = final.feature_name()
    for made in ("Column_{}", "{}"):  # LightGBM's and CatBoost's names of the columns of an array
        if not names or list(names) == [made.format(place) for place in range(len(names))]:
            return None
    return tuple(map(str, names))


def _names_after(steps: Any, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    try:
        return tuple(map(str, steps.get_feature_names_out() if names is None else steps.get_feature_names_out(names)))
    except Exception:  # noqa: BLE001 - a transformer of the application may have no names
        return None


def _table(table: Any, names: tuple[str, ...] | None, as_frame: bool, mixed: bool = False) -> Any:
    """Return rows as the model reads them: one row becomes a table of one, mappings become a frame or a matrix.

    A ``mixed`` matrix has categories and numbers as they are.
    """
    if isinstance(table, Mapping):
        table = {str(name): cells for name, cells in table.items()}
        columns = {name: _cells(table.get(name)) for name in names or table}
        pandas = sys.modules.get("pandas")
        if as_frame and pandas is not None:
            return pandas.DataFrame(columns)
        if mixed:
            cells = [[np.nan if cell is None else cell for cell in column] for column in columns.values()]
            return np.array(cells, object).T
        return np.column_stack([np.array(cells, np.float64) for cells in columns.values()])
    if isinstance(table, (list, tuple)) and table and isinstance(table[0], Mapping):
        return _table({name: [row.get(name) for row in table] for name in table[0]}, names, as_frame, mixed)
    kind = object if mixed and isinstance(table, (list, tuple)) else None
    if getattr(table, "ndim", None) == 1 or (isinstance(table, (list, tuple)) and table and np.ndim(table[0]) == 0):
        return np.asarray(table, kind).reshape(1, -1)
    return np.asarray(table, kind) if isinstance(table, (list, tuple)) else table


def _cells(cells: Any) -> Any:
    return [cells] if np.ndim(cells) == 0 else cells


def _contributions(final: Any, steps: Any) -> Contributions:
    library = next((root for root in map(_root, type(final).__mro__) if root in _LIBRARIES), "")
    if library:
        return _LIBRARIES[library](final, steps)
    if _is_function(final):
        return lambda table: _with_constant(np.asarray(final(table), np.float64), 0.0)
    raise UnexplainedError(f"a {type(final).__name__} has no attributions; pass a function that returns them")


def _is_function(model: Any) -> bool:
    return callable(model) and not hasattr(model, "predict")


def _root(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _lightgbm(model: Any, _: Any) -> Contributions:
    booster = getattr(model, "booster_", model)
    features = booster.num_feature()

    def contributions(table: Any) -> Any:
        found = np.asarray(booster.predict(table, pred_contrib=True, num_threads=1))
        return found if found.shape[1] == features + 1 else found.reshape(len(found), -1, features + 1)

    return contributions


def _xgboost(model: Any, _: Any) -> Contributions:
    xgboost: Any = sys.modules["xgboost"]
    booster, missing, rounds = model, np.nan, (0, 0)
    if hasattr(model, "get_booster"):
        booster, missing = model.get_booster(), model.missing
        best = getattr(model, "best_iteration", None) if getattr(model, "early_stopping_rounds", None) else None
        rounds = (0, 0 if best is None else best + 1)

    def contributions(table: Any) -> Any:
        matrix = xgboost.DMatrix(table, missing=missing, nthread=1, enable_categorical=True)
        return booster.predict(matrix, pred_contribs=True, validate_features=False, iteration_range=rounds)

    return contributions


_SEVERAL: Final = (
    "MultiRMSE", "MultiRMSEWithMissingValues", "MultiLogloss", "MultiCrossEntropy", "MultiQuantile",
    "RMSEWithUncertainty",
)  # fmt: skip
"""Losses of CatBoost whose models have several outputs that are not classes of one label."""


def _catboost(model: Any, _: Any) -> Contributions:
    pool: Any = sys.modules["catboost"].Pool
    how: Mapping[str, Any] = model.get_all_params() if model.is_fitted() else {}
    loss, grown = str(how.get("loss_function", "")).partition(":")[0], how.get("grow_policy", "SymmetricTree")
    if loss in _SEVERAL:
        raise UnexplainedError(f"it has several outputs ({loss}); {_FUNCTION}")
    if grown != "SymmetricTree":
        raise UnexplainedError(f"CatBoost's attributions of {grown} trees do not add up to the prediction; {_FUNCTION}")
    kinds = {
        f"{kind}_features": getattr(model, f"get_{kind}_feature_indices")() for kind in ("cat", "text", "embedding")
    }

    def contributions(table: Any) -> Any:
        # Categories are named by their place, and the columns of a frame may come in another order.
        if set(model.feature_names_) <= set(getattr(table, "columns", ())):
            table = table[model.feature_names_]
        return model.get_feature_importance(pool(table, **kinds), type="ShapValues", thread_count=1)

    return contributions


def _sklearn(model: Any, steps: Any) -> Contributions:
    if hasattr(model, "coef_"):
        return _linear(model, steps)
    name = type(model).__name__
    if not any(word in name for word in ("Tree", "Forest", "GradientBoosting")):
        raise UnexplainedError(f"a {name} has no attributions; pass a function that returns them")
    if find_spec("shap") is None:
        raise UnexplainedError(_INSTALL.format(name))
    import shap

    explainer: Any = shap.TreeExplainer(model)

    def contributions(table: Any) -> Any:
        phi = np.asarray(explainer.shap_values(table, check_additivity=False), np.float64)
        base = np.atleast_1d(np.asarray(explainer.expected_value, np.float64))
        return _with_constant(phi, base[0]) if phi.ndim == 2 else _with_constant(phi.transpose(0, 2, 1), base)

    return contributions


def _linear(model: Any, steps: Any) -> Contributions:
    """Return φ = w · (x − μ) of a model whose features a scaler has centered, so that μ is 0."""
    scaler: Any = None if steps is None else steps.steps[-1][1]
    if type(scaler).__name__ != "StandardScaler" or not scaler.with_mean:
        raise UnexplainedError(
            f"attributions of a {type(model).__name__} need the means of its features: put a StandardScaler before it,"
            " or pass otel_ml.explain.linear(model, means)"
        )
    return linear(model, np.zeros(np.shape(model.coef_)[-1]), constant=True)


def linear(model: Any, means: Any, *, constant: bool = False) -> Contributions:
    """Return what explains a linear model: φ = w · (x − μ), with the means μ ``[F]`` of its training rows.

    >>> class Fitted:
    ...     coef_, intercept_ = np.array([2.0, -1.0]), 0.5
    >>> linear(Fitted(), [1.0, 0.0])(np.array([[2.0, 3.0]]))
    array([[ 2., -3.]])
    """
    weights, center = np.atleast_2d(np.asarray(model.coef_, np.float64)), np.asarray(means, np.float64)
    intercepts = np.atleast_1d(np.asarray(model.intercept_, np.float64)) + weights @ center

    def contributions(table: Any) -> Any:
        away = np.asarray(_table(table, None, as_frame=False), np.float64) - center
        phi = away[:, None, :] * weights
        if len(weights) == 1:
            phi = phi[:, 0]
            return _with_constant(phi, intercepts[0]) if constant else phi
        found = _with_constant(phi, intercepts)
        return found if constant else _likeliest(found)[:, :-1]

    return contributions


def _with_constant(phi: Any, constant: Any) -> Any:
    return np.concatenate([phi, np.broadcast_to(np.asarray(constant)[..., None], (*phi.shape[:-1], 1))], axis=-1)


_LIBRARIES: Final[Mapping[str, Callable[[Any, Any], Contributions]]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "sklearn": _sklearn,
}
