"""What the observers of libraries share: how methods are observed, and how a model of the library is handled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from otel_ml.frameworks.base import Begin, Started, observing, quietly, shielded
from otel_ml.frameworks.callers import driven_by
from otel_ml.frameworks.framework import Options
from otel_ml.frameworks.names import Plans
from otel_ml.frameworks.patches import Patches
from otel_ml.problems import report

Plan: TypeAlias = Mapping[str, Begin]
"""How the calls of one model are observed, by method: decided once, empty if nothing is emitted."""


class LibraryObserver:
    """One instrumentation of a library, from ``instrument`` to ``uninstrument``.

    ``plan(model)`` decides how the calls of a model are observed. Calls that are ``driven_by`` modules whose names
    begin like this are not observed: they evaluate a model, or another instrumentation observes the call around them.
    """

    def __init__(self, options: Options, plan: Callable[[Any], Plan], driven_by: tuple[str, ...] = ("sklearn.",)):
        self.models = options.models()
        self.patches = Patches()
        self._hooks = options.hooks
        self._plans = Plans[Plan](plan, {})
        self._drivers = driven_by

    def observe(self, cls: type, *methods: str) -> None:
        """Observe the methods that predict."""
        for method in methods:
            self.patches.replace(cls, method, observing(partial(self._begin, method), self._hooks))

    def hush(self, cls: type, *methods: str) -> None:
        """Observe nothing within these methods."""
        for method in methods:
            self.patches.replace(cls, method, quietly)

    def hush_and_forget(self, cls: type, *methods: str) -> None:
        """Observe nothing within methods that change a model, and forget what it was."""
        for method in methods:
            self.patches.replace(cls, method, self._changing)

    def hush_functions(self, modules: Iterable[Any], *functions: str) -> None:
        """Observe nothing within functions, wherever modules have them."""
        for module in modules:
            for function in functions:
                self.patches.replace_function(module, function, _quiet_function)

    def _begin(self, method: str, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        if driven_by(*self._drivers):
            return None
        begin = self._plans.of(model).get(method)
        return None if begin is None else begin(model, args, kwargs)

    def _changing(self, original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return quietly(original, model, args, kwargs)
        finally:
            shielded(self._plans.drop, model)


def _quiet_function(original: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return quietly(original, module, args, kwargs)


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: Any = None) -> Any:
    """Return an argument of a call, given by position or by name.

    >>> argument((1, 2), {"c": 3}, 1, "b"), argument((1, 2), {"c": 3}, 2, "c"), argument((), {}, 0, "a")
    (2, 3, None)
    """
    return args[position] if len(args) > position else kwargs.get(name, default)


def left_out(model: str, what: str) -> Plan:
    """Report a model whose calls are not observed, and return the plan for it: nothing."""
    report(f"left out {model} {what}", "a %s is not observed: %s", model, what)
    return {}
