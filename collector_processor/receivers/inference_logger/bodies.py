"""Bodies of inference requests and responses: KServe V1, TensorFlow Serving, Open Inference Protocol (V2), Seldon.

- **V1**: ``{"instances": [row, …]}`` and ``{"predictions": [row, …]}``; a row is a value, a list or an object.
- **TensorFlow Serving by columns**: ``{"inputs": {name: [cell, …], …}}`` and ``{"outputs": …}``.
- **V2**: ``{"inputs": [tensor, …]}`` and ``{"outputs": [tensor, …]}`` (:mod:`.tensors`), also with binary tensors.
- **Seldon**: ``{"data": {"names": […], "ndarray": [row, …]}}``, or ``"tensor": {"shape": …, "values": …}``.

Sources: KServe ``docs/predict-api/v1.md``; "Open Inference Protocol", ``predict/v2``; "Seldon Protocol"
(``prediction.proto``).
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final, cast

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.receivers.inference_logger import tensors
from collector_processor.receivers.inference_logger.table import (
    Lost,
    Part,
    Table,
    names_of,
    part_of_cells,
    parts_of_columns,
    parts_of_rows,
)
from collector_processor.receivers.inflate import GZIP_MAGIC, Body

_DECODER: Final = json.JSONDecoder()


def parse(body: bytes, lost: Lost, max_bytes: int, header_bytes: int | None = None) -> Table:
    """Return the table of a body; raise :class:`.MalformedRequestError` for what is not one of the known forms.

    ``header_bytes`` is the length of the JSON before binary tensors, where a header gives it. A logger passes on what
    went over the wire, so the body may be compressed without a header that says so.
    """
    if body.startswith(GZIP_MAGIC):
        inflated = Body("gzip", max_bytes)
        inflated.feed(body)
        body = inflated.finish()
    try:
        document, rest = _json(body, header_bytes)
        return _table(document, rest, lost)
    except (ValueError, RecursionError, OverflowError, zlib.error) as error:
        if isinstance(error, MalformedRequestError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise MalformedRequestError(f"the body of the event is not JSON of an inference: {reason}") from error


def _json(body: bytes, header_bytes: int | None) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object at the start of a body, and the bytes of binary tensors behind it."""
    if header_bytes is not None and 0 < header_bytes < len(body):
        document, rest = json.loads(body[:header_bytes]), body[header_bytes:]
    else:
        text = body.decode("utf-8", "surrogateescape")
        document, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(" \t\r\n")))
        rest = text[end:].encode("utf-8", "surrogateescape")
    if not isinstance(document, dict):
        raise MalformedRequestError(f"the body of the event is not a JSON object, but a {type(document).__name__}")
    return cast("dict[str, Any]", document), rest


def _table(document: dict[str, Any], rest: bytes, lost: Lost) -> Table:
    table = Table(
        id=_text(document.get("id")),
        model=_text(document.get("model_name")),
        version=_text(document.get("model_version")),
    )
    inputs = document.get("inputs", document.get("outputs"))
    rows = document.get("instances", document.get("predictions"))
    if isinstance(inputs, list) and inputs and all(isinstance(tensor, dict) and "shape" in tensor for tensor in inputs):
        table.parts = tensors.parts(cast("list[dict[str, Any]]", inputs), rest, lost)
        return table
    if rest.strip(b" \t\r\n"):
        raise MalformedRequestError("the body of the event has bytes behind its JSON, but no binary tensors")
    if isinstance(inputs, dict):
        table.parts = parts_of_columns(cast("dict[str, Any]", inputs), lost)
    elif isinstance(rows, list) or isinstance(inputs, list):
        table.parts = parts_of_rows(cast("list[Any]", rows if isinstance(rows, list) else inputs), lost)
    elif isinstance(document.get("data"), dict):
        table.parts = _seldon(cast("dict[str, Any]", document["data"]), lost)
        table.id = _text(_object(document.get("meta")).get("puid"))
    elif isinstance(document.get("jsonData"), dict):
        return _table(cast("dict[str, Any]", document["jsonData"]), b"", lost)
    elif "error" in document:
        table.error = True
    else:
        raise MalformedRequestError(
            "the body of the event has none of: instances, predictions, inputs, outputs, data; it has: "
            + ", ".join(list(document)[:10])[:200]
        )
    return table


def _seldon(content: dict[str, Any], lost: Lost) -> list[Part]:
    rows, tensor = content.get("ndarray"), _object(content.get("tensor"))
    if not isinstance(rows, list):
        values, shape = tensor.get("values"), tensor.get("shape")
        if not isinstance(values, list) or not isinstance(shape, list):
            raise MalformedRequestError("data has neither ndarray nor tensor with shape and values")
        width = tensors.width_of(cast("list[Any]", shape), len(cast("list[Any]", values)))
        cells = cast("list[Any]", values)
        rows = [cells[start : start + width] for start in range(0, len(cells), width)] if width else []
    rows = cast("list[Any]", rows)
    part = part_of_cells("", rows, lost)
    if part is None:
        return []
    names = names_of(content.get("names"), len(part.columns))
    return [Part("", part.rows, part.columns, names=names, single=part.single)]


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if type(value) is int else ""
