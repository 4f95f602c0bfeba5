"""Convert snapshots of version 0.1.0, which were flat with dotted names, to the form that states have now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from collector_processor.storage.format_1 import Flat

_ROWS: Final = ("time_ns", "ids", "weights", "duration_s")
_BY_NAME: Final = ("features", "segments", "scores", "attributions")
_ROOMS: Final = ("pending", "early")


def state_of_0_1_0(flat: Flat) -> dict[str, Any]:
    """Return the state; raise ``KeyError``, ``TypeError`` or ``ValueError`` for a missing or unexpected value."""
    join = _under("join.", flat.arrays)
    rooms = {
        room: [
            (name, version, _under(f"{room}.{position}.", join))
            for position, (name, version) in enumerate(json.loads(join[room].tobytes()))
        ]
        for room in _ROOMS
    }
    models = [
        _model(entry, _under(f"model.{position}.", flat.arrays)) for position, entry in enumerate(flat.header["models"])
    ]
    early = [(name, arrays) for name, _, arrays in rooms["early"]]
    return {**flat.header, "models": models, "join": {"pending": rooms["pending"], "early": early}}


def _model(entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    if "windows" not in entry:
        return {**entry, "learning": _learning([entry["name"], entry["version"]], _under("kept.", arrays))}
    model = {**entry, "panes": _under("panes.", arrays)}
    if "reference" in arrays:
        model["reference"] = arrays["reference"].tobytes().decode()
    return model


def _learning(model: list[str], arrays: Mapping[str, Any]) -> Any:
    """Return the rows of a model that is still learning, in the form of :func:`.batches_state`."""
    if not arrays:
        return None
    head = json.loads(arrays["head"].tobytes())
    parts: dict[str, Any] = {
        "model": model, "task": head["task"], "role": head["role"], **{name: arrays[name] for name in _ROWS},
        **{name: {} for name in _BY_NAME},
    }  # fmt: skip
    columns = [
        (part, name, [arrays.get(f"column.{position}.numbers"), arrays.get(f"column.{position}.codes"), categories])
        for position, (part, name, categories) in enumerate(head["columns"])
    ]
    numbers = [(part, name, arrays[f"number.{position}"]) for position, (part, name) in enumerate(head["numbers"])]
    for part, name, cells in [*columns, *numbers]:
        if part in _BY_NAME:
            parts[part][name] = cells
        else:
            parts[part] = cells
    return {"lengths": head["lengths"], "rows": [len(parts["time_ns"]), parts]}


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
