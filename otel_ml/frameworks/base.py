"""The safe wrap under every framework: one prediction a call, and nothing of ours ever reaches the application.

A framework says what a call is (:data:`Begin`) and what its result means (:class:`Started`). The order of things around
the user's call, the guard against nested calls and the shield against our own errors are here, so that a framework
cannot get them wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar
from weakref import ref

from opentelemetry.context import attach, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import get_current_span

from otel_ml.frameworks.last import remember
from otel_ml.frameworks.patches import Around
from otel_ml.prediction import Prediction
from otel_ml.problems import report
from otel_ml.semconv import INSTRUMENTATION_SCOPE, SPAN_PREDICT

RequestHook: TypeAlias = Callable[[Prediction, Any, tuple[Any, ...], dict[str, Any]], object]
"""``hook(prediction, model, args, kwargs)`` runs before the call: the place for an id or segments."""
ResponseHook: TypeAlias = Callable[[Prediction, Any, Any], object]
"""``hook(prediction, model, result)`` runs after the call and after our own recording; it may overrule it."""

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

_inside: ContextVar[bool] = ContextVar("otel_ml_inside_prediction", default=False)

# Another thread may evict the same entry first. No lock: a weak reference's callback may run while it is held.
_RACES = (KeyError, RuntimeError, StopIteration)


@dataclass(frozen=True, slots=True)
class Started:
    """A call that is a prediction: what observes it, and how its result is recorded.

    ``record`` gets the result and returns false where it is no prediction after all; nothing is emitted then.
    """

    prediction: Prediction
    record: Callable[[Any], bool]


Begin: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Started | None]
"""``begin(model, args, kwargs)`` decides before the call whether it is a prediction; None lets it pass unobserved."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The application's own code around a prediction; what it raises is logged, never raised."""

    request: RequestHook | None = None
    response: ResponseHook | None = None


def is_nested() -> bool:
    """Whether this code runs inside a prediction, or inside something whose predictions are not the application's.

    True as well inside the application's own ``with Model(…).predict(…)``: what is watched by hand counts once.
    """
    if _inside.get():
        return True
    span: Any = get_current_span()
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == INSTRUMENTATION_SCOPE and span.name.startswith(SPAN_PREDICT)


@contextmanager
def quiet() -> Generator[None]:
    """Predictions inside the block are not observed: they train or judge a model, nobody is served by them.

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
    """The :data:`~otel_ml.frameworks.patches.Around` for methods inside which nothing is observed (``fit``)."""
    token = _inside.set(True)
    try:
        return original(instance, *args, **kwargs)
    finally:
        _inside.reset(token)


def observing(begin: Begin, hooks: Hooks) -> Around:
    """The :data:`~otel_ml.frameworks.patches.Around` for methods that predict.

    Only the outermost call in a thread or task is observed, none under ``suppress_instrumentation``. The result
    is handed back as it is, an exception passes as it is; whatever fails on our side is logged once.
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
            result = original(instance, *args, **kwargs)
        except BaseException as error:
            shielded(prediction.__exit__, type(error), error, error.__traceback__)
            raise
        finally:
            _inside.reset(token)
        if prediction.recording and shielded(started.record, result) is False:
            attach(outside)  # a span that never ends is never exported
            return result
        if hooks.response is not None:
            shielded(hooks.response, prediction, instance, result)
        shielded(prediction.__exit__, None, None, None)
        shielded(remember, prediction)
        return result

    return around


def shielded(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Call something of ours next to the application's code: what it raises is logged once, and None returned.

    >>> shielded(max, [3, 5])
    5
    """
    try:
        return call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the application's call goes on whatever ours does
        name = getattr(call, "__qualname__", repr(type(call)))
        report(f"instrumentation {name} {type(error).__name__}", "%s failed; the call goes on", name, error=error)
        return None


class ByInstance(Generic[V]):
    """Values kept beside objects, by identity: never part of the object, gone when it is gone.

    The oldest entry goes when there are more than ``limit``. Objects that take no weak reference (``__slots__``) are
    kept alive by their entry instead, at most ``STRONG_LIMIT`` of them, the least recently used going first.

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
        """What is kept for this very object, None where nothing is."""
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
        """Keep a value for this object, in place of the one before."""
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
        """Keep nothing for this object any more."""
        if self.get(instance) is not None:
            self._weak.pop(id(instance), None)
            self._strong.pop(id(instance), None)

    def clear(self) -> None:
        """Keep nothing for any object."""
        self._weak.clear()
        self._strong.clear()

    def _forget(self, key: int, gone: ref[Any]) -> None:
        entry = self._weak.get(key)
        if entry is not None and entry[0] is gone:
            self._weak.pop(key, None)
