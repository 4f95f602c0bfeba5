"""A request and its response as rows: features by name, and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from collector_processor.receivers.inference_logger.outputs import Outputs, read_outputs
from collector_processor.receivers.inference_logger.settings import LoggedModel
from collector_processor.receivers.inference_logger.table import Cells, Lost, Part, Table


@dataclass(slots=True)
class Rows:
    """The rows of one call of a model; a failed one has one row without outputs."""

    count: int
    features: dict[str, Cells] = field(default_factory=dict[str, Cells])
    outputs: Outputs = field(default_factory=Outputs)
    failed: bool = False


def read_rows(request: Table, response: Table, settings: LoggedModel, lost: Lost) -> Rows | None:
    """Return the rows of a call; None if request and response do not fit each other.

    >>> request = Table([Part("", 2, [[1, 2], [3, 4]], single=False)])
    >>> rows = read_rows(request, Table([Part("", 2, [[0.1, 0.9]])]), LoggedModel(), Lost())
    >>> rows.features, rows.outputs.value
    ({'x0': [1, 2], 'x1': [3, 4]}, [0.1, 0.9])
    """
    if response.error:
        inputs, count = request.parts, max((part.rows for part in request.parts), default=1)
        return Rows(count, _features(inputs, count, settings, lost), failed=True)
    inputs, count = _aligned(request.parts, response.parts)
    if count is None:
        sent = max((part.rows for part in request.parts), default=0)
        answered = max((part.rows for part in response.parts), default=0)
        if response.parts:
            lost.add("rows_differ", max(sent, answered), f"a request of {sent} rows has a response of {answered}")
        elif not lost.counts:
            lost.add("outputs", sent, "the response has no outputs")
        return None
    outputs = [part for part in response.parts if part.rows == count]
    for part in response.parts:
        if part.rows != count:
            lost.add("outputs", part.rows, f"output {part.name!r} has {part.rows} cells for {count} rows")
    return Rows(count, _features(inputs, count, settings, lost), read_outputs(outputs, settings, lost))


def _aligned(inputs: Sequence[Part], outputs: Sequence[Part]) -> tuple[Sequence[Part], int | None]:
    """Return the inputs and the number of rows in which they and the outputs agree; None if they do not."""
    answered = [part.rows for part in outputs if part.rows]
    if not inputs and answered:
        return inputs, answered[0]
    count = next((rows for rows in answered if any(part.rows == rows for part in inputs)), None)
    if count is None and 1 in answered and len(inputs) == 1 and inputs[0].single:
        # A tensor of one dimension is one row where the model has no batches.
        [part] = inputs
        return [Part("", 1, [[cell] for cell in part.columns[0]], part.kind, single=False)], 1
    return inputs, count


def _features(parts: Sequence[Part], count: int, settings: LoggedModel, lost: Lost) -> dict[str, Cells]:
    """Return the columns of the inputs by name: the sender's, those of the settings, or ``x0``, ``x1``, …"""
    named: dict[str, Cells] = {}
    unnamed: list[tuple[str, Cells]] = []
    alone = len(parts) == 1
    for part in parts:
        if part.rows != count:
            lost.add(
                "rows_differ",
                part.rows * len(part.columns),
                f"input {part.name!r} has {part.rows} cells for {count} rows",
            )
        elif part.names:
            named.update(zip(part.names, part.columns, strict=True))
        elif part.name and len(part.columns) == 1 and (part.single or not alone or not settings.features):
            named[part.name] = part.columns[0]
        else:
            prefix = "x" if alone or not part.name else f"{part.name}_"
            unnamed += [(f"{prefix}{at}", column) for at, column in enumerate(part.columns)]
    if settings.features and unnamed:
        if len(settings.features) != len(unnamed):
            problem = (
                f"requests have {len(unnamed)} columns without names, but features has {len(settings.features)} names"
            )
            lost.add("feature_names", count * len(unnamed), problem)
            return named
        return {**named, **dict(zip(settings.features, (column for _, column in unnamed), strict=True))}
    return {**named, **dict(unnamed)}
