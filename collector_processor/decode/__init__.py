"""OTLP bytes to columns.

:func:`decode` takes the serialized request of a signal and returns a :class:`~.batch.Decoded`. Its rules are those of
:mod:`.fallback`, whichever decoder does the work; :func:`decoder_name` names it, and the environment variable
``OTEL_ML_DECODER`` chooses it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from collector_processor.columns.batch import (
    Column,
    Decoded,
    LabelBatch,
    MalformedRequestError,
    ModelKey,
    PredictionBatch,
)
from collector_processor.columns.concatenate import concatenate
from collector_processor.decode import fallback
from collector_processor.decode.dialects import bentoml
from collector_processor.decode.dialects.bentoml import BentoMonitors, with_monitors
from collector_processor.decode.limits import DEFAULT_LIMITS, DecodeLimits
from collector_processor.decode.otlp.from_json import Signal, json_to_protobuf
from collector_processor.decode.otlp.metrics import LoopError, decode_metrics
from collector_processor.decode.otlp.own_events import refuse_own_events
from collector_processor.decode.otlp.repair import repaired
from collector_processor.decode.rules.ids import default_id, default_ids, hash_ids, row_ids
from collector_processor.own.drops import DecodeReason

__all__ = [
    "DECODERS",
    "DECODER_VARIABLE",
    "DEFAULT_LIMITS",
    "BentoMonitors",
    "Column",
    "DecodeLimits",
    "Decoded",
    "Decoder",
    "LabelBatch",
    "LoopError",
    "MalformedRequestError",
    "ModelKey",
    "PredictionBatch",
    "Signal",
    "concatenate",
    "decode",
    "decode_metrics",
    "decoder_name",
    "decoder_named",
    "decoder_notice",
    "default_id",
    "default_ids",
    "hash_ids",
    "json_to_protobuf",
    "row_ids",
    "with_repaired",
]


@dataclass(frozen=True, slots=True)
class Decoder:
    """One way to decode traces and logs; all of them must return the same rows for the same bytes."""

    name: str
    decode_traces: Callable[[bytes, int, DecodeLimits], Decoded]
    decode_logs: Callable[[bytes, int, DecodeLimits], Decoded]


_MONITOR: Final = bentoml.SCOPE.encode()
DECODER_VARIABLE: Final = "OTEL_ML_DECODER"
"""Environment variable that names the decoder to use; if unset or empty, it is the first of :data:`DECODERS`."""


def _installed() -> tuple[Decoder, ...]:
    plain = Decoder("fallback", fallback.decode_traces, fallback.decode_logs)
    if importlib.util.find_spec("collector_processor.decode.compiled.wire") is None:
        return (plain,)
    try:
        from collector_processor.decode.compiled import decoder as compiled
    except ImportError:  # built for another Python, or for an unknown protobuf
        return (plain,)
    return Decoder("compiled", compiled.decode_traces, compiled.decode_logs), plain


DECODERS: Final = _installed()
"""The decoders that this installation has, the fastest first."""


def decoder_named(name: str) -> Decoder:
    """Return the decoder with a name, the fastest for an empty name; raise ``ValueError`` if there is none.

    >>> decoder_named("fallback").name
    'fallback'
    >>> decoder_named("fast")
    Traceback (most recent call last):
    ValueError: OTEL_ML_DECODER is 'fast'; this installation has: ...fallback
    """
    for decoder in DECODERS:
        if name in ("", decoder.name):
            return decoder
    raise ValueError(
        f"{DECODER_VARIABLE} is {name!r}; this installation has: {', '.join(decoder.name for decoder in DECODERS)}"
    )


@cache
def _chosen() -> Decoder:
    return decoder_named(os.environ.get(DECODER_VARIABLE, ""))


def decode(
    signal: Signal,
    body: bytes,
    received_ns: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
    *,
    own_instance_id: str = "",
    monitors: BentoMonitors | None = None,
) -> Decoded:
    """Decode one serialized export request.

    ``received_ns`` (Unix) is the event time of spans and records that have none; ``own_instance_id`` is for metrics
    (:func:`decode_metrics`) and alerts (:func:`refuse_own_events`); ``monitors`` reads the log records of BentoML.
    Raises :class:`~.batch.MalformedRequestError` if the bytes are not such a request. Texts that are not UTF-8 are
    repaired and counted; ``body`` stays as it came.

    >>> decode("traces", b"", received_ns=0)
    Decoded(predictions=(), labels=(), items=0, rejected=0, message='', dropped={}, observations=())
    """
    try:
        return _decode(signal, body, received_ns, limits, own_instance_id, monitors)
    except LoopError:
        raise
    except MalformedRequestError:
        good, texts = repaired(signal, body)
        if not texts:
            raise
    return with_repaired(_decode(signal, good, received_ns, limits, own_instance_id, monitors), texts)


def with_repaired(decoded: Decoded, texts: int) -> Decoded:
    """Return a decoded request with a count of texts that had to be repaired."""
    reason: DecodeReason = "text_repaired"
    return replace(decoded, dropped={**decoded.dropped, reason: decoded.dropped.get(reason, 0) + texts})


def _decode(
    signal: Signal,
    body: bytes,
    received_ns: int,
    limits: DecodeLimits,
    own_instance_id: str,
    monitors: BentoMonitors | None,
) -> Decoded:
    if signal == "metrics":
        return decode_metrics(body, own_instance_id, received_ns, limits)
    if signal == "logs":
        refuse_own_events(body, own_instance_id)
        decoded = _chosen().decode_logs(body, received_ns, limits)
        if monitors is not None and _MONITOR in body:
            return with_monitors(decoded, monitors.decode(body, received_ns, limits))
        return decoded
    return _chosen().decode_traces(body, received_ns, limits)


def decoder_name() -> str:
    """Return the name of the decoder that :func:`decode` uses; ``ValueError`` if the environment names an unknown one.

    >>> decoder_name() in {decoder.name for decoder in DECODERS}
    True
    """
    return _chosen().name


def decoder_notice() -> str | None:
    """Return what a service should log at its start if a faster decoder is available; else None."""
    if decoder_name() == DECODERS[0].name:
        return None
    return f"requests are decoded in Python because {DECODER_VARIABLE} is set; the compiled decoder is much faster"
