"""Decorates a function so that each call is a prediction."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from otel_ml.columnar import predicting
from otel_ml.emit.arguments import RECORD_ARGUMENTS
from otel_ml.emit.emitter import Emitter
from otel_ml.prediction import Prediction
from otel_ml.problems import report

P = ParamSpec("P")
R = TypeVar("R")

ResultReader = Callable[[Any], Mapping[str, Any]]
"""Turns a function's result into arguments of :meth:`Prediction.record <otel_ml.Prediction.record>`."""


def observed_function(
    emitter: Emitter,
    target: Callable[P, R],
    features: str | int | None,
    id: str | None,
    result: str | ResultReader | None,
) -> Callable[P, R]:
    """Return the function with every call observed; see :meth:`Model.observe <otel_ml.Model.observe>`.

    Raises :class:`ValueError` for the name of an argument that the function does not have.
    """
    signature = inspect.signature(target)
    find_features = _finder(signature, target, features if features is not None else _first_argument(signature))
    find_id = None if id is None else _finder(signature, target, id)
    read_result = _reader(emitter, result)

    def prediction(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Prediction:
        id_given = None if find_id is None else find_id(args, kwargs)
        return predicting(emitter, find_features(args, kwargs), id_given, None, None)

    if inspect.iscoroutinefunction(target):

        @wraps(target)
        async def observed_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with prediction(args, kwargs) as current:
                answer = await cast(Any, target(*args, **kwargs))
                _record(current, read_result, answer)
            return answer

        return cast("Callable[P, R]", observed_async)

    @wraps(target)
    def observed(*args: P.args, **kwargs: P.kwargs) -> R:
        with prediction(args, kwargs) as current:
            answer = target(*args, **kwargs)
            _record(current, read_result, answer)
        return answer

    return observed


def _record(current: Prediction, read_result: ResultReader, answer: object) -> None:
    if not current.recording:
        return
    try:
        current.record(**read_result(answer))
    except Exception as error:  # noqa: BLE001 - the application's reader failed, and its answer must still be returned
        report("result", "the result of an observed function cannot be read", error=error)


def _first_argument(signature: inspect.Signature) -> str | None:
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    return names[0] if names else None


_Finder = Callable[[tuple[Any, ...], Mapping[str, Any]], object]


def _finder(signature: inspect.Signature, target: Callable[..., object], wanted: str | int | None) -> _Finder:
    """Return a function that finds an argument in a call; it returns None for functions without arguments."""
    if wanted is None:
        return lambda args, kwargs: None
    names = list(signature.parameters)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if isinstance(wanted, int):
        position, name = wanted, names[wanted] if 0 <= wanted < len(names) else ""
        free = inspect.Parameter.VAR_POSITIONAL in kinds and wanted >= 0
    else:
        position, name = names.index(wanted) if wanted in names else len(names), wanted
        free = inspect.Parameter.VAR_KEYWORD in kinds
    if name not in names and not free:
        function = getattr(target, "__qualname__", target)
        raise ValueError(f"{function} has no argument {wanted!r}; it has: {', '.join(names)}")
    default = signature.parameters[name].default if name in names else inspect.Parameter.empty

    def find(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        if name in kwargs:
            return kwargs[name]
        if position < len(args):
            return args[position]
        return None if default is inspect.Parameter.empty else default

    return find


def _reader(emitter: Emitter, result: str | ResultReader | None) -> ResultReader:
    if result is None:
        return lambda answer: by_kind(answer, emitter.task)
    if callable(result):
        return result
    if result not in RECORD_ARGUMENTS:
        raise ValueError(f"result {result!r} is unknown; allowed: {', '.join(RECORD_ARGUMENTS)} or a function")
    return lambda answer: {result: answer}


def by_kind(answer: Any, task: str | None) -> dict[str, Any]:
    """Return what a result most likely is: arguments of ``record`` by name, a value or score if a float, else a class.

    >>> by_kind(0.7, None), by_kind(310.0, "regression"), by_kind("spam", None), by_kind({"score": 0.2}, None)
    ({'score': 0.7}, {'value': 310.0}, {'class_': 'spam'}, {'score': 0.2})
    """
    if answer is None:
        return {}
    if isinstance(answer, Mapping):
        named = cast("Mapping[Any, Any]", answer)
        known = {str(name): value for name, value in named.items() if name in RECORD_ARGUMENTS}
        if not known:
            report(
                "names of a result",
                "an observed function returned a mapping with none of: %s; it is not recorded; pass result=…",
                ", ".join(RECORD_ARGUMENTS),
            )
        return known
    if task == "regression":
        return {"value": answer}
    first = cast("list[Any]", answer)[0] if isinstance(answer, (list, tuple)) and answer else answer
    floating = isinstance(first, float) or getattr(getattr(answer, "dtype", None), "kind", "") == "f"
    return {"score" if floating else "class_": answer}
