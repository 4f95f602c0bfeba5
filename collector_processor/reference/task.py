"""Infer a model's task and positive class from its rows if they are not given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from otel_ml.semconv import TASKS, Task

POSITIVE_WORDS: Final = ("1", "yes", "y", "positive", "pos", "fraud", "spam", "churn")
"""Classes that are positive by convention, in upper or lower case; ``true`` is the class ``1``."""
_OPPOSITES: Final = {"0": "1", "-1": "1", "no": "yes", "n": "y", "negative": "positive", "neg": "pos"}
CODES: Final = 1000
"""Most distinct whole numbers that may be codes of classes."""
_BINARY: Final[Task] = "binary_classification"
_MULTICLASS: Final[Task] = "multiclass_classification"
_REGRESSION: Final[Task] = "regression"
_BY_NAME: Final[dict[str, Task]] = {task: task for task in TASKS}


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs in the rows: classes of predictions and labels, a score, values of predictions or labels."""

    classes: tuple[str, ...]
    has_score: bool
    has_value: bool


def task_of(model_name: str, given: str, sent: str, outputs: Outputs, strict: bool) -> Task | None:
    """Return the task: the ``given`` one, else the one ``sent`` with the rows, else what their outputs suggest.

    Values mean regression; up to two classes, or only a score, binary; more classes, multiclass; no outputs, no task.
    A ``given`` task that the outputs contradict raises ``ValueError`` if ``strict``, and is ignored otherwise.

    >>> task_of("m", "", "", Outputs(("no", "yes"), has_score=True, has_value=False), strict=True)
    'binary_classification'
    """
    for named, binding in ((given, strict), (sent, False)):
        if not named:
            continue
        task = _BY_NAME.get(named)
        if task is None:
            if binding:
                raise ValueError(f"model '{model_name}': unknown task '{named}'; allowed: {', '.join(TASKS)}")
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
    """Return why the outputs cannot be of this task; empty if they can."""
    if task == _BINARY and len(outputs.classes) > 2:
        return f"there are {len(outputs.classes)} classes: {listed(outputs.classes)}"
    if task == _REGRESSION and outputs.classes and not outputs.has_value:
        return f"there are classes instead of values: {listed(outputs.classes)}"
    if task != _REGRESSION and outputs.has_value and not outputs.classes:
        return "there are values instead of classes"
    return ""


def may_be_classes(values: F64 | None) -> bool:
    """Return whether predicted values are a few whole numbers, which may be the codes of classes.

    >>> may_be_classes(np.array([0.0, 1.0, 49.0])), may_be_classes(np.array([0.5, 2.0])), may_be_classes(None)
    (True, False, False)
    """
    finite = np.empty(0) if values is None else values[np.isfinite(values)]
    distinct = np.unique(finite)
    return 0 < len(distinct) <= CODES and bool((distinct == np.floor(distinct)).all())


def positive_of(
    model_name: str, task: Task | None, given: str, sent: str, classes: Sequence[str], strict: bool
) -> tuple[str, tuple[str, ...]]:
    """Return the positive class and all classes in order; no positive class unless the task is binary classification.

    It is the ``given`` class, else the one ``sent`` with the rows, else :func:`positive_among` the classes. A class
    that is ``given`` but not among the ``classes`` raises ``ValueError`` if ``strict``; otherwise it is added to one
    other class: the first rows of a model may contain no positive one. Of two other classes, the names decide.

    >>> positive_of("m", "binary_classification", "", "", ("No", "Yes"), strict=True)
    ('Yes', ('No', 'Yes'))
    >>> positive_of("m", "binary_classification", "", "1", ("0",), strict=False)
    ('1', ('0', '1'))
    """
    known = tuple(sorted(classes))
    if task != _BINARY:
        if given and strict:
            raise ValueError(
                f"model '{model_name}': positive class '{given}' given, but the task is {task or 'unknown'}"
            )
        return "", known
    if given and strict and known and given not in known:
        raise ValueError(f"model '{model_name}': no class '{given}'; available: {listed(known)}")
    for named in filter(None, (given, sent)):
        if named in known or not known:
            return named, known
        if len(known) < 2:
            return named, tuple(sorted((*known, named)))
    return positive_among(known), known


def positive_among(classes: Sequence[str]) -> str:
    """Return the class with a conventional name (:data:`POSITIVE_WORDS`), else the last of two or more in sorted order.

    One class alone is not positive because it came first: the other one may still come. It is positive by its name.

    The class ``1`` is not the positive one of ``1`` and ``2``.

    >>> positive_among(["0"]), positive_among(["1"]), positive_among(["ok", "Fraud"]), positive_among(["a", "b"])
    ('', '1', 'Fraud', 'b')
    >>> positive_among(["1", "2"]), positive_among(["-1", "1"]), positive_among(["9", "10"])
    ('2', '1', '10')
    """
    return _conventional(classes) or (_last(classes) if len(classes) > 1 else "")


def shown_positive(scored: str, classes: Sequence[str]) -> str:
    """Return the class that the scores are about if it is the positive one: names that say so count more.

    >>> shown_positive("bad", ["bad", "good"]), shown_positive("0", ["0", "1"]), shown_positive("", ["bad", "good"])
    ('bad', '', '')
    """
    return "" if _conventional(classes) else scored


def opposite(classes: Sequence[str]) -> str:
    """Return the positive class that the name of the only class implies; empty if there are more, or its name does not.

    >>> opposite(["0"]), opposite(["No"]), opposite(["legit"]), opposite(["0", "2"])
    ('1', 'Yes', '', '')
    """
    if len(classes) != 1:
        return ""
    [name] = classes
    positive = _OPPOSITES.get(name.casefold(), "")
    return positive.upper() if name.isupper() else positive.title() if name.istitle() else positive


def is_conventional(positive_class: str, classes: Iterable[str]) -> bool:
    """Return whether a class is positive by its name, beside the other classes.

    >>> is_conventional("1", ["0", "1"]), is_conventional("1", ["0"]), is_conventional("1", ["1", "2"])
    (True, True, False)
    """
    return _conventional((*classes, positive_class)) == positive_class


def _conventional(classes: Iterable[str]) -> str:
    """Return the class that is positive by its name among others; empty if there is none."""
    by_word = {name.casefold(): name for name in classes}
    if "1" in by_word and any(name.isdecimal() and int(name) > 1 for name in by_word):
        by_word.pop("1")  # classes that are counted from 1
    return next((by_word[word] for word in POSITIVE_WORDS if word in by_word), "")


def _last(classes: Iterable[str]) -> str:
    """Return the last class in sorted order; whole numbers come in the order of their values."""
    return max(classes, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Return names for a message, shortened after ``limit``.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
