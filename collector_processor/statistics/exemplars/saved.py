"""The exemplars of many panes as a few arrays for a snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.statistics.exemplars.exemplars import Exemplars
from collector_processor.statistics.exemplars.reservoir import ENTRY, KEY_BITS, Reservoir

Array = NDArray[Any]
_VERSION: Final = 1
"""What the numbers of cells mean. Exemplars of another version are left out."""
_PREFIX: Final = "exemplars."
_PARTS: Final = {"below": np.int64, "entries": np.uint64, "cells": np.uint32, "owners": np.uint16}


def exemplars_to_arrays(exemplars: Sequence[Exemplars]) -> dict[str, Array]:
    """Return the exemplars of panes as arrays by name: predictions and errors of the first pane, then of the next.

    ``sizes`` int64 ``[2 panes, 2]`` are the entries and cells of each.
    """
    every = [reservoir for each in exemplars for reservoir in (each.predictions, each.errors)]
    arrays: dict[str, Array] = {
        f"{_PREFIX}version": np.array([_VERSION], np.int64),
        f"{_PREFIX}sizes": np.array([(len(each.entries), len(each.cells)) for each in every], np.int64).reshape(-1, 2),
    }
    for part, dtype in _PARTS.items():
        pieces = [getattr(each, part).reshape(-1) for each in every]
        arrays[_PREFIX + part] = np.concatenate([*pieces, np.zeros(0, dtype)])
    return arrays


def exemplars_from_arrays(arrays: Mapping[str, Array], count: int) -> list[Exemplars]:
    """Rebuild the exemplars of ``count`` panes; none if a version without them has saved the panes.

    Raises ``ValueError`` if they do not fit each other.
    """
    version = arrays.get(f"{_PREFIX}version")
    if version is None or version.tolist() != [_VERSION]:
        return [Exemplars() for _ in range(count)]
    reservoirs = _reservoirs(arrays, 2 * count)
    return [Exemplars(predictions, errors) for predictions, errors in zip(reservoirs, reservoirs, strict=True)]


def _reservoirs(arrays: Mapping[str, Array], count: int) -> Iterator[Reservoir]:
    try:
        parts = {name: arrays[_PREFIX + name] for name in _PARTS}
        sizes = arrays[f"{_PREFIX}sizes"]
    except KeyError as error:
        raise ValueError(f"the saved panes have no {error.args[0]!r}") from None
    if sizes.shape != (count, 2) or any(
        values.dtype != _PARTS[name] or values.ndim != 1 for name, values in parts.items()
    ):
        raise ValueError("the saved exemplars are not those of the panes")
    at = dict.fromkeys(_PARTS, 0)
    for entries, cells in sizes.tolist():
        taken: dict[str, Array] = {}
        for name, size in {"below": KEY_BITS + 1, "entries": ENTRY * entries, "cells": cells, "owners": cells}.items():
            taken[name] = parts[name][at[name] : at[name] + size].copy()
            at[name] += size
            if len(taken[name]) != size:
                raise ValueError("the saved exemplars are cut off")
        owners, numbers = taken["owners"], taken["cells"]
        if not (owners < entries).all() or not (numbers[1:] > numbers[:-1]).all():
            raise ValueError("the saved exemplars are damaged")
        yield Reservoir(taken["below"], taken["entries"].reshape(-1, ENTRY), numbers, owners)
