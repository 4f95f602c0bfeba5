"""Names the models of a process: by code, else by the server, a registry, the environment, or their class."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar
from weakref import ref

from otel_ml.config import ENV_MODEL_NAME
from otel_ml.frameworks.base import ByInstance, shielded
from otel_ml.problems import report
from otel_ml.served import ServedName, served_name

MODELS: Final = 1_000
"""Models with separate names; those beyond share the name of their class."""
_PLANS: Final = 64
"""Served names with which the plan of one model is kept."""

PlanT = TypeVar("PlanT")
ValueT = TypeVar("ValueT")


class Name(NamedTuple):
    """The name and version of a model; either may be empty."""

    name: str
    version: str = ""


_by_code: ByInstance[Name] = ByInstance()
_by_registry: ByInstance[Name] = ByInstance()
_features: ByInstance[tuple[str, ...]] = ByInstance()
_outer: ByInstance[ref[object]] = ByInstance()
_revision = 0
"""How often a model was named; a plan made before may have another name."""


def name_model(model: object, *, name: str, version: str = "") -> None:
    """Name one model in its spans and metrics; it may be a pipeline's last step or a search's best estimator.

    The name is kept outside the object: parameters, pickles, clones and copies do not carry it, so name a model where
    it is loaded.

    >>> class Estimator: ...
    >>> name_model(Estimator(), name="churn", version="2026-11")
    >>> name_model(Estimator(), name="")
    Traceback (most recent call last):
    ...
    ValueError: name_model: the name is empty; give the model's name, such as 'churn'
    """
    if not name:
        raise ValueError("name_model: the name is empty; give the model's name, such as 'churn'")
    _put(_by_code, model, Name(str(name), str(version)))


def register_model(model: object, name: Name, *, features: tuple[str, ...] = (), outer: object | None = None) -> None:
    """Keep what a registry says of a model that was loaded from it.

    - ``name``: the code and the server come before it.
    - ``features``: the names of the columns of a table that has none, unless the model itself has them.
    - ``outer``: the object that the application has instead of this one; a name that it gives that is this one's.
    """
    if name.name:
        _put(_by_registry, model, name)
    if features:
        _put(_features, model, features)
    if outer is not None:
        _put(_outer, model, ref(outer))


def registered_features(models: Iterable[object]) -> tuple[str, ...] | None:
    """Return the names of the features that a registry knows of the first of these models that it knows."""
    return next(filter(None, map(_features.get, models)), None)


def _put(kept: ByInstance[ValueT], model: object, value: ValueT) -> None:
    global _revision
    kept.put(model, value)
    if type(model).__module__.startswith("statsmodels."):  # its results predict inside of a wrapper
        kept.put(getattr(model, "_results", model), value)
    _revision += 1


def _outer_of(model: object) -> object:
    outer = _outer.get(model)
    return None if outer is None else outer()


@dataclass(slots=True)
class _Kept(Generic[PlanT]):
    revision: int
    by_served: dict[ServedName | None, PlanT] = field(default_factory=dict["ServedName | None", "PlanT"])


class Plans(Generic[PlanT]):
    """How the calls of each model are observed: decided once for each name that a server gives it.

    ``make(model)`` decides; if it raises, that is logged once, and the plan is ``nothing``.
    """

    def __init__(self, make: Callable[[Any], PlanT], nothing: PlanT) -> None:
        self._make = make
        self._nothing = nothing
        self._kept: ByInstance[_Kept[PlanT]] = ByInstance()

    def of(self, model: Any) -> PlanT:
        """Return the plan of this model."""
        served = served_name()
        kept = self._kept.get(model)
        if kept is None or kept.revision != _revision or len(kept.by_served) > _PLANS:
            kept = _Kept[PlanT](_revision)
            self._kept.put(model, kept)
        plan = kept.by_served.get(served)
        if plan is None:
            made = shielded(self._make, model)
            plan = kept.by_served[served] = self._nothing if made is None else made
        return plan

    def drop(self, model: Any) -> None:
        """Forget the plan of a model that is not what it was, such as one that is fitted again."""
        self._kept.drop(model)


class ModelNames:
    """Names the models of one process.

    A name in the code (:func:`name_model`) comes first, then that of the server, of a registry, of the environment, and
    last the model's class. The version is the first that one of them gives.

    A name of the server or the environment belongs to one model: the first gets it. A model of another class, or with
    other features, classes or another task, gets ``NAME/CLASS``, then ``NAME/CLASS-2``, and a warning. The same object
    keeps its name when it is fitted again; another object with the same traits is the same model, loaded again, with a
    warning if both exist.

    A model ``beside`` another one, such as an anomaly detector, leaves the environment's name to that one, whichever
    comes first: it gets ``NAME/CLASS``.
    """

    def __init__(self) -> None:
        self._owners: dict[str, Hashable] = {}
        self._by_traits: dict[Hashable, str] = {}
        self._by_instance: ByInstance[str] = ByInstance()
        self._holders: dict[tuple[str, str], ref[Any]] = {}

    def of(
        self, model: Any, class_name: str, traits: Hashable, layers: Iterable[Any] = (), *, beside: bool = False
    ) -> Name:
        """Return the name of a model of this class; ``traits`` are what makes it another model.

        ``layers`` are the objects inside it that may have its name instead, such as the last step of a pipeline.
        """
        chain = (model, *layers)
        chain = (*map(_outer_of, chain), *chain)
        coded = next(filter(None, map(_by_code.get, chain)), Name(""))
        registered = next(filter(None, map(_by_registry.get, chain)), Name(""))
        served = served_name() or ServedName("", "")
        version = coded.version or served.version or registered.version
        if coded.name:
            return Name(coded.name, version)
        if served.name:
            return Name(self._one(model, class_name, traits, served.name, version, "its server"), version)
        if registered.name:
            return Name(registered.name, version)
        given = os.environ.get(ENV_MODEL_NAME, "").strip()
        if given and beside:
            given = f"{given}/{class_name}"
            report(
                f"beside {given}",
                "%s names the model of this process; %s stands beside it and is observed as %r: if it is that model, "
                "name it in the code, with name_model",
                ENV_MODEL_NAME,
                class_name,
                given,
            )
        name = self._one(model, class_name, traits, given, version, ENV_MODEL_NAME) if given else class_name
        return Name(name, version)

    def _one(self, model: Any, class_name: str, traits: Hashable, given: str, version: str, giver: str) -> str:
        """Return the given name if it is this model's, else one with its class."""
        name = self._by_instance.get(model)
        if name is not None and (name == given or name.startswith(f"{given}/")):
            return name
        name = self._by_traits.get((given, class_name, traits))
        if name is None:
            name = self._new(given, class_name, (class_name, traits), giver)
            if len(self._by_traits) < MODELS:
                self._by_traits[given, class_name, traits] = name
        elif self._is_held(name, version):
            report(
                f"shared name {name}",
                "%r is the name (from %s) of two objects of class %s with the same features; if they are different "
                "models, name each in the code, with name_model",
                name,
                giver,
                class_name,
            )
        self._by_instance.put(model, name)
        with suppress(TypeError):  # an object with slots may not allow references
            if len(self._holders) < MODELS:
                self._holders[name, version] = ref(model)
        return name

    def _is_held(self, name: str, version: str) -> bool:
        """Return whether an object that has the name and version still exists."""
        holder = self._holders.get((name, version))
        return holder is not None and holder() is not None

    def _new(self, given: str, class_name: str, owner: Hashable, giver: str) -> str:
        # Two threads may come at once: setdefault lets one of them have the name.
        if len(self._owners) >= MODELS and given not in self._owners:
            return given
        if self._owners.setdefault(given, owner) == owner:
            return given
        base = name = f"{given}/{class_name}"
        number = 1
        while len(self._owners) < MODELS and self._owners.setdefault(name, owner) != owner:
            number += 1
            name = f"{base}-{number}"
        report(
            f"second model {name}",
            "%r (from %s) names one model, but this process predicts with another one, too, which is observed as %r; "
            "name each model in the code, with name_model",
            given,
            giver,
            name,
        )
        return name
