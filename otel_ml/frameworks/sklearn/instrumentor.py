"""Every scikit-learn prediction as a span, with no code changed: ``opentelemetry-instrument python app.py``.

**What is observed.** ``predict``, ``predict_proba``, ``predict_log_proba`` and, where the class follows from it,
``decision_function`` of every classifier and regressor: scikit-learn's own, pipelines, searches and other
meta-estimators, libraries that build on its base classes (LightGBM, XGBoost, …) and classes of the application, whether
they exist already, are defined later, or arrive in a pickle. Of anomaly detectors, ``predict``, ``decision_function``
and ``score_samples``. Two methods called for the same rows are two calls and therefore two predictions, which is logged
once; an application that makes both sets ``OTEL_ML_SKLEARN_METHODS=predict_proba``, and the others are not observed.

**What is not.** Only the outermost call counts: a pipeline's steps and a forest's trees are part of it. Calls inside
``fit``, ``partial_fit``, ``fit_predict`` and ``score``, and calls by scikit-learn itself (cross-validation, searches,
scorers, inspection, plots, ``sklearn.utils.parallel``), train or evaluate a model; they serve no one. Clusterers emit
nothing, nor do margins and leaves (``raw_score``, ``output_margin``, …). ``predict`` of a classifier has a class and no
score, because a score would need a second computation. Texts and wide sparse matrices have no features.

**How.** ``BaseEstimator`` and the mixins report each new class through ``__init_subclass__``; the methods that a class
itself defines are replaced in its namespace, and restored by ``uninstrument``. Instances, parameters and pickles do not
change. scikit-learn is never imported here, so an application that does not use it pays nothing.

A model is named by :func:`~otel_ml.name_model`, else by the server that it answers for, a registry that it was loaded
from, or ``OTEL_ML_MODEL_NAME``, else by its class: a pipeline's last step, the best estimator of a search. If a process
predicts with several models, the first one gets the name of the server or the environment, and each other one
``NAME/CLASS``, with a warning. A meta-estimator of the application that predicts in its own threads should have its
members predict under :func:`otel_ml.frameworks.base.quiet`, because context does not follow into threads.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

from otel_ml.frameworks.base import Begin, Hooks, Started, is_inside, observing, quietly, shielded
from otel_ml.frameworks.callers import driven_by
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.names import Plans
from otel_ml.frameworks.patches import Around, Patches, none_passes

_log = logging.getLogger(__name__)

ENV_METHODS: Final = "OTEL_ML_SKLEARN_METHODS"
METHODS: Final = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples")
_QUIET: Final = ("fit", "partial_fit", "fit_predict", "score")
_BASES: Final = ("BaseEstimator", "ClassifierMixin", "RegressorMixin")

_CALLER: Final = 3
"""Frames from `_passes` to the caller of a replaced method: the seam, the replacement, the caller."""


Plan: TypeAlias = Mapping[str, Begin]
"""How calls of one estimator are observed, by method: decided once, empty if nothing is emitted."""


@dataclass(slots=True)
class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    models: Models
    methods: Collection[str]
    hooks: Hooks
    patches: Patches = field(default_factory=Patches)
    plans: Plans[Plan] = field(init=False)
    arounds: dict[str, Around] = field(default_factory=dict[str, Around])

    def __post_init__(self) -> None:
        self.plans = Plans(self.plan, {})
        for method in (*METHODS, *_QUIET):
            observed = method in self.methods
            self.arounds[method] = observing(partial(self.begin, method), self.hooks) if observed else quietly
        for method in ("fit", "partial_fit"):
            self.arounds[method] = self.fitting

    def attach(self, module: ModuleType) -> None:
        """Patch every class that exists, and every class defined later."""
        for base in filter(None, (getattr(module, name, None) for name in _BASES)):
            self.patches.on_subclass(base, partial(shielded, self.adopt))
            shielded(self.adopt_all, base)
            # unpickling by value (cloudpickle) gives a class its methods only after creating it
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
        """Patch the methods that a class, or a mixin among its ancestors, defines."""
        for owner in cls.__mro__[:-1]:
            for name in self.arounds.keys() & vars(owner).keys():
                passes = _passes if name in self.methods else none_passes
                self.patches.replace(owner, name, self.arounds[name], passes)

    def begin(self, method: str, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        """Decide whether this call is a prediction, and start observing it."""
        if driven_by("sklearn."):
            return None
        start = self.plans.of(estimator).get(method)
        return None if start is None else start(estimator, args, kwargs)

    def plan(self, estimator: Any) -> Plan:
        """Decide how an estimator is observed, and make the handle that emits its predictions."""
        # imported here: it needs numpy, which an application with an estimator has already loaded
        from otel_ml.frameworks.calls import position_of
        from otel_ml.frameworks.sklearn import estimators
        from otel_ml.frameworks.sklearn.attributes import layers

        description = estimators.describe(estimator)
        if description is None:
            return {}
        chain = layers(estimator)
        if description.outputs:
            outputs = {
                str(number): Description(
                    name=description.name,
                    framework=description.framework,
                    task="regression" if classes is None else estimators.classification(classes),
                    classes=None if classes is None else tuple(classes.tolist()),
                    features=description.features,
                )
                for number, classes in enumerate(description.outputs)
            }
            return estimators.begin_by_method(description, self.models.of_outputs(estimator, outputs, chain))
        classes, threshold = description.classes, description.threshold
        positive = None
        if classes is not None and len(classes) == 2:
            positive = classes.tolist()[position_of(threshold and threshold.positive, classes)]
        described = Description(
            name=description.name,
            framework=description.framework,
            task=description.task,
            classes=None if classes is None else tuple(classes.tolist()),
            features=description.features,
            positive_class=positive,
            threshold=threshold.value if threshold and positive is not None else None,
            beside=description.kind == "outlier_detector",
        )
        return estimators.begin_by_method(description, [self.models.handle(estimator, described, chain)])

    def fitting(
        self, original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Fit without observing, and drop the estimator's plan."""
        try:
            return quietly(original, estimator, args, kwargs)
        finally:
            shielded(self.plans.drop, estimator)

    def arriving(
        self, original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Unpickle, and patch the methods that the class got since its creation."""
        shielded(self.adopt, type(estimator))
        return original(estimator, *args, **kwargs)


class SklearnInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments scikit-learn and what builds on it; the module's docstring lists what is observed.

    ``instrument`` takes the arguments of every framework, and ``methods`` (those of :data:`METHODS` that are observed;
    else ``OTEL_ML_SKLEARN_METHODS``, else all).

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_sklearn`` keeps it from being loaded.
    """

    distribution = "scikit-learn"
    versions = ">= 1.2"
    module = "sklearn.base"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of scikit-learn's classes."""
        methods = chosen_methods(options.arguments.get("methods"), os.environ)
        return _Observer(options.models(), methods, options.hooks)


def chosen_methods(argument: object, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the methods to observe: the argument, else the variable, else all.

    A bad argument raises :class:`ValueError`; a bad variable is logged, and the default is used.

    >>> chosen_methods(None, {"OTEL_ML_SKLEARN_METHODS": "predict_proba"})
    ('predict_proba',)
    >>> chosen_methods(["transform"], {})
    Traceback (most recent call last):
    ...
    ValueError: methods: 'transform' cannot be observed; allowed: predict, predict_proba, predict_log_proba, ...
    """
    if argument is not None:
        return _known_methods("methods", argument.split(",") if isinstance(argument, str) else argument)
    raw = environ.get(ENV_METHODS, "").strip()
    if not raw:
        return METHODS
    try:
        return _known_methods(ENV_METHODS, raw.split(","))
    except ValueError as error:
        _log.error("%s; all methods are observed", error)
        return METHODS


def _known_methods(where: str, names: Any) -> tuple[str, ...]:
    methods = tuple(str(name).strip() for name in names)
    unknown = next((name for name in methods if name not in METHODS), None)
    if unknown is not None or not methods:
        raise ValueError(f"{where}: {unknown or ''!r} cannot be observed; allowed: {', '.join(METHODS)}")
    return methods


def _passes() -> bool:
    """Return whether a call is an inner one, such as a forest's of its trees: they must cost nothing.

    Scikit-learn may make it in a thread that it started, where only the caller shows it.
    """
    if is_inside():
        return True
    try:
        frame = sys._getframe(_CALLER)  # type: ignore[reportPrivateUsage]  # noqa: SLF001 - inspect costs ten times as much
    except ValueError:  # called from C, such as by a new thread
        return False
    caller: object = frame.f_globals.get("__name__")
    return isinstance(caller, str) and caller.startswith("sklearn.")
