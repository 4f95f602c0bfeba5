"""The name in ``OTEL_ML_MODEL_NAME`` belongs to one model: a second one in the same process gets another name."""

from __future__ import annotations

import os
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Final
from weakref import ref

from otel_ml.config import ENV_MODEL_NAME
from otel_ml.frameworks.base import ByInstance
from otel_ml.problems import report

MODELS: Final = 100
"""Models with separate names; those beyond share the name of their class."""


class ModelNames:
    """Names the models of one process: by the environment, else by their class.

    The first model gets the name of the environment. A model of another class, or with other features, classes or
    another task, gets ``NAME/CLASS``, then ``NAME/CLASS-2``, and a warning. The same object keeps its name when it is
    fitted again; another object with the same traits is the same model, loaded again, with a warning if both exist.
    """

    def __init__(self) -> None:
        self._owners: dict[str, Hashable] = {}
        self._by_traits: dict[Hashable, str] = {}
        self._by_instance: ByInstance[str] = ByInstance()
        self._holders: dict[str, ref[Any]] = {}

    def of(self, model: Any, class_name: str, traits: Hashable) -> str:
        """Return the name of a model of this class; ``traits`` are what makes it another model."""
        given = os.environ.get(ENV_MODEL_NAME, "").strip()
        if not given:
            return class_name
        name = self._by_instance.get(model)
        if name is not None and (name == given or name.startswith(f"{given}/")):
            return name
        name = self._by_traits.get((given, class_name, traits))
        if name is None:
            name = self._new(given, class_name, (class_name, traits))
            if len(self._by_traits) < MODELS:
                self._by_traits[given, class_name, traits] = name
        elif self._is_held(name):
            report(
                f"shared name {name}",
                "%r is the name (%s) of two objects of class %s with the same features; if they are different models, "
                "name each in the code, with name_model",
                name,
                ENV_MODEL_NAME,
                class_name,
            )
        self._by_instance.put(model, name)
        with suppress(TypeError):  # an object with slots may not allow references
            self._holders[name] = ref(model)
        return name

    def _is_held(self, name: str) -> bool:
        """Return whether an object that has the name still exists."""
        holder = self._holders.get(name)
        return holder is not None and holder() is not None

    def _new(self, given: str, class_name: str, owner: Hashable) -> str:
        # Two threads may come at once: setdefault lets one of them have the name.
        if self._owners.setdefault(given, owner) == owner:
            return given
        base = name = f"{given}/{class_name}"
        number = 1
        while len(self._owners) < MODELS and self._owners.setdefault(name, owner) != owner:
            number += 1
            name = f"{base}-{number}"
        report(
            f"second model {name}",
            "%s=%s names one model, but this process predicts with another one, too, which is observed as %r; name "
            "each model in the code, with name_model",
            ENV_MODEL_NAME,
            given,
            name,
        )
        return name
