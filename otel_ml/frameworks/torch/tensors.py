"""Reads the tensors of a module's call: columns of the input, and the result as its application says it is meant.

This module imports numpy, so it is loaded only when the application has a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from otel_ml.frameworks.base import Begin, Started
from otel_ml.frameworks.calls import record_positive, record_probabilities, record_values
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.logits import sigmoid, softmax
from otel_ml.frameworks.torch.modules import Observed
from otel_ml.prediction import Prediction
from otel_ml.problems import report


def begin_of(module: Any, observed: Observed, models: Models) -> Begin:
    """Return how the calls of a module are observed; the module itself is not referenced."""
    described = Description(
        name=type(module).__name__,
        framework="torch",
        task=observed.task,
        features=observed.features,
        classes=observed.classes or ((0, 1) if observed.task == "binary_classification" else None),
    )
    handle = models.handle(module, described)

    def begin(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started:
        data = args[0] if args else next(iter(kwargs.values()), None)
        prediction = handle.predict(_features_of(data, observed.features is not None))
        return Started(prediction, partial(_record, prediction, observed, handle.name))

    return begin


def _record(prediction: Prediction, observed: Observed, name: str, result: Any) -> bool:
    known = _record_tensor(prediction, observed, _tensor(result))
    if not known:
        report(
            f"outputs of {name}",
            "model %r: its result is not a tensor with the outputs of a %s, so they are left out",
            name,
            observed.task.replace("_", " "),
        )
    return True


def _record_tensor(prediction: Prediction, observed: Observed, tensor: Any) -> bool:
    numbers = None if tensor is None else array_of(tensor)
    if numbers is None or numbers.ndim > 2:
        return False
    if numbers.ndim == 0:
        numbers = numbers.reshape(1)
    if observed.outputs == "values":
        return record_values(prediction, numbers)
    single = numbers.ndim == 1 or numbers.shape[1] == 1
    classes = np.asarray(observed.classes or range(2 if single else numbers.shape[1]))
    if observed.outputs == "logits":
        numbers = sigmoid(numbers) if single else softmax(numbers)
    if single:
        return len(classes) == 2 and record_positive(prediction, classes, numbers.reshape(-1))
    return record_probabilities(prediction, classes, numbers)


def _tensor(result: Any) -> Any:
    """Return the tensor in a result: itself, its ``logits``, or the first of several."""
    if isinstance(result, Mapping):
        return result.get("logits")
    if isinstance(result, (tuple, list)):
        result = result[0] if result else None
    return result if hasattr(result, "detach") else getattr(result, "logits", None)


def array_of(tensor: Any) -> Any:
    """Return a tensor's numbers, None if it has none. Of a tensor on a GPU, this waits for it to be computed."""
    if tensor.device.type == "meta" or str(tensor.layout) != "torch.strided":
        return None
    tensor = tensor.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # numpy has no bfloat16
        return tensor.float().numpy()


def _features_of(data: Any, named: bool) -> Any:
    """Return the columns of an input: a 2-D tensor, or a mapping of columns; None for images, sequences and words."""
    if isinstance(data, Mapping):
        tensors = list(data.values())
        wide = any(
            not hasattr(each, "detach") or each.dim() > 2 or each.shape[1:] not in ((), (1,)) for each in tensors
        )
        read = None if wide else partial(_columns, data)
    else:
        flat = hasattr(data, "detach") and data.dim() == 2
        read = partial(array_of, data) if flat and (named or data.is_floating_point()) else None
        tensors = [data]
    # What is in memory is copied before the call, which may change it; the rest only if something is recorded.
    return read() if read is not None and all(each.device.type == "cpu" for each in tensors) else read


def _columns(data: Mapping[Any, Any]) -> dict[str, Any]:
    arrays = {str(name): array_of(each) for name, each in data.items()}
    return {name: each.reshape(-1) for name, each in arrays.items() if each is not None}
