"""How stores by model lie side by side in one flat snapshot of arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from collector_processor.columns.batch import ModelKey
from collector_processor.labels.generation import Values


def packed(room: str, stores: Mapping[ModelKey, Mapping[str, Values]]) -> dict[str, Values]:
    """The arrays of all stores under ``{room}.{position}.{name}``, and the models, as JSON bytes, under ``{room}``.

    >>> flat = packed("pending", {ModelKey("fraud", "7"): {"ids": np.zeros(2)}})
    >>> list(flat), flat["pending"].tobytes()
    (['pending', 'pending.0.ids'], b'[["fraud", "7"]]')
    """
    keys = json.dumps([[key.name, key.version] for key in stores]).encode()
    flat: dict[str, Values] = {room: np.frombuffer(keys, np.uint8)}
    for position, arrays in enumerate(stores.values()):
        flat |= {f"{room}.{position}.{name}": values for name, values in arrays.items()}
    return flat


def unpacked(arrays: Mapping[str, Values], room: str) -> dict[ModelKey, dict[str, Values]]:
    """The arrays that :func:`packed` took, by model; a missing room is a ``KeyError``."""
    found: dict[ModelKey, dict[str, Values]] = {}
    for position, (name, version) in enumerate(json.loads(arrays[room].tobytes())):
        prefix = f"{room}.{position}."
        part = {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}
        found[ModelKey(name, version)] = part
    return found
