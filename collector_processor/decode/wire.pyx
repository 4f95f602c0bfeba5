# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""One pass over the octets of an ``ExportTraceServiceRequest``: plain prediction spans become columns on the way.

The octets are not trusted: every read is checked against the end of what encloses it, no memory grows faster than the
request, and what is in any way unusual is left to :mod:`.fallback`: one span (an *other* one), or the whole request.
Per attribute the key is compared with the one that followed its predecessor in the span before, so that spans of one
schema need no look-up.
"""

from libc.math cimport NAN, isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector_processor.decode.walked import Other, WalkedColumn, WalkedModel, WalkedRequest
from otel_ml import semconv

include "wire_octets.pxi"
include "wire_protobuf.pxi"
include "wire_columns.pxi"
include "wire_state.pxi"
include "wire_names.pxi"
include "wire_attributes.pxi"
include "wire_spans.pxi"
include "wire_predictions.pxi"


def walk(bytes body not None, int64_t received_ns, *, int64_t text_length, int64_t models, int64_t rows):
    """The spans of a request; None where the fallback has to decode it as a whole. See ``wire.pyi``."""
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
    try:
        with nogil:
            walked = walk_request(&state, begin, begin + size)
        return request_of(&state) if walked else None
    finally:
        free_state(&state)


cdef object text_from(const Text* text):
    return (<const char*>text.at)[:text.size].decode("utf-8")


cdef object request_of(State* state):
    cdef Py_ssize_t index
    cdef Model* model
    cdef OtherSpan* other
    resources = []
    for index in range(state.resource_count):
        resources.append((text_from(&state.resources[index].name), text_from(&state.resources[index].version)))
    others = []
    for index in range(state.other_count):
        other = &state.others[index]
        others.append(Other(other.ordinal, other.begin, other.end, other.resource, other.label))
    models = []
    for index in range(state.model_count):
        model = &state.models[index]
        if not has_space(model, &state.space):
            return None
        models.append(model_of(state, model))
    return WalkedRequest(state.items, state.containers, resources, texts_of(&state.states), others, models)


cdef bint has_space(Model* model, Space* space) noexcept:
    """Whether the columns may be made as long as the model has rows."""
    cdef int32_t index
    cdef Column* column
    for index in range(model.column_count):
        column = &model.columns[index]
        if column.number_count and not take_space(space, model.row_count - column.number_count):
            return False
        if column.code_count and not take_space(space, model.row_count - column.code_count):
            return False
    return True


cdef object texts_of(const Texts* texts):
    cdef int32_t code
    found = []
    for code in range(texts.count):
        found.append(text_from(&texts.entries[code]))
    return tuple(found)


cdef object model_of(State* state, Model* model):
    cdef Py_ssize_t rows = model.row_count, row
    cdef Row* walked
    cdef Column* column
    cdef bint sampled = False
    ordinals, times, states = np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.int32)
    durations, weights, ids = np.empty(rows), np.empty(rows), np.empty((rows, 2), np.uint64)
    cdef int64_t[::1] ordinal_at = ordinals
    cdef int64_t[::1] time_at = times
    cdef int32_t[::1] state_at = states
    cdef double[::1] duration_at = durations
    cdef double[::1] weight_at = weights
    cdef uint64_t[:, ::1] id_at = ids
    for row in range(rows):
        walked = &model.rows[row]
        ordinal_at[row] = walked.ordinal
        time_at[row] = walked.time_ns
        duration_at[row] = walked.duration_s
        weight_at[row] = <double>walked.count
        state_at[row] = walked.state
        id_at[row, 0] = walked.id_a
        id_at[row, 1] = walked.id_b
        sampled |= walked.state >= 0
    cdef Py_ssize_t index
    names = tuple([text_from(&model.names[index]) for index in range(IDENTITY)])
    error = column_of(&model.error, "", rows)
    columns = []
    for index in range(model.column_count):
        column = &model.columns[index]
        columns.append(column_of(column, text_from(&state.names.entries[column.key]), rows))
    return WalkedModel(
        names, ordinals, times, ids, weights, states if sampled else None, durations, error, columns, model.cells
    )


cdef object column_of(Column* column, str name, Py_ssize_t rows):
    numbers = codes = None
    cdef double[::1] number_at
    cdef int32_t[::1] code_at
    cdef Py_ssize_t row
    if column.number_count:
        numbers = np.empty(rows)
        number_at = numbers
        memcpy(&number_at[0], column.numbers, <size_t>column.number_count * sizeof(double))
        for row in range(column.number_count, rows):
            number_at[row] = NAN
    if column.code_count:
        codes = np.empty(rows, np.int32)
        code_at = codes
        memcpy(&code_at[0], column.codes, <size_t>column.code_count * sizeof(int32_t))
        for row in range(column.code_count, rows):
            code_at[row] = -1
    return WalkedColumn(name, numbers, codes, texts_of(&column.texts), column.unsupported)
