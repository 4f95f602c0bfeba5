"""Wraps the methods of every framework: one prediction per call, and no error of ours reaches the application.

A framework defines what a call is (:data:`Begin`) and what its result means (:class:`Started`). The order of steps
around the user's call, the guard against nested calls and the shield against our own errors are here, so that a
framework cannot get them wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, ParamSpec, TypeAlias, TypeVar
from weakref import ref

from opentelemetry.context import attach, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import get_current_span

from otel_ml.activity import inside_prediction
from otel_ml.frameworks.last import remember
from otel_ml.frameworks.patches import Around
from otel_ml.prediction import Prediction
from otel_ml.problems import report
from otel_ml.semconv import INSTRUMENTATION_SCOPE, SPAN_PREDICT

RequestHook: TypeAlias = Callable[[Prediction, Any, tuple[Any, ...], dict[str, Any]], object]
"""``hook(prediction, model, args, kwargs)`` runs before the call: the place for an id or segments."""
ResponseHook: TypeAlias = Callable[[Prediction, Any, Any], object]
"""``hook(prediction, model, result)`` runs after the call and after our own recording, which it may override."""

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

_inside: Final = inside_prediction

# Another thread may evict the same entry first. No lock: a weak reference's callback may run while it is held.
_RACES = (KeyError, RuntimeError, StopIteration)


@dataclass(frozen=True, slots=True)
class Started:
    """A call that is a prediction: the object that observes it, and how its result is recorded.

    ``record`` gets the result and returns false if it is not a prediction after all; nothing is emitted then.
    """

    prediction: Prediction
    record: Callable[[Any], bool]


Begin: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Started | None]
"""``begin(model, args, kwargs)`` decides before the call whether it is a prediction; None lets it pass unobserved."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The application's own code around a prediction; its exceptions are logged, never raised."""

    request: RequestHook | None = None
    response: ResponseHook | None = None


is_inside: Final = _inside.get
"""Return whether a call of a model, or a block that is not observed, is open here: the quick half of `is_nested`."""


def is_nested() -> bool:
    """Return whether this code runs inside a prediction, or inside a block whose predictions are not observed.

    This includes the application's own ``with Model(…).predict(…)``: a call observed by hand counts once.
    """
    if _inside.get():
        return True
    span: Any = get_current_span()
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == INSTRUMENTATION_SCOPE and span.name.startswith(SPAN_PREDICT)


@contextmanager
def quiet() -> Generator[None]:
    """Do not observe predictions inside the block: they train or evaluate a model, and serve no one.

    >>> with quiet():
    ...     is_nested()
    True
    >>> is_nested()
    False
    """
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def quietly(original: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method inside which nothing is observed, such as ``fit``."""
    token = _inside.set(True)
    try:
        return original(instance, *args, **kwargs)
    finally:
        _inside.reset(token)


def observing(begin: Begin, hooks: Hooks) -> Around:
    """Return the :data:`~otel_ml.frameworks.patches.Around` for methods that predict.

    Only the outermost call in a thread or task is observed, and none under ``suppress_instrumentation``. The result is
    returned and an exception passed on unchanged; a failure on our side is logged once.
    """

    def around(original: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_nested() or not is_instrumentation_enabled():
            return original(instance, *args, **kwargs)
        started = shielded(begin, instance, args, kwargs)
        if started is None:
            return original(instance, *args, **kwargs)
        prediction = started.prediction
        outside = get_current()
        shielded(prediction.__enter__)
        if hooks.request is not None:
            shielded(hooks.request, prediction, instance, args, kwargs)
        token = _inside.set(True)
        try:
            try:
                result = original(instance, *args, **kwargs)
            finally:
                _inside.reset(token)  # before the prediction resets it: a later reset would bring back its True
        except BaseException as error:
            shielded(prediction.__exit__, type(error), error, error.__traceback__)
            raise
        if prediction.recording and shielded(started.record, result) is False:
            attach(outside)  # a span that never ends is never exported
            prediction.withdraw()
            return result
        if hooks.response is not None:
            shielded(hooks.response, prediction, instance, result)
        shielded(prediction.__exit__, None, None, None)
        shielded(remember, prediction)
        return result

    return around


def shielded(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Call our own code beside the application's; if it raises, log that once and return None.

    >>> shielded(max, [3, 5])
    5
    """
    try:
        return call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - our failure must not stop the application's call
        name = getattr(call, "__qualname__", repr(type(call)))
        report(f"instrumentation {name} {type(error).__name__}", "%s failed; the call continues", name, error=error)
        return None


class ByInstance(Generic[V]):
    """Values kept by the identity of an object, outside of it; an entry disappears with its object.

    Beyond ``limit`` entries the oldest is dropped. An object that does not allow weak references (``__slots__``) is
    kept alive by its entry, at most ``STRONG_LIMIT`` of them; the least recently used is dropped first.

    >>> class Estimator:
    ...     __hash__ = None
    >>> one, other = Estimator(), Estimator()
    >>> notes = ByInstance()
    >>> notes.put(one, "first")
    >>> notes.get(one), notes.get(other)
    ('first', None)
    >>> del one
    >>> len(notes)
    0
    """

    STRONG_LIMIT = 64

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._weak: dict[int, tuple[ref[Any], V]] = {}
        self._strong: OrderedDict[int, tuple[Any, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._weak) + len(self._strong)

    def get(self, instance: Any) -> V | None:
        """Return the value kept for this very object, None if there is none."""
        key = id(instance)
        weak = self._weak.get(key)
        if weak is not None:
            return weak[1] if weak[0]() is instance else None
        if not self._strong:
            return None
        strong = self._strong.get(key)
        if strong is None:
            return None
        with suppress(*_RACES):
            self._strong.move_to_end(key)
        return strong[1]

    def put(self, instance: Any, value: V) -> None:
        """Keep a value for this object, in place of the previous one."""
        key = id(instance)
        try:
            self._weak[key] = (ref(instance, lambda gone: self._forget(key, gone)), value)
        except TypeError:
            self._strong[key] = (instance, value)
            with suppress(*_RACES):
                while len(self._strong) > self.STRONG_LIMIT:
                    self._strong.popitem(last=False)
            return
        with suppress(*_RACES):
            while len(self._weak) > self._limit:
                self._weak.pop(next(iter(self._weak)))

    def drop(self, instance: Any) -> None:
        """Drop the value kept for this object."""
        if self.get(instance) is not None:
            self._weak.pop(id(instance), None)
            self._strong.pop(id(instance), None)

    def clear(self) -> None:
        """Drop every value."""
        self._weak.clear()
        self._strong.clear()

    def _forget(self, key: int, gone: ref[Any]) -> None:
        entry = self._weak.get(key)
        if entry is not None and entry[0] is gone:
            self._weak.pop(key, None)
