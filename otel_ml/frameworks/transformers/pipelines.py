"""Describes classification pipelines, and records their labels and scores."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, left_out
from otel_ml.model import Model
from otel_ml.prediction import Prediction

_PIPELINES: Final = {"TextClassificationPipeline", "ImageClassificationPipeline", "AudioClassificationPipeline"}


def plan(pipeline: Any, models: Models) -> Plan:
    """Decide how the calls of a pipeline are observed; empty if it is not for one class per input."""
    if _PIPELINES.isdisjoint(cls.__name__ for cls in type(pipeline).__mro__):
        return {}
    config = pipeline.model.config
    labels = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    if len(labels) < 2 or config.problem_type in ("multi_label_classification", "regression"):
        return left_out("transformers pipeline", "several labels per input, or a value")
    described = Description(
        name=_name(pipeline),
        framework="transformers",
        task="binary_classification" if len(labels) == 2 else "multiclass_classification",
        classes=labels,
        version=str(getattr(config, "_commit_hash", None) or ""),
    )
    return {"__call__": partial(_begin, models.handle(pipeline, described, (pipeline.model,)), labels)}


def _begin(
    handle: Model, labels: tuple[str, ...], pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Started | None:
    applied = kwargs.get("function_to_apply") or pipeline._postprocess_params.get("function_to_apply")  # noqa: SLF001
    if getattr(applied, "value", applied) not in (None, "softmax"):
        return None  # not probabilities of classes that exclude each other
    data = args[0] if args else kwargs.get("inputs", kwargs.get("images"))
    many = isinstance(data, (list, tuple))
    inputs: list[Any] = list(cast("list[Any]", data)) if many else [data]
    prediction = handle.predict(_features(inputs))
    return Started(prediction, partial(_record, prediction, labels, len(inputs)))


def _features(inputs: list[Any]) -> dict[str, list[int]] | None:
    """Return what may be said of texts: characters and words; None for images and sounds."""
    texts: list[Any] = [each.get("text") if isinstance(each, Mapping) else each for each in inputs]
    if not all(isinstance(each, str) for each in texts):
        return None
    return {"text_length": [len(each) for each in texts], "text_words": [len(each.split()) for each in texts]}


def _record(prediction: Prediction, labels: tuple[str, ...], rows: int, result: Any) -> bool:
    if isinstance(result, Mapping):
        result = [result]
    if not isinstance(result, list):
        return False
    answers: list[Any] = cast("list[Any]", result)
    if rows == 1 and answers and isinstance(answers[0], Mapping):
        answers = [answers]  # the labels of one input
    by_label = [
        {str(each["label"]): float(each["score"]) for each in ([answer] if isinstance(answer, Mapping) else answer)}
        for answer in answers
    ]
    if len(by_label) != rows or not all(by_label):
        return False
    if len(labels) == 2:  # the other one's is the rest
        by_label = [
            {label: scores.get(label, 1 - next(iter(scores.values()))) for label in labels} for scores in by_label
        ]
    best = [max(scores, key=scores.__getitem__) for scores in by_label]
    score = [scores[labels[1] if len(labels) == 2 else top] for scores, top in zip(by_label, best, strict=True)]
    complete = all(scores.keys() == set(labels) for scores in by_label) and len(labels) <= 20
    scores = {label: [each[label] for each in by_label] for label in labels} if complete else None
    prediction.record(class_=best, score=score, scores=scores)
    return True


def _name(pipeline: Any) -> str:
    """Return the model's name on the hub, the last folder of a path, else its class."""
    name = str(getattr(pipeline.model, "name_or_path", "") or "")
    return (Path(name).name if Path(name).is_dir() else name) or type(pipeline.model).__name__
