"""What a model is for, told from its rows where nobody said it: the task and the positive class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from otel_ml.semconv import TASKS, Task

POSITIVE_WORDS: Final = ("1", "true", "yes", "positive", "y")
"""Classes that are the positive one by convention, in any case of letters."""
_BINARY: Final[Task] = "binary_classification"
_MULTICLASS: Final[Task] = "multiclass_classification"
_REGRESSION: Final[Task] = "regression"
_BY_NAME: Final[dict[str, Task]] = {task: task for task in TASKS}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the rows have: classes of predictions and labels, a score, values of predictions or labels."""

    classes: tuple[str, ...]
    has_score: bool
    has_value: bool


def task_of(model_name: str, given: str, sent: str, outputs: Outputs, strict: bool) -> Task | None:
    """The task: what was ``given``, else what the rows were ``sent`` with, else what their outputs look like.

    Values mean regression, up to two classes or a score alone binary, more classes multiclass; no outputs, no task.
    A ``given`` task that the outputs contradict raises ``ValueError`` when ``strict`` and is passed over otherwise.

    >>> task_of("m", "", "", Outputs(("no", "yes"), has_score=True, has_value=False), strict=True)
    'binary_classification'
    """
    for told, binding in ((given, strict), (sent, False)):
        if not told:
            continue
        task = _BY_NAME.get(told)
        if task is None:
            if binding:
                raise ValueError(f"model '{model_name}': unknown task '{told}'; allowed: {', '.join(TASKS)}")
            continue
        contradiction = _contradiction(task, outputs)
        if not contradiction:
            return task
        if binding:
            raise ValueError(f"model '{model_name}': task is {task}, but {contradiction}")
    if outputs.has_value:
        return _REGRESSION
    if len(outputs.classes) > 2:
        return _MULTICLASS
    return _BINARY if outputs.classes or outputs.has_score else None


def _contradiction(task: Task, outputs: Outputs) -> str:
    """Why the outputs cannot be of this task; empty if they can."""
    if task == _BINARY and len(outputs.classes) > 2:
        return f"there are {len(outputs.classes)} classes: {listed(outputs.classes)}"
    if task == _REGRESSION and outputs.classes and not outputs.has_value:
        return f"there are classes instead of values: {listed(outputs.classes)}"
    if task != _REGRESSION and outputs.has_value and not outputs.classes:
        return "there are values instead of classes"
    return ""


def positive_of(
    model_name: str, task: Task | None, given: str, classes: Sequence[str], strict: bool
) -> tuple[str, tuple[str, ...]]:
    """The positive class and all classes in order; no positive class unless the task is binary classification.

    What is not ``given`` is a class that says so (:data:`POSITIVE_WORDS`), else the last in sorted order. A class that
    is ``given`` but not among the ``classes`` raises ``ValueError`` when ``strict``; otherwise it joins them: the first
    rows of a model may well have no positive one.

    >>> positive_of("m", "binary_classification", "", ("No", "Yes"), strict=True)
    ('Yes', ('No', 'Yes'))
    >>> positive_of("m", "binary_classification", "", ("ham", "spam"), strict=True)[0]
    'spam'
    """
    known = tuple(sorted(classes))
    if task != _BINARY:
        if given and strict:
            raise ValueError(
                f"model '{model_name}': positive class '{given}' given, but the task is {task or 'unknown'}"
            )
        return "", known
    if given:
        if given in known or not known:
            return given, known
        if strict:
            raise ValueError(f"model '{model_name}': no class '{given}'; there are: {listed(known)}")
        return (given, tuple(sorted((*known, given)))) if len(known) < 2 else (_conventional(known), known)
    return (_conventional(known) if known else ""), known


def _conventional(classes: tuple[str, ...]) -> str:
    by_word = {name.casefold(): name for name in classes}
    return next((by_word[word] for word in POSITIVE_WORDS if word in by_word), classes[-1])


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names for a message, cut after ``limit``.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
