"""Models of MLflow speak the names of its registry, and its custom models emit predictions.

**Names.** ``load_model`` of ``mlflow.pyfunc`` and of each flavor says which registered model, and which version of it,
was loaded: by version, by alias (``models:/churn@champion``), or from a folder that was downloaded before, as in
``mlflow models serve``. The libraries' own hooks then use that name and version, and the columns of the signature for
tables without names.

**Predictions.** If the hook of a library observes the model inside a pyfunc, that hook emits the prediction, because it
knows classes and probabilities. For every other pyfunc (a ``PythonModel``, a flavor without a hook)
``PyFuncModel.predict`` is the prediction, and calls of models inside it are part of it. So each call counts once.

**What is not.** Nothing is emitted while a model is loaded, logged (``input_example``), evaluated
(``mlflow.evaluate``), or trained under ``autolog``. Chat models, agents and texts to texts are left alone, as are
``predict_stream`` and ``spark_udf``. An input that the signature refuses never reaches a library's model, so it is a
failed request and not a failed prediction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Final

import wrapt

from otel_ml.frameworks.base import Hooks, Started, observing, quiet, quietly, shielded
from otel_ml.frameworks.described import Models
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.mlflow.loading import Load, loaded_under
from otel_ml.frameworks.names import Plans
from otel_ml.frameworks.patches import Patches

_FLAVORS: Final = (
    "catboost",
    "h2o",
    "keras",
    "lightgbm",
    "onnx",
    "paddle",
    "pmdarima",
    "prophet",
    "pytorch",
    "sklearn",
    "spacy",
    "spark",
    "statsmodels",
    "tensorflow",
    "xgboost",
)
"""Flavors of models that predict classes and values; MLflow imports the module of each when it is first used."""


@dataclass(slots=True)
class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    models: Models
    hooks: Hooks
    patches: Patches = field(default_factory=Patches)
    plans: Plans[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.plans = Plans(self.plan, False)

    def attach(self, module: ModuleType) -> None:
        """Replace the functions of MLflow's modules, each when it is imported."""
        later: dict[str, Callable[[ModuleType], None]] = {
            "mlflow.store.artifact.models_artifact_repo": self.attach_registry,
            "mlflow.models.evaluation.base": self.attach_evaluation,
            "mlflow.utils.autologging_utils.safety": self.attach_autologging,
            "mlflow.pyfunc": self.attach_pyfunc,
            **{f"mlflow.{flavor}": self.attach_flavor for flavor in _FLAVORS},
        }
        for name, attach in later.items():
            wrapt.register_post_import_hook(partial(self.imported, attach), name)

    def imported(self, attach: Callable[[ModuleType], None], module: ModuleType) -> None:
        """Replace what a module has, unless the instrumentation has ended since."""
        if self.patches.active:
            shielded(attach, module)

    def attach_registry(self, module: ModuleType) -> None:
        """Learn what is downloaded from the registry."""
        self.patches.replace(module.ModelsArtifactRepository, "download_artifacts", _downloading)

    def attach_evaluation(self, module: ModuleType) -> None:
        """Observe nothing while a model is evaluated."""
        self.patches.replace_function(module, "_evaluate", quietly)

    def attach_autologging(self, module: ModuleType) -> None:
        """Observe nothing in training under ``autolog``, which predicts to infer signatures."""
        self.patches.replace_function(module, "with_managed_run", _quiet_training)

    def attach_flavor(self, module: ModuleType) -> None:
        """Name what a flavor loads, and observe nothing while it logs a model."""
        self.patches.replace_function(module, "load_model", _loading)
        for name in ("save_model", "log_model"):
            self.patches.replace_function(module, name, quietly)

    def attach_pyfunc(self, module: ModuleType) -> None:
        """Observe the models that no library's hook observes."""
        self.attach_flavor(module)
        self.patches.replace(module.PyFuncModel, "predict", observing(self.begin, self.hooks))

    def begin(self, pyfunc: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        """Start observing a call, unless the model's library does."""
        plan = self.plans.of(pyfunc)
        return plan.begin(args[0] if args else kwargs.get("data")) if plan else None

    def plan(self, pyfunc: Any) -> Any:
        """Decide how a model is observed; false if not here."""
        # imported here: it needs numpy, which MLflow has loaded
        from otel_ml.frameworks.mlflow.pyfuncs import plan_of

        return plan_of(pyfunc, self.models) or False


class MlflowInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments MLflow's loading of models and its pyfuncs; the module's docstring lists what is observed."""

    distribution = "mlflow-skinny"
    versions = ">= 3"
    module = "mlflow"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of MLflow's functions."""
        return _Observer(options.models(), options.hooks)


def _loading(original: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Load a model without observing it, and register what the registry calls it."""
    load = Load(args[0] if args else kwargs.get("model_uri"))
    with quiet(), loaded_under(load):
        model = original(module, *args, **kwargs)
    shielded(load.register, model)
    return model


def _downloading(original: Callable[..., Any], repository: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Download a registered model, and note which it is for the load around it."""
    path = original(repository, *args, **kwargs)
    shielded(Load.downloaded, repository, path)
    return path


def _quiet_training(original: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make the function that ``autolog`` puts in place of a training function quiet."""
    training = original(module, *args, **kwargs)

    @functools.wraps(training)
    def trains(*args: Any, **kwargs: Any) -> Any:
        with quiet():
            return training(*args, **kwargs)

    return trains
