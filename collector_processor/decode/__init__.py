"""OTLP bytes to columns.

:func:`decode` takes the serialised request of a signal and gives :class:`~.batch.Decoded`. Its rules are those of
:mod:`.fallback`, whichever decoder does the work; :func:`decoder_name` tells which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from collector_processor.decode import fallback
from collector_processor.decode.batch import (
    Column,
    Decoded,
    LabelBatch,
    MalformedRequestError,
    ModelKey,
    PredictionBatch,
)
from collector_processor.decode.identity import default_id, default_ids, hash_ids, row_ids
from collector_processor.decode.limits import DEFAULT_LIMITS, DROP_REASONS, DecodeLimits, DropReason
from collector_processor.decode.merge import concatenate, concatenate_labels
from collector_processor.decode.metrics import LoopError, decode_metrics
from collector_processor.decode.otlp_json import Signal, json_to_protobuf

__all__ = [
    "DECODERS",
    "DEFAULT_LIMITS",
    "DROP_REASONS",
    "Column",
    "DecodeLimits",
    "Decoded",
    "Decoder",
    "DropReason",
    "LabelBatch",
    "LoopError",
    "MalformedRequestError",
    "ModelKey",
    "PredictionBatch",
    "Signal",
    "concatenate",
    "concatenate_labels",
    "decode",
    "decode_metrics",
    "decoder_name",
    "default_id",
    "default_ids",
    "hash_ids",
    "json_to_protobuf",
    "row_ids",
]


@dataclass(frozen=True, slots=True)
class Decoder:
    """One way to decode traces and logs; all must give the same rows for the same bytes."""

    name: str
    decode_traces: Callable[[bytes, int, DecodeLimits], Decoded]
    decode_logs: Callable[[bytes, int, DecodeLimits], Decoded]


DECODERS: Final = (Decoder("fallback", fallback.decode_traces, fallback.decode_logs),)
"""Those that this installation has; the first one is used."""


def decode(
    signal: Signal,
    body: bytes,
    received_ns: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
    *,
    own_instance_id: str = "",
) -> Decoded:
    """Decodes one serialised export request.

    ``received_ns`` (Unix) is the event time of spans and records that have none; ``own_instance_id`` is for metrics
    (:func:`decode_metrics`). Raises :class:`~.batch.MalformedRequestError` where the bytes are not such a request.

    >>> decode("traces", b"", received_ns=0)
    Decoded(predictions=(), labels=(), items=0, rejected=0, message='', dropped={})
    """
    if signal == "metrics":
        return decode_metrics(body, own_instance_id)
    if signal == "logs":
        return DECODERS[0].decode_logs(body, received_ns, limits)
    return DECODERS[0].decode_traces(body, received_ns, limits)


def decoder_name() -> str:
    """Which decoder :func:`decode` uses.

    >>> decoder_name()
    'fallback'
    """
    return DECODERS[0].name
