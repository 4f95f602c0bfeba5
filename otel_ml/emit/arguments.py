"""Checks arguments that must not raise: a bad one is reported once and left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, cast

from otel_ml.encode.scalar import INT64_MAX
from otel_ml.problems import report

RECORD_ARGUMENTS: Final = ("class_", "score", "value", "scores", "attributions", "id", "segments")


def wrong_arguments(
    function: str, misplaced: Sequence[object], unknown: Mapping[str, object], known: Sequence[str], example: str
) -> str:
    """Return a message for arguments that a function does not take, with the name that was probably meant.

    >>> wrong_arguments("record", [0.8], {}, RECORD_ARGUMENTS, "record(score=0.83)")
    'record() takes its arguments by name, such as record(score=0.83): class_, score, value, scores, attributions, ...
    >>> wrong_arguments("record", [], {"scor": 0.8}, RECORD_ARGUMENTS, "record(score=0.83)")
    "record() has no argument 'scor'; did you mean 'score'? It has: class_, score, value, scores, attributions, ...
    """
    if misplaced:
        return f"{function}() takes its arguments by name, such as {example}: {', '.join(known)}"
    name = next(iter(unknown))
    meant = _MEANT.get(name.lower()) or next(iter(get_close_matches(name, known, 1)), None)
    hint = f"; did you mean {meant!r}?" if meant in known else "."
    return f"{function}() has no argument {name!r}{hint} It has: {', '.join(known)}"


_MEANT: Final = {
    "label": "class_",
    "cls": "class_",
    "prediction": "class_",
    "probability": "score",
    "proba": "score",
    "probabilities": "scores",
    "prediction_id": "id",
    "shap": "attributions",
    "output": "value",
    "y": "value",
}


def mapping(value: object, argument: str) -> Mapping[Any, object] | None:
    """Return the mapping itself; None, and a report, for anything else."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, object]", value)
    report(f"no mapping {argument}", "%s must be a mapping by name, not %s; dropped", argument, type(value).__name__)
    return None


def event_time(time_ns: object) -> int | None:
    """Return a time that a span can hold (Unix nanoseconds); None, and a report, for anything else.

    >>> event_time(1_700_000_000_000_000_000)
    1700000000000000000
    """
    plain = getattr(time_ns, "item", lambda: time_ns)()
    if isinstance(plain, int) and 0 < plain <= INT64_MAX:
        return plain
    report("time_ns", "time_ns must be Unix nanoseconds from 1 to 2⁶³ − 1; using the current time")
    return None
