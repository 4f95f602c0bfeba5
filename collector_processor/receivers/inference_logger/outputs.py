"""Which output of a model is its class, its score, its value or its scores.

Settings decide. Without them: integers, truth values and texts are the class, decimals the value (with a class beside
them and between 0 and 1: the score), and several columns that add up to 1 in every row are the scores of classes. With
a task, decimals are the value of a regression and the score of a classification. What is left is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.receivers.inference_logger.settings import LoggedModel, OutputRole
from collector_processor.receivers.inference_logger.table import Cells, Lost, Part
from otel_ml.classes import canonical_class

_TOLERANCE: Final = 0.01
"""How far probabilities may be from adding up to 1: half precision has three digits."""
_NOTHING: Final = type(None)
_Plan = dict[OutputRole, list[Part]]


@dataclass(slots=True)
class Outputs:
    """The outputs of the rows of one call; None for what the model does not have."""

    class_: Cells | None = None
    score: Cells | F64 | None = None
    value: Cells | F64 | None = None
    scores: dict[str, F64] = field(default_factory=dict[str, F64])
    assumed: str = ""
    """How an output was read that nothing says how to read; empty if no guess was needed."""


def read_outputs(parts: Sequence[Part], settings: LoggedModel, lost: Lost) -> Outputs:
    """Return the outputs in ``parts``, which all have the same rows.

    >>> read_outputs([Part("", 2, [["yes", "no"]])], LoggedModel(), Lost()).class_
    ['yes', 'no']
    >>> scores = Part("", 2, [(0.25, 0.5), (0.75, 0.5)])
    >>> read_outputs([scores], LoggedModel(classes=("no", "yes")), Lost()).score.tolist()
    [0.75, 0.5]
    """
    plan, outputs = _plan(parts, settings, lost), Outputs()
    for role, chosen in plan.items():
        if len(chosen) > 1:
            names = ", ".join(repr(part.name) for part in chosen[:5])
            lost.add(
                "outputs", chosen[0].rows, f"outputs {names} all look like the {role}; name the right one in outputs"
            )
            continue
        _take(outputs, role, chosen[0], settings, lost)
    _decide(outputs, settings)
    outputs.assumed = _assumed(plan, settings)
    return outputs


def _plan(parts: Sequence[Part], settings: LoggedModel, lost: Lost) -> _Plan:
    plan: _Plan = {}
    decimals: list[Part] = []
    for part in parts:
        role = _configured(part, settings) or _evident(part, settings)
        if role == "ignore":
            continue
        if role is not None:
            plan.setdefault(role, []).append(part)
        elif len(part.columns) == 1:
            decimals.append(part)
        else:
            lost.add("outputs", part.rows, f"{_called(part)} has {len(part.columns)} columns that do not add up to 1")
    for part in decimals:
        if _missing(part.columns[0]):
            continue
        if "class" in plan and not _are_probabilities(part.columns):
            lost.add("outputs", part.rows, f"{_called(part)} is beside a class, but not between 0 and 1")
            continue
        plan.setdefault(_decimal_role(plan, settings), []).append(part)
    return plan


def _configured(part: Part, settings: LoggedModel) -> OutputRole | None:
    if isinstance(settings.outputs, Mapping):
        return settings.outputs.get(part.name, "ignore")
    return settings.outputs


def _evident(part: Part, settings: LoggedModel) -> OutputRole | None:
    """Return the role that types and shape leave no doubt about; None for decimals and what fits nothing."""
    if len(part.columns) > 1:
        return "scores" if _add_up(part.columns) else None
    kinds = set(map(type, part.columns[0])) - {_NOTHING}
    if not kinds:
        return None
    amounts = kinds <= {int, float}
    if amounts and settings.task == "regression":
        return "value"
    if part.kind == "class" or not amounts or kinds == {int}:
        return "class"
    whole = settings.task is not None and all(cell is None or float(cell).is_integer() for cell in part.columns[0])
    return "class" if whole else None


def _decimal_role(plan: _Plan, settings: LoggedModel) -> OutputRole:
    return "score" if settings.task is not None or "class" in plan else "value"


def _take(outputs: Outputs, role: OutputRole, part: Part, settings: LoggedModel, lost: Lost) -> None:
    if role == "scores" or (role == "score" and len(part.columns) == 2):
        _take_scores(outputs, part, settings, lost)
    elif len(part.columns) > 1:
        lost.add(
            "outputs", part.rows, f"{_called(part)} has {len(part.columns)} columns, so it is not one {role} a row"
        )
    elif role == "class":
        outputs.class_ = part.columns[0]
    else:
        texts = sum(isinstance(cell, str) for cell in part.columns[0])
        lost.add("outputs", texts, f"{_called(part)} has texts, so it is not a {role}")
        numbers = [None if isinstance(cell, str) else cell for cell in part.columns[0]]
        if role == "score":
            outputs.score = numbers
        else:
            outputs.value = numbers


def _take_scores(outputs: Outputs, part: Part, settings: LoggedModel, lost: Lost) -> None:
    width = len(part.columns)
    if settings.classes and len(settings.classes) != width:
        lost.add(
            "outputs",
            part.rows,
            f"{_called(part)} has {width} columns of scores, but classes names {len(settings.classes)}",
        )
        return
    names = settings.classes or part.names or [str(column) for column in range(width)]
    table = _numbers(part.columns)
    if table is None:
        lost.add("outputs", part.rows, f"{_called(part)} has scores that are not numbers")
        return
    if width == 1:
        outputs.score = table[0]
        return
    outputs.scores = dict(zip(names, table, strict=True))


def _decide(outputs: Outputs, settings: LoggedModel) -> None:
    """Choose the score, and the class if the model sent only scores, as the instrumentation does."""
    names, table = list(outputs.scores), np.array(list(outputs.scores.values()))
    if len(names) == 2:
        wanted = canonical_class(settings.positive_class)
        positive = next((at for at, name in enumerate(names) if canonical_class(name) == wanted), 1)
        above = table[positive] > table[1 - positive]
        if settings.threshold is not None:
            above = table[positive] >= settings.threshold
        outputs.score = table[positive] if outputs.score is None else outputs.score
        likeliest = np.where(above, positive, 1 - positive)
    elif names:
        likeliest = table.argmax(axis=0)
        outputs.score = table.max(axis=0) if outputs.score is None and outputs.class_ is None else outputs.score
    elif (
        outputs.score is not None
        and outputs.class_ is None
        and len(settings.classes) == 2
        and settings.threshold is not None
    ):
        names = list(settings.classes)
        positive = names.index(settings.positive_class) if settings.positive_class in names else 1
        scores = np.array([np.nan if score is None else score for score in outputs.score], np.float64)
        likeliest = np.where(scores >= settings.threshold, positive, 1 - positive)
    else:
        return
    if outputs.class_ is None:
        outputs.class_ = [names[at] for at in likeliest.tolist()]


def _assumed(plan: _Plan, settings: LoggedModel) -> str:
    if settings.outputs is not None or settings.task is not None:
        return ""
    if "value" in plan:
        return "its decimals are counted as predicted values; if they are probabilities of a class, set outputs: score"
    if plan.keys() == {"class"} and any(set(map(type, part.columns[0])) <= {int, _NOTHING} for part in plan["class"]):
        return "its integers are counted as classes; if they are predicted values, set outputs: value"
    return ""


def _called(part: Part) -> str:
    return f"output {part.name!r}" if part.name else "the output"


def _missing(cells: Iterable[Any]) -> bool:
    return all(cell is None for cell in cells)


def _numbers(columns: Sequence[Cells]) -> F64 | None:
    if any(isinstance(cell, (str, bool)) for column in columns for cell in column):
        return None
    try:
        return np.array([[np.nan if cell is None else cell for cell in column] for column in columns], np.float64)
    except (OverflowError, ValueError, TypeError):
        return None


def _are_probabilities(columns: Sequence[Cells]) -> bool:
    table = _numbers(columns)
    return table is not None and bool(((table >= -_TOLERANCE) & (table <= 1 + _TOLERANCE) | np.isnan(table)).all())


def _add_up(columns: Sequence[Cells]) -> bool:
    table = _numbers(columns)
    if table is None or not _are_probabilities(columns):
        return False
    sums = table.sum(axis=0)
    return bool((np.isnan(sums) | (np.abs(sums - 1) <= _TOLERANCE)).all()) and not bool(np.isnan(sums).all())
