"""What a library says of one model, and the handle that emits the predictions of a model so described."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from otel_ml.config import ENV_MODEL_VERSION
from otel_ml.frameworks.names import ModelNames, registered_features
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
    """

    name: str
    framework: str
    task: Task | None = None
    classes: tuple[Any, ...] | None = None
    features: tuple[str, ...] | None = None
    positive_class: Any = None
    threshold: float | None = None
    version: str = ""


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
        classes = described.classes
        features = described.features or registered_features((model, *layers))
        positive = described.positive_class
        if positive is None and classes is not None and len(classes) == 2:
            positive = classes[1]
        traits = (described.task, features, None if classes is None else tuple(map(str, classes)))
        name, version = self._names.of(model, described.name, traits, layers)
        return self._make(
            name,
            version=version or os.environ.get(ENV_MODEL_VERSION, "").strip() or described.version,
            task=described.task,
            features=features,
            framework=described.framework,
            positive_class=positive,
            threshold=described.threshold,
        )
