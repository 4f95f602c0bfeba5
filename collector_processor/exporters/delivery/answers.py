"""What a destination says about a request: its reason, and what it rejected although it answered with success.

The texts come over the network and end up in the log: they are one line, cut to a readable length, and what we sent as
credentials is masked, because some destinations repeat it.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import quote, unquote

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector_processor.journal.base import Signal
from collector_processor.settings.target import parse_target

MAX_REASON: Final = 300
_SHORTEST_SECRET: Final = 4
"""Shorter texts are not masked: they occur in ordinary words."""
_JSON_KEYS: Final = ("message", "error_description", "detail", "error", "errors", "title", "reason", "msg")
_TAG = re.compile(r"<[^<>]{0,1000}>")
_SIZE = re.compile(
    r"larger than (the )?(max|limit)|too (large|big|long)|exceeds? (the )?(configured )?(max|size|limit|message)"
    r"|message size|status: 413",
    re.IGNORECASE,
)


def secrets_of(headers: Mapping[str, str], endpoint: str) -> tuple[str, ...]:
    """Return what must not appear in a log: values of headers, and the user, password and query of the address.

    Headers, and the one that the address becomes, are masked without their scheme, too, and the parts of Basic ones.
    """
    sent, values = {*headers.values()}, set[str]()
    try:
        target = parse_target(endpoint)
        sent.add(target.basic)
        values |= {pair.partition("=")[2] for pair in target.query.split("&")}
    except ValueError:
        pass  # nothing is ever sent there
    values |= {text for value in sent for text in (value, value.rpartition(" ")[2], *_basic(value))}
    values |= {text for value in values for text in (unquote(value), quote(value, safe="", errors="replace"))}
    return tuple(sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True))


def _basic(header: str) -> tuple[str, ...]:
    """Return the user and the password in the value of a Basic header; nothing for another one."""
    scheme, _, pair = header.partition(" ")
    try:
        text = b64decode(pair.strip(), validate=True).decode() if scheme.lower() == "basic" else ""
    except ValueError:
        return ()
    user, _, password = text.partition(":")
    return user, password


def line(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text from the network for the log.

    >>> line("Bearer  abcd is " + chr(7) + "unknown", ["abcd"])
    'Bearer *** is unknown'
    """
    for secret in secrets:
        text = text.replace(secret, "***")
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


def reason(body: bytes, content_type: str = "") -> str:
    """Return the reason in the body of an answer: a ``google.rpc.Status`` as protobuf or JSON, other JSON, or text.

    >>> reason(b'{"code": 3, "message": "no such tenant"}'), reason(b"<html><h1>Bad gateway</h1></html>")
    ('no such tenant', ' Bad gateway ')
    """
    kind = content_type.partition(";")[0].strip().lower()
    if "json" in kind or body.lstrip()[:1] in (b"{", b"["):
        try:
            return _json_reason(json.loads(body)) or body.decode("utf-8", "replace")
        except (ValueError, RecursionError):
            return body.decode("utf-8", "replace")
    if "protobuf" in kind or not kind:
        try:
            return Status.FromString(body).message
        except DecodeError:
            pass
    return _TAG.sub(" ", body.decode("utf-8", "replace"))


def _json_reason(value: object, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if depth > 4:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_json_reason(item, depth + 1) for item in cast("list[object]", value)[:3])))
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return next(filter(None, (_json_reason(fields.get(key), depth + 1) for key in _JSON_KEYS)), "")
    return ""


def is_about_size(message: str) -> bool:
    """Return whether a message says that the request was too large. gRPC has no code for that.

    >>> is_about_size("Received message larger than max (5 vs. 4)"), is_about_size("quota exceeded")
    (True, False)
    """
    return _SIZE.search(message) is not None


_REJECTED: Final = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}


def partial_success(signal: Signal, answer: bytes) -> tuple[int, str]:
    """Return the number of rejected items and the message of an ``Export…ServiceResponse``, protobuf or JSON.

    >>> partial_success("traces", b""), partial_success("logs", b"<html>")
    ((0, ''), (0, ''))
    >>> partial_success("logs", b'{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}')
    (2, 'too old')
    """
    if not answer:
        return 0, ""
    if answer.lstrip()[:1] == b"{":
        return _json_partial_success(signal, answer)
    try:
        if signal == "traces":
            spans = ExportTraceServiceResponse.FromString(answer).partial_success
            return max(0, spans.rejected_spans), spans.error_message
        if signal == "logs":
            records = ExportLogsServiceResponse.FromString(answer).partial_success
            return max(0, records.rejected_log_records), records.error_message
        points = ExportMetricsServiceResponse.FromString(answer).partial_success
        return max(0, points.rejected_data_points), points.error_message
    except DecodeError:
        return 0, ""


def _json_partial_success(signal: Signal, answer: bytes) -> tuple[int, str]:
    try:
        fields: dict[str, Any] = json.loads(answer).get("partialSuccess") or {}
        return max(0, int(fields.get(_REJECTED[signal], 0))), str(fields.get("errorMessage", ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0, ""
