# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""One pass over the octets of an export request: predictions and labels of every form become columns on the way.

The octets are not trusted: every read is checked against the end of the enclosing message, no memory grows faster than
the request, and anything unusual is left to :mod:`.fallback`: one span or record (an *other* one), or the whole
request. For each attribute and each entry of a map, the key is compared with the one that followed its predecessor in
the previous span, so that spans with one schema need no look-up. The elements of an array are checked and counted on
the way, and become cells once it is known which model they belong to. Arrow streams are only located.
"""

from libc.math cimport NAN, fabs, floor, isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector_processor.decode.compiled.walked import Other, WalkedColumn, WalkedLabels, WalkedModel, WalkedRequest, WalkedStream
from otel_ml import semconv

include "wire_octets.pxi"
include "wire_protobuf.pxi"
include "wire_columns.pxi"
include "wire_state.pxi"
include "wire_names.pxi"
include "wire_values.pxi"
include "wire_attributes.pxi"
include "wire_spans.pxi"
include "wire_items.pxi"
include "wire_predictions.pxi"
include "wire_labels.pxi"
include "wire_python.pxi"


def walk(
    bytes body not None,
    int64_t received_ns,
    *,
    int64_t text_length,
    int64_t models,
    int64_t rows,
    int64_t cells,
    bint logs=False,
):
    """The spans or log records of a request; None if the fallback has to decode the whole request. See ``wire.pyi``."""
    cdef State state
    cdef Octets begin = <Octets><const char*>body
    cdef Py_ssize_t size = len(body)
    cdef bint walked
    memset(&state, 0, sizeof(State))
    state.begin = begin
    state.received_ns = received_ns
    state.longest = min(text_length, 0x7FFFFFFF)
    state.most_models = models
    state.most_rows = rows
    state.space.shared_left = cells
    try:
        with nogil:
            # The texts of numbers and booleans are never cut here.
            walked = text_length >= LONGEST_INTEGER and walk_request(&state, begin, begin + size, logs)
        return request_of(&state) if walked else None
    finally:
        free_state(&state)
