"""Every scikit-learn prediction as a span, with no code changed: ``opentelemetry-instrument python app.py``.

**What is observed.** ``predict`` and ``predict_proba`` of every classifier and regressor: scikit-learn's own,
pipelines, searches and other meta-estimators, libraries that build on its base classes (LightGBM, XGBoost, …) and
classes of the application, whether they exist already, are defined later, or arrive in a pickle. ``predict`` and then
``predict_proba`` of the same rows are two calls and so two predictions; an application that does both chooses with
``OTEL_ML_SKLEARN_METHODS=predict_proba``, and the other is silent then.

**What is not.** Only the outermost call counts: a pipeline's steps and a forest's trees are part of it. What happens
inside ``fit``, ``partial_fit``, ``fit_predict`` and ``score``, or is driven by scikit-learn itself (cross-validation,
searches, scorers, inspection, plots, ``sklearn.utils.parallel``), trains or judges a model and serves nobody.
Clusterers, outlier detectors, multi-output and multi-label models emit nothing, nor do margins and leaves
(``raw_score``, ``output_margin``, …). ``predict`` of a classifier has a class and no score: no second computation is
made for it. Texts and sparse matrices have no columns to be features; their predictions go without.

**How.** ``BaseEstimator`` and the mixins tell us of each new class through ``__init_subclass__``; the methods that
a class itself defines are replaced in its namespace, and put back by ``uninstrument``. Instances, parameters and
pickles stay as they are. scikit-learn is never imported here: an application that does not use it pays nothing.

A model is named by :func:`name_model`, else ``OTEL_ML_MODEL_NAME``, else its class: a pipeline's last step, the best
estimator of a search. A meta-estimator of the application that predicts in threads of its own should have its members
predict under :func:`otel_ml.frameworks.base.quiet`, for context does not follow into threads.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.util import find_spec
from types import FrameType, ModuleType
from typing import Any, Final, TypeAlias

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_ml.frameworks.base import Begin, ByInstance, Hooks, Started, observing, quietly, shielded
from otel_ml.frameworks.patches import Around, Patches
from otel_ml.model import Model

_log = logging.getLogger(__name__)

ENV_METHODS: Final = "OTEL_ML_SKLEARN_METHODS"
METHODS: Final = ("predict", "predict_proba")
_QUIET: Final = ("fit", "partial_fit", "fit_predict", "score")
_BASES: Final = ("BaseEstimator", "ClassifierMixin", "RegressorMixin")
_MODULE: Final = "sklearn.base"

_FRAMES: Final = 20
"""Callers that are looked at for scikit-learn driving a prediction itself; a user's scorer or callback is nearer."""
_MODELS: Final = 256
"""Model handles kept, by name, version, classes and features; the least recently used is made anew."""


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    version: str


Plan: TypeAlias = Mapping[str, Begin]
"""How the calls of one estimator are observed, by method: worked out once, empty where nothing is emitted."""

_names: ByInstance[_Name] = ByInstance()


def name_model(estimator: object, *, name: str, version: str = "") -> None:
    """Name one estimator in what is emitted; on a pipeline's last step or a search's best estimator it holds as well.

    The name is kept beside the object, not in it: parameters, pickles, clones and copies do not carry it, so name
    a model where it is loaded.

    >>> class Estimator: ...
    >>> name_model(Estimator(), name="churn", version="2026-11")
    >>> name_model(Estimator(), name="")
    Traceback (most recent call last):
    ...
    ValueError: name_model: the name is empty; give the model's name, such as 'churn'
    """
    if not name:
        raise ValueError("name_model: the name is empty; give the model's name, such as 'churn'")
    _names.put(estimator, _Name(str(name), str(version)))
    if _active is not None:
        _active.plans.clear()  # a pipeline's plan may hold the name of its step


@dataclass(slots=True)
class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    make_model: Callable[..., Model]
    methods: Collection[str]
    hooks: Hooks
    patches: Patches = field(default_factory=Patches)
    plans: ByInstance[Plan] = field(default_factory=lambda: ByInstance[Plan]())
    arounds: dict[str, Around] = field(default_factory=dict[str, Around])

    def __post_init__(self) -> None:
        for method in (*METHODS, *_QUIET):
            observed = method in self.methods
            self.arounds[method] = observing(partial(self.begin, method), self.hooks) if observed else quietly
        for method in ("fit", "partial_fit"):
            self.arounds[method] = self.fitting

    def attach(self, module: ModuleType) -> None:
        """Patch every class there is, and every one to come."""
        self.patches.active = True
        for base in filter(None, (getattr(module, name, None) for name in _BASES)):
            self.patches.on_subclass(base, partial(shielded, self.adopt))
            shielded(self.adopt_all, base)
            # unpickling by value (cloudpickle) gives a class its methods only after it is made
            self.patches.replace(base, "__setstate__", self.arriving)

    def adopt_all(self, base: type) -> None:
        """Patch a class and all classes below it."""
        pending, seen = [base], {base}
        while pending:
            cls = pending.pop()
            self.adopt(cls)
            below = [each for each in type.__subclasses__(cls) if each not in seen]
            seen.update(below)
            pending.extend(below)

    def adopt(self, cls: type) -> None:
        """Patch a class where it, or a mixin among its ancestors, defines one of the methods."""
        for owner in cls.__mro__[:-1]:
            for name in self.arounds.keys() & vars(owner).keys():
                self.patches.replace(owner, name, self.arounds[name])

    def begin(self, method: str, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        """Decide whether this call is a prediction, and start observing it."""
        if _driven_by_sklearn(inspect.currentframe()):
            return None
        plan = self.plans.get(estimator)
        if plan is None:
            plan = shielded(self.plan, estimator) or {}
            self.plans.put(estimator, plan)
        start = plan.get(method)
        return None if start is None else start(estimator, args, kwargs)

    def plan(self, estimator: Any) -> Plan:
        """Work out what an estimator is, and the handle that its predictions go to."""
        # only now: it needs numpy, and what has an estimator has that already
        from otel_ml.frameworks.sklearn import estimators

        learned = estimators.learned(estimator)
        if learned is None:
            return {}
        named = next(filter(None, map(_names.get, estimators.layers(estimator))), None)
        classes = [] if learned.classes is None else learned.classes.tolist()
        model = self.make_model(
            learned.name if named is None else named.name,
            version="" if named is None else named.version,
            task=learned.task,
            features=learned.features,
            framework=learned.framework,
            positive_class=classes[1] if len(classes) == 2 else None,
        )
        return estimators.starts(learned, model)

    def fitting(
        self, original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Fit in silence, and forget what was known of the estimator."""
        try:
            return quietly(original, estimator, args, kwargs)
        finally:
            shielded(self.plans.drop, estimator)

    def arriving(
        self, original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Unpickle, and patch what the class got since it was made."""
        shielded(self.adopt, type(estimator))
        return original(estimator, *args, **kwargs)


_active: _Observer | None = None
_hooked = False


class SklearnInstrumentor(BaseInstrumentor):
    """Instruments scikit-learn and what builds on it; see the module for what is observed and what is not.

    ``instrument`` takes ``tracer_provider``, ``meter_provider``, ``config`` (:class:`otel_ml.Config`), ``methods`` (any
    of ``predict``, ``predict_proba``; else ``OTEL_ML_SKLEARN_METHODS``, else both), ``request_hook(prediction,
    estimator, args, kwargs)`` and ``response_hook(prediction, estimator, result)``. A hook may ``prediction.record`` an
    id or segments.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_sklearn`` keeps it from being loaded.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed for this to be of use."""
        return ("scikit-learn >= 1.2",)

    def _instrument(self, **kwargs: Any) -> None:
        global _active, _hooked
        if find_spec("sklearn") is None:
            # expected by OpenTelemetry's loader, which skips what is not there without a word
            raise ModuleNotFoundError("No module named 'sklearn'; pip install scikit-learn", name="sklearn")
        make_model = partial(
            Model,
            config=kwargs.get("config"),
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
        )
        _active = _Observer(
            lru_cache(maxsize=_MODELS)(make_model),
            chosen_methods(kwargs.get("methods"), os.environ),
            Hooks(kwargs.get("request_hook"), kwargs.get("response_hook")),
        )
        if not _hooked:
            _hooked = True
            wrapt.register_post_import_hook(_imported, _MODULE)  # at once, where it is imported already
        elif _MODULE in sys.modules:
            _imported(sys.modules[_MODULE])

    def _uninstrument(self, **kwargs: Any) -> None:
        global _active
        if _active is not None:
            _active.patches.restore()
        _active = None


def _imported(module: ModuleType) -> None:
    if _active is not None:
        shielded(_active.attach, module)


def chosen_methods(argument: object, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The methods to observe: the argument, else the variable, else all.

    A bad argument raises :class:`ValueError`; a bad variable is logged, and the default holds.

    >>> chosen_methods(None, {"OTEL_ML_SKLEARN_METHODS": "predict_proba"})
    ('predict_proba',)
    >>> chosen_methods(["transform"], {})
    Traceback (most recent call last):
    ...
    ValueError: methods: 'transform' is no method to observe; allowed: predict, predict_proba
    """
    if argument is not None:
        return _known_methods("methods", argument.split(",") if isinstance(argument, str) else argument)
    raw = environ.get(ENV_METHODS, "").strip()
    if not raw:
        return METHODS
    try:
        return _known_methods(ENV_METHODS, raw.split(","))
    except ValueError as error:
        _log.error("%s; all are observed", error)
        return METHODS


def _known_methods(where: str, names: Any) -> tuple[str, ...]:
    methods = tuple(str(name).strip() for name in names)
    unknown = next((name for name in methods if name not in METHODS), None)
    if unknown is not None or not methods:
        raise ValueError(f"{where}: {unknown or ''!r} is no method to observe; allowed: {', '.join(METHODS)}")
    return methods


def _driven_by_sklearn(frame: FrameType | None) -> bool:
    """Whether scikit-learn itself asked for this prediction, in this thread.

    A context variable does not see this: scikit-learn predicts in threads of its own, and outside any estimator.
    """
    for _ in range(_FRAMES):
        if frame is None:
            return False
        module = frame.f_globals.get("__name__", "")
        if module == "sklearn" or module.startswith("sklearn."):
            return True
        frame = frame.f_back
    return False
