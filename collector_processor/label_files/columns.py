"""Which columns of a table are the ids, the labels, their times and their models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.reference.task import listed
from otel_ml.semconv import LABEL_CLASS, LABEL_TIME, LABEL_VALUE, MODEL_NAME, PREDICTION_ID

_IDS: Final = (PREDICTION_ID, "prediction_id", "id")
_CLASSES: Final = (LABEL_CLASS, "class")
_VALUES: Final = (LABEL_VALUE, "value")
_EITHER: Final = ("label", "target")
_TIMES: Final = (LABEL_TIME, "time")
_MODELS: Final = (MODEL_NAME, "model")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns that the user names; empty ones are looked for by their usual names."""

    id: str = ""
    class_: str = ""
    value: str = ""
    time: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """The columns of labels. ``either`` is one of classes or values, whichever its cells are."""

    id: str
    class_: str = ""
    value: str = ""
    either: str = ""
    time: str = ""
    model: str = ""

    @property
    def names(self) -> list[str]:
        """The columns to read, each once."""
        named = (self.id, self.class_, self.value, self.either, self.time, self.model)
        return list(dict.fromkeys(filter(None, named)))


def label_columns(where: str, names: Sequence[str], wanted: Wanted, model: str) -> LabelColumns:
    """Return the columns of a table's labels; ``model`` is the model of all rows, if there is one.

    Raises ``ValueError`` with the columns that there are.

    >>> label_columns("file 'a.csv'", ["id", "label", "model"], Wanted(), "")
    LabelColumns(id='id', class_='', value='', either='label', time='', model='model')
    >>> label_columns("file 'a.csv'", ["key", "class"], Wanted(), "fraud")
    Traceback (most recent call last):
    ...
    ValueError: file 'a.csv': no column 'prediction_id'; it has: key, class. Name the column of the ids with --id
    """
    for name in (wanted.id, wanted.class_, wanted.value, wanted.time, wanted.model):
        if name and name not in names:
            raise ValueError(f"{where}: no column '{name}'; it has: {listed(list(names))}")
    chosen = wanted.class_ or wanted.value
    class_ = wanted.class_ or ("" if chosen else _first(_CLASSES, names))
    value = wanted.value or ("" if chosen else _first(_VALUES, names))
    either = [name for name in _EITHER if name in names]
    if class_ or value:
        either = []
    id_ = wanted.id or _first(_IDS, names)
    if not id_:
        raise _missing(where, "prediction_id", names, "Name the column of the ids with --id")
    if not (class_ or value or either):
        raise _missing(where, "class", names, "Name the column of the labels with --class or --value")
    if len(either) > 1:
        raise ValueError(f"{where}: 'label' and 'target' may both be the labels; choose with --class or --value")
    model_column = wanted.model or ("" if model else _first(_MODELS, names))
    if not (model or model_column):
        raise _missing(where, "model", names, "Name the model with --model, or its column with --model-column")
    time = wanted.time or _first(_TIMES, names)
    return LabelColumns(id_, class_, value, next(iter(either), ""), time, model_column)


def _first(candidates: Sequence[str], names: Sequence[str]) -> str:
    return next((name for name in candidates if name in names), "")


def _missing(where: str, name: str, names: Sequence[str], remedy: str) -> ValueError:
    return ValueError(f"{where}: no column '{name}'; it has: {listed(list(names))}. {remedy}")
