"""What a library says of one model, and the handle that emits the predictions of a model so described."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from otel_ml.config import ENV_MODEL_VERSION
from otel_ml.frameworks.names import ModelNames, Name, registered_features
from otel_ml.model import Model
from otel_ml.semconv import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The attributes of one model object that matter here.

    - ``name``: of its class; the model's name if nothing else names it.
    - ``classes``: in the order of the probabilities; of two, the second is the positive one unless ``positive_class``
      says otherwise.
    - ``features``: the names of the columns of a table that has none.
    - ``version``: the one that the model itself carries, empty if none.
    - ``beside``: whether it usually stands beside the model that the environment names, as an anomaly detector does.
    """

    name: str
    framework: str
    task: Task | None = None
    classes: tuple[Any, ...] | None = None
    features: tuple[str, ...] | None = None
    positive_class: Any = None
    threshold: float | None = None
    version: str = ""
    beside: bool = False


class Models:
    """The handles of one instrumentation, each named by :class:`~otel_ml.frameworks.names.ModelNames`.

    ``make_model`` takes the arguments of :class:`~otel_ml.Model`.
    """

    def __init__(self, make_model: Callable[..., Model]) -> None:
        self._make = make_model
        self._names = ModelNames()

    def handle(self, model: Any, described: Description, layers: Iterable[Any] = ()) -> Model:
        """Return the handle of a model; ``layers`` are the objects inside it that may have its name instead."""
        layers = tuple(layers)
        [described] = _with_features((model, *layers), [described])
        name = self._names.of(model, described.name, _traits(described), layers, beside=described.beside)
        return self._handle(name, described)

    def of_outputs(self, model: Any, outputs: Mapping[str, Description], layers: Iterable[Any] = ()) -> list[Model]:
        """Return the handles of a model with several outputs, by the name of each: they are ``NAME/OUTPUT``."""
        layers = tuple(layers)
        all_described = _with_features((model, *layers), outputs.values())
        traits = tuple(map(_traits, all_described))
        name, version = self._names.of(model, all_described[0].name, traits, layers)
        return [
            self._handle(Name(f"{name}/{output}", version), described)
            for output, described in zip(outputs, all_described, strict=True)
        ]

    def _handle(self, name: Name, described: Description) -> Model:
        classes = described.classes
        positive = described.positive_class
        if positive is None and classes is not None and len(classes) == 2:
            positive = classes[1]
        return self._make(
            name.name,
            version=name.version or os.environ.get(ENV_MODEL_VERSION, "").strip() or described.version,
            task=described.task,
            features=described.features,
            framework=described.framework,
            positive_class=positive,
            threshold=described.threshold,
        )


def _traits(described: Description) -> Hashable:
    classes = described.classes
    return described.task, described.features, None if classes is None else tuple(map(str, classes))


def _with_features(chain: tuple[Any, ...], outputs: Iterable[Description]) -> list[Description]:
    """Return the descriptions, with the features that a registry knows if the model itself names none."""
    registered = registered_features(chain)
    return [each if each.features else replace(each, features=registered) for each in outputs]
