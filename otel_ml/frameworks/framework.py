"""The base of every framework's instrumentor: it waits for the framework's import, and holds options and patches.

A framework is a folder beside this file. Its ``instrumentor.py`` subclasses :class:`FrameworkInstrumentor` and returns
a :class:`FrameworkObserver`, which replaces the methods that predict (``observing`` in :mod:`.base`) and those whose
inner predictions do not count (``quietly``). The entry point ``opentelemetry_instrumentor`` names the class.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_ml import activity
from otel_ml.delivery.start import start
from otel_ml.frameworks.base import Hooks, shielded
from otel_ml.frameworks.described import Models
from otel_ml.frameworks.patches import Patches
from otel_ml.model import Model

_MODELS: Final = 256
"""Model handles kept, by their arguments; the least recently used is made again."""


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of ``instrument``: ``make_model`` takes those of :class:`~otel_ml.Model`, and caches handles."""

    make_model: Callable[..., Model]
    hooks: Hooks
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Options:
        """Read what every framework understands: config, providers and hooks."""
        common = {name: arguments.get(name) for name in ("config", "tracer_provider", "meter_provider")}
        hooks = Hooks(arguments.get("request_hook"), arguments.get("response_hook"))
        return cls(lru_cache(maxsize=_MODELS)(partial(Model, **common)), hooks, arguments)

    def models(self) -> Models:
        """Return what makes and names the handles of this instrumentation's models."""
        return Models(self.make_model)


class FrameworkObserver(Protocol):
    """One instrumentation of a framework, from ``instrument`` to ``uninstrument``."""

    patches: Patches

    def attach(self, module: ModuleType) -> None:
        """Replace the methods of the framework, whose module was just imported."""
        ...


ObserverT = TypeVar("ObserverT", bound=FrameworkObserver)


class FrameworkInstrumentor(BaseInstrumentor, Generic[ObserverT]):
    """Instruments one framework as soon as the application imports it; the framework itself is never imported here.

    ``instrument`` takes ``tracer_provider``, ``meter_provider``, ``config`` (:class:`otel_ml.Config`),
    ``request_hook(prediction, model, args, kwargs)`` and ``response_hook(prediction, model, result)``. A hook may
    ``prediction.record`` an id or segments.
    """

    distribution: ClassVar[str]
    """The name to install the framework by."""
    builds: ClassVar[tuple[str, ...]] = ()
    """Other distributions of the same package, such as those for one kind of processor."""
    versions: ClassVar[str]
    """The versions of the distribution that are instrumented, such as ``>= 1.2``."""
    module: ClassVar[str]
    """The module whose import makes the framework's classes available."""
    has_models: ClassVar[bool] = True
    """Whether its own calls are predictions; a server's hook only says for whom a library predicts."""

    observer: ObserverT | None = None
    _waiting = False

    @abstractmethod
    def observe(self, options: Options) -> ObserverT:
        """Return the observer of this instrumentation; it is attached when the framework's module is imported."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the requirement that the installed framework must meet."""
        names = (self.distribution, *self.builds)
        return (f"{next(filter(_is_installed, names), self.distribution)} {self.versions}",)

    def _instrument(self, **kwargs: Any) -> None:
        package = self.module.partition(".")[0]
        if find_spec(package) is None:
            # OpenTelemetry's loader expects this error, and silently skips the framework
            raise ModuleNotFoundError(f"No module named {package!r}; pip install {self.distribution}", name=package)
        start()  # before the application makes a pool of processes
        activity.watch()
        self.observer = self.observe(Options.of(kwargs))
        if not self._waiting:
            self._waiting = True
            wrapt.register_post_import_hook(self._imported, self.module)  # at once, if it is imported already
        elif self.module in sys.modules:
            self._imported(sys.modules[self.module])

    def _uninstrument(self, **kwargs: Any) -> None:
        if self.observer is not None:
            self.observer.patches.restore()
        self.observer = None

    def _imported(self, module: ModuleType) -> None:
        if self.observer is not None:
            self.observer.patches.active = True
            shielded(self.observer.attach, module)


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
