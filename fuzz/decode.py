"""Looks for requests that the compiled decoder reads otherwise than the fallback does, or that make it crash.

Starts from requests of every form, breaks them as bytes and as protobuf fields, and stops at the first difference.
Run: ``python fuzz/decode.py [--seconds 60] [--seed 0]``; in CI under AddressSanitizer (``make fuzz``).
"""

from __future__ import annotations

# ruff: noqa: S311, T201 - a script: chance that can be repeated, findings on the terminal
import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from request_forms import RECEIVED_NS, logs_request, request

from collector_processor.decode import Column, Decoded, DecodeLimits, MalformedRequestError, fallback
from collector_processor.decode.compiled import decoder as compiled
from collector_processor.decode.compiled import wire

LIMITS = (
    DecodeLimits(),
    DecodeLimits(text_length=9),
    DecodeLimits(text_length=20),
    DecodeLimits(rows=7),
    DecodeLimits(cells=40),
    DecodeLimits(models=2),
    DecodeLimits(features=2, segments=1, classes=1),
    DecodeLimits(categories=2),
    DecodeLimits(items=6),
)
UNKNOWN = ((31, 0, 5), (99, 2, b"\xff"), (1000, 5, b"1234"), (5000, 1, b"12345678"))
CONTENTS = (b"", b"\xed\xa0\x80", b"\xc3", "é".encode(), b"\x08\x01")


# --- what a decoder made of it ---------------------------------------------------------------------------------------


def cells(column: Column | None, rows: int) -> list[str | None]:
    """Cells as texts that tell every number from every other, None where missing."""
    if column is None:
        return [None] * rows
    found = [None] * rows if column.numbers is None else [None if v != v else v.hex() for v in column.numbers.tolist()]
    for row, code in enumerate([] if column.codes is None else column.codes.tolist()):
        if code >= 0:
            if found[row] is not None:
                raise AssertionError(f"row {row} is a number and a text")
            found[row] = "text " + column.categories[code]
    if len(found) != rows:
        raise AssertionError(f"{len(found)} cells for {rows} rows")
    return found


def meaning(decoded: Decoded) -> Any:
    """Everything that a request was decoded to, however batches are cut and categories numbered."""
    models: dict[Any, list[Any]] = {}
    for batch in decoded.predictions:
        rows = len(batch)
        columns = {
            "time": batch.time_ns.tolist(),
            "id": batch.ids.tolist(),
            "weight": batch.weights.tolist(),
            "duration": cells(Column(batch.duration_s), rows),
            "class": cells(batch.prediction, rows),
            "score": cells(None if batch.score is None else Column(batch.score), rows),
            "value": cells(None if batch.value is None else Column(batch.value), rows),
            "error": cells(batch.error, rows),
            "trace": [None] * rows if batch.traces is None else batch.traces.rows(slice(None)).tolist(),
            **{"feature " + key: cells(column, rows) for key, column in batch.features.items()},
            **{"segment " + key: cells(column, rows) for key, column in batch.segments.items()},
            **{"attribution " + key: cells(Column(part), rows) for key, part in batch.attributions.items()},
            **{"scores " + key: cells(Column(part), rows) for key, part in batch.scores.items()},
        }
        found = models.setdefault(
            (batch.model, batch.task, batch.role, batch.positive_class, str(batch.threshold), batch.withheld), []
        )
        names = list(columns)
        for row in zip(*columns.values(), strict=True):
            found.append({name: cell for name, cell in zip(names, row, strict=True) if cell is not None})
    labels = [
        (
            batch.model_name,
            batch.time_ns.tolist(),
            batch.ids.tolist(),
            cells(batch.classes, len(batch)),
            cells(None if batch.values is None else Column(batch.values), len(batch)),
        )
        for batch in decoded.labels
    ]
    counts = (decoded.items, decoded.rejected, decoded.message, dict(decoded.dropped))
    return list(models.items()), labels, counts


def outcome(decoder: Any, body: bytes, limits: DecodeLimits, *, logs: bool = False) -> Any:
    """The meaning of a request, or why it is refused."""
    try:
        decode = decoder.decode_logs if logs else decoder.decode_traces
        return meaning(decode(body, RECEIVED_NS, limits))
    except MalformedRequestError as error:
        return str(error)


# --- ways to break them ----------------------------------------------------------------------------------------------


def varint(number: int, rng: random.Random | None = None) -> bytes:
    """A varint; with ``rng`` perhaps longer than it has to be."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    if rng is not None and rng.random() < 0.02:
        made[-1] |= 128
        made += b"\x80" * rng.randrange(8) + b"\x00"
    return bytes(made)


def fields_of(body: bytes) -> list[tuple[int, int, int | bytes]]:
    """Number, wire type and content of each field of a message; none of one that is broken."""
    found: list[tuple[int, int, int | bytes]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (body[at] & 127) << shift
            at += 1
            if body[at - 1] < 128:
                return value
            shift += 7

    try:
        while at < len(body):
            tag = number()
            wire = tag & 7
            if wire == 0:
                found.append((tag >> 3, wire, number()))
                continue
            size = number() if wire == 2 else {1: 8, 5: 4}[wire]
            found.append((tag >> 3, wire, body[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return []
    return found


def rewired(rng: random.Random, body: bytes, descriptor: Any, chance: float) -> bytes:
    """The message with its fields in another order, repeated, dropped, of other types, or encoded at more length."""
    fields = fields_of(body)
    if not fields:
        return body
    if rng.random() < chance:
        picked = rng.randrange(len(fields))
        change = rng.randrange(7)
        if change == 0:
            rng.shuffle(fields)
        elif change == 1:
            fields.insert(rng.randrange(len(fields) + 1), fields[picked])
        elif change == 2:
            del fields[picked]
        elif change == 3:
            fields.insert(picked, rng.choice(UNKNOWN))
        elif change == 4:
            fields[picked] = (fields[picked][0], 0, rng.getrandbits(rng.choice((1, 7, 32, 64))))
        elif change == 5:
            fields[picked] = (
                fields[picked][0],
                2,
                rng.choice(CONTENTS),
            )
        else:
            fields[picked] = (rng.randrange(17), *fields[picked][1:])
    made = bytearray()
    for number, kind, content in fields:
        field = descriptor.fields_by_number.get(number)
        made += varint(number << 3 | kind, rng)
        if isinstance(content, int):
            made += varint(content, rng)
            continue
        if kind == 2:
            if field is not None and field.message_type is not None:
                content = rewired(rng, content, field.message_type, chance)
            made += varint(len(content), rng)
        made += content
    return bytes(made)


def flipped(rng: random.Random, body: bytes) -> bytes:
    """The octets with one bit or a few the other way."""
    broken = bytearray(body)
    for _ in range(rng.choice((1, 1, 3)) if broken else 0):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def broken(rng: random.Random, body: bytes, kind: Any = ExportTraceServiceRequest) -> bytes:
    """The request, changed in one of the ways."""
    way = rng.randrange(6)
    if way == 0:
        return body[: rng.randrange(len(body) + 1)]
    if way == 1:
        return flipped(rng, body)
    if way == 2:
        at = rng.randrange(len(body) + 1)
        return body[:at] + rng.randbytes(rng.randrange(4)) + body[at + rng.randrange(4) :]
    return rewired(rng, body, kind.DESCRIPTOR, rng.choice((0.001, 0.01, 0.2)))


def difference(body: bytes, limits: DecodeLimits, *, logs: bool = False) -> tuple[Any, Any] | None:
    """What the two decoders make of a request, None if it is the same."""
    plain, fast = outcome(fallback, body, limits, logs=logs), outcome(compiled, body, limits, logs=logs)
    return None if plain == fast else (plain, fast)


def counted_fallback() -> list[int]:
    """A list that grows by one for each request that the compiled decoder leaves to the fallback as a whole."""
    left: list[int] = []
    walked = compiled._walked

    def counting(*given: Any, **named: Any) -> Decoded | None:
        decoded = walked(*given, **named)
        if decoded is None:
            left.append(1)
        return decoded

    compiled._walked = counting
    return left


def main() -> int:
    """Runs until the time is over or the decoders differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # However often other spans stand between plain ones: as columns, not as a whole in the fallback.
    compiled._ROWS_PER_CUT = compiled._LABELS_PER_CUT = 0
    rng, until, tried = random.Random(options.seed), time.monotonic() + options.seconds, 0
    left = counted_fallback()
    while time.monotonic() < until:
        logs = rng.random() < 0.25
        make, kind = (logs_request, ExportLogsServiceRequest) if logs else (request, ExportTraceServiceRequest)
        body = make(rng, rng.choice((1, 3, 40)), rng.choice((0.0, 0.02, 0.5, 1.0)))
        for _ in range(20):
            limits = rng.choice(LIMITS) if rng.random() < 0.5 else LIMITS[0]
            found = difference(body, limits, logs=logs)
            tried += 1
            if found is not None:
                Path("fuzz-difference.bin").write_bytes(body)
                print(
                    f"request {tried} of seed {options.seed} (in fuzz-difference.bin), {logs=}, {limits}:",
                    *found,
                    sep="\n",
                )
                return 1
            if rng.random() < 0.7:
                body = make(rng, rng.choice((2, 30)), rng.choice((0.1, 0.9)))
            if rng.random() < 0.6:
                body = broken(rng, body, kind)
    print(
        f"{tried} requests of seed {options.seed}: both decoders agree ({wire.__file__}); "
        f"{sum(left)} were left to the one in Python as a whole"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
