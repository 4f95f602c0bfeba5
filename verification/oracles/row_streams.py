"""Streams of values that change now and then, the same in the environments of an oracle and of the one who asks it."""

import numpy as np


def stream(seed, rows):
    """Return a stream: errors (0 or 1) for an even seed, else numbers within [0, 2]."""
    source = np.random.default_rng(seed)
    levels = np.repeat(source.random(10) ** 2, -(-rows // 10))[:rows]
    if seed % 2 == 0:
        return (source.random(rows) < levels).astype(float)
    return source.random(rows) * (0.2 + levels) + levels * 0.5
