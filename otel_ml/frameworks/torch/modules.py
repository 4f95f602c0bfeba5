"""The modules that an application wants to be observed, and what their tensors mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from otel_ml.frameworks.base import ByInstance, shielded
from otel_ml.frameworks.names import name_model
from otel_ml.semconv import TASKS, Task

Outputs = Literal["logits", "probabilities", "values"]
_OUTPUTS: Final = get_args(Outputs)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the application says of a module."""

    task: Task
    outputs: Outputs
    features: tuple[str, ...] | None
    classes: tuple[Any, ...] | None


observed_modules: Final[ByInstance[Observed]] = ByInstance()
_listeners: Final[list[Callable[[type], object]]] = []
_classes: Final[set[type]] = set()


def observe_module(
    module: object,
    *,
    name: str,
    version: str = "",
    task: Task,
    outputs: Outputs | None = None,
    features: Sequence[str] | None = None,
    classes: Sequence[Any] | None = None,
) -> None:
    """Observe the calls of one PyTorch module that predict: in ``eval`` mode, without gradients.

    - ``name``, ``version``: of the model.
    - ``task``: ``binary_classification``, ``multiclass_classification`` or ``regression``.
    - ``outputs``: ``logits`` or ``probabilities``, which nothing in a module shows; a regression has ``values``.
    - ``features``: names of the columns of a 2-D input; by default ``x0``, ``x1``, ….
    - ``classes``: in the order of the outputs, by default 0, 1, …; of two, one output is about the second.

    Like a name, this is kept outside the module: pickles and copies do not carry it, so call it where the module is
    loaded. Without PyTorch's instrumentation it does nothing. Raises :class:`ValueError` for a wrong argument.

    >>> observe_module(object(), name="churn", task="binary_classification")
    Traceback (most recent call last):
    ...
    ValueError: observe_module: outputs is missing; of a classification they are 'logits' or 'probabilities'
    """
    if task not in TASKS:
        raise ValueError(f"observe_module: task {task!r} is unknown; allowed: {', '.join(TASKS)}")
    if outputs is None:
        if task != "regression":
            raise ValueError(
                "observe_module: outputs is missing; of a classification they are 'logits' or 'probabilities'"
            )
        outputs = "values"
    if outputs not in _OUTPUTS or (outputs == "values") != (task == "regression"):
        raise ValueError(f"observe_module: outputs {outputs!r} do not go with task {task!r}")
    name_model(module, name=name, version=version)
    names = None if features is None else tuple(map(str, features))
    observed_modules.put(module, Observed(task, outputs, names, None if classes is None else tuple(classes)))
    _classes.add(type(module))
    for listener in _listeners:
        shielded(listener, type(module))


def listen(listener: Callable[[type], object]) -> None:
    """Call ``listener`` with the class of each module to observe, those so far and those to come."""
    _listeners.append(listener)
    for cls in list(_classes):
        shielded(listener, cls)


def stop_listening(listener: Callable[[type], object]) -> None:
    """Do not call ``listener`` any longer."""
    if listener in _listeners:
        _listeners.remove(listener)
