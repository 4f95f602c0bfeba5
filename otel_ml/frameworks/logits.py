"""Turns logits into probabilities.

This module imports numpy, so it is loaded only when the application has a model.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(logits: Any) -> Any:
    """Return the probability of the second of two classes for each logit.

    >>> float(sigmoid([0.0])[0])
    0.5
    """
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def softmax(logits: Any) -> Any:
    """Return the probabilities of classes for logits ``[rows, classes]``.

    >>> softmax([[1000.0, 1000.0]]).tolist()
    [[0.5, 0.5]]
    """
    numbers = np.asarray(logits, np.float64)
    powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
