"""Inference events: CloudEvents over HTTP in binary, structured and batched mode.

- **KServe** (``pkg/logger/worker.go``): request and response have one ``ce-id``; ``ce-inferenceservicename``,
  ``ce-namespace``, ``ce-component``, ``ce-endpoint``, ``ce-metadata`` (JSON of the headers that ``metadataHeaders``
  names), ``ce-annotations`` (JSON). Since 0.18, ``ce-time`` is when the request came or the response left, and
  ``ce-recordedtime`` when the event was sent; before, ``ce-time`` was the latter.
- **Seldon Core 1** (``executor/logger/worker.go``): every event has another ``ce-id``; ``ce-requestid`` joins them.
  ``ce-modelid``, ``ce-inferenceservicename``, ``ce-namespace``, ``ce-endpoint``. ``ce-time`` is when it was sent.
- **MLServer** (``mlserver/cloudevents.py``) writes Seldon's names into the headers of its answers, for what stands
  before it to send on.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal, cast
from urllib.parse import unquote

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.receivers.inference_logger.spans import Trace
from otel_ml.encode.scalar import MAX_ID_CHARS

Side = Literal["request", "response"]
STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
_PREFIX: Final = "ce-"
_SIDES: Final[tuple[tuple[str, Side], ...]] = ((".inference.request", "request"), (".inference.response", "response"))
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_HEADER_LENGTH: Final = "inference-header-content-length"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """One event; its texts are empty and its time is None where the sender says nothing.

    ``side`` is None for an event of another type. ``happened`` says that the time is that of the request or response,
    and not that of the event. ``header_bytes`` is the length of the JSON before binary tensors.
    """

    type: str
    side: Side | None
    id: str
    service: str = ""
    namespace: str = ""
    component: str = ""
    endpoint: str = ""
    model: str = ""
    version: str = ""
    time_ns: int | None = None
    happened: bool = False
    body: bytes = b""
    header_bytes: int | None = None
    trace: Trace | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What both halves of a call have in common: the components of one service may log the same id."""
        return self.id, self.namespace, self.service, self.component, self.endpoint, self.model


def read_events(headers: Mapping[str, str], body: bytes, version_annotation: str = "") -> list[Event]:
    """Return the events of one post; raise :class:`.MalformedRequestError` if it has none, or one is incomplete.

    ``headers`` are in lower case, as one post has them.

    >>> sent = {"ce-id": "1", "ce-type": "org.kubeflow.serving.inference.request", "ce-inferenceservicename": "churn"}
    >>> [event] = read_events(sent, b"{}")
    >>> event.side, event.service, event.body
    ('request', 'churn', b'{}')
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in (STRUCTURED, BATCHED):
        attributes = {
            name[len(_PREFIX) :]: unquote(value) for name, value in headers.items() if name.startswith(_PREFIX)
        }
        return [_event(attributes, headers, body, version_annotation)]
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequestError(f"not the JSON of a CloudEvent: {str(error)[:200]}") from error
    listed = cast("list[object]", document) if isinstance(document, list) else [document]
    if isinstance(document, list) != (content_type == BATCHED) or not all(isinstance(each, dict) for each in listed):
        raise MalformedRequestError(
            f"{content_type} is not {'a list of events' if content_type == BATCHED else 'one event'}"
        )
    return [_structured(cast("dict[str, Any]", each), headers, version_annotation) for each in listed]


def _structured(document: dict[str, Any], headers: Mapping[str, str], version_annotation: str) -> Event:
    attributes = {name: value for name, value in document.items() if isinstance(value, str)}
    encoded, content = attributes.pop("data_base64", None), document.get("data")
    if encoded is not None:
        try:
            body = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedRequestError(f"data_base64 is not base64: {error}") from error
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        body = text.encode("utf-8", "surrogatepass")
    attributes.pop("data", None)
    return _event(attributes, headers, body, version_annotation)


def _event(attributes: Mapping[str, str], headers: Mapping[str, str], body: bytes, version_annotation: str) -> Event:
    kind = attributes.get("type", "")
    identity = attributes.get("requestid") or attributes.get("id", "")
    if not kind or not identity:
        missing = "type" if not kind else "id"
        raise MalformedRequestError(
            f"not a CloudEvent of an inference: {missing} is missing (the header ce-{missing} in binary mode)"
        )
    if len(identity) > MAX_ID_CHARS:
        raise MalformedRequestError(f"the id of the event is longer than {MAX_ID_CHARS} characters")
    metadata = {name.lower(): value for name, value in _metadata(attributes.get("metadata", ""))}
    length = metadata.get(_HEADER_LENGTH) or headers.get(_HEADER_LENGTH, "")
    side: Side | None = next((side for end, side in _SIDES if kind.endswith(end)), None)
    parents = (attributes.get("traceparent"), metadata.get("traceparent"), headers.get("traceparent"))
    return Event(
        type=kind,
        side=side,
        id=identity,
        service=attributes.get("inferenceservicename", ""),
        namespace=attributes.get("namespace", ""),
        component=attributes.get("component", ""),
        endpoint=attributes.get("endpoint", ""),
        model=attributes.get("modelid", ""),
        version=_annotation(attributes.get("annotations", ""), version_annotation),
        time_ns=time_ns(attributes.get("time", "")),
        happened="recordedtime" in attributes,
        body=body,
        # Only a request's header is passed on, with both events.
        header_bytes=int(length) if side == "request" and length.isascii() and length.isdecimal() else None,
        trace=next((trace for parent in parents if (trace := _trace(parent or "")) is not None), None),
    )


def time_ns(text: str) -> int | None:
    """Return the Unix nanoseconds of an RFC 3339 time; None if it is not one.

    >>> time_ns("1970-01-01T01:00:00.000000001+01:00"), time_ns("2026-02-30T00:00:00Z"), time_ns("today")
    (1, None, None)
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00")
        offset = timedelta(hours=int(match[5] or 0), minutes=int(match[6] or 0)) * (-1 if match[4] == "-" else 1)
        seconds = (moment - offset - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    nanoseconds = seconds * 10**9 + int((match[3] or "0").ljust(9, "0"))
    return nanoseconds if 0 < nanoseconds <= _LATEST_NS else None


def _trace(parent: str) -> Trace | None:
    """Return the parent in a header of W3C Trace Context; None if it is not one.

    >>> _trace("00-" + "1" * 32 + "-" + "2" * 16 + "-01").flags
    1
    """
    match = _TRACEPARENT.fullmatch(parent.strip())
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    return Trace(bytes.fromhex(match[1]), bytes.fromhex(match[2]), int(match[3], 16))


def _metadata(text: str) -> Iterator[tuple[str, str]]:
    """Yield the headers of the client's request, each with its first value."""
    for name, values in _json_object(text).items():
        first: object = cast("list[object]", values)[0] if isinstance(values, list) and values else values
        if isinstance(first, str):
            yield name, first


def _annotation(text: str, name: str) -> str:
    value = _json_object(text).get(name) if name else None
    return value if isinstance(value, str) else ""


def _json_object(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}
