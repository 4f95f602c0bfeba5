# What a span or record becomes once it is read: rows, an other one, or nothing.

cdef bint add_span(State* state, Span* span, Octets begin, Octets end) noexcept nogil:
    """Adds a span to the rows it belongs to, an odd one to the other ones; ignores spans that are not ours."""
    cdef Resource* resource = &state.resources[state.resource_count - 1]
    cdef bint named_predict = starts_with(span.name.at, span.name.size, PREDICT.at, PREDICT.size)
    cdef bint label = span.label and starts_with(span.name.at, span.name.size, LABEL_SPAN.at, LABEL_SPAN.size)
    cdef Text names[IDENTITY]
    cdef uint8_t digits[32]
    cdef Model* model
    if span.status == STATUS_ERROR:
        if span.error.kind == TEXT:
            span.odd |= span.error.size > state.longest
        else:
            span.odd |= span.error.kind != NOTHING
    if not span.odd:
        if not (label or span.sign or (named_predict and (span.namespace or resource.name.size))):
            return True
        name_model(span, resource, names, digits)
        if not is_identity(names, state.longest):
            pass
        elif span.stream.kind == BYTES:
            if span.rows < 0:
                return add_stream(state, span, names, names[1].at == digits)
        elif label:
            if is_label(span):
                return add_labels(state, span, names)
        elif not span.label and has_id(span):
            model = model_named(state, names)
            return model != NULL and add_prediction(state, span, model)
    return add_other(state, span, begin, end, label)


cdef bint add_record(State* state, Span* span, Octets begin, Octets end) noexcept nogil:
    """Adds a log record's labels, an odd record to the other ones; ignores records that are not labels."""
    cdef Text names[IDENTITY]
    cdef uint8_t digits[32]
    if not span.odd:
        if not span.event:
            return True
        name_model(span, &state.resources[state.resource_count - 1], names, digits)
        if not is_identity(names, state.longest):
            pass
        elif span.stream.kind == BYTES:
            if span.rows < 0:
                return add_stream(state, span, names, names[1].at == digits)
        elif is_label(span):
            return add_labels(state, span, names)
    return add_other(state, span, begin, end, True)


cdef bint add_other(State* state, Span* span, Octets begin, Octets end, bint label) noexcept nogil:
    cdef Py_ssize_t room
    cdef OtherSpan* others
    if state.other_count == state.other_room:
        room = wider(state.other_room, 16)
        others = <OtherSpan*>realloc(state.others, <size_t>room * sizeof(OtherSpan))
        if others == NULL:
            return False
        state.others = others
        state.other_room = room
    others = &state.others[state.other_count]
    others.ordinal = state.items - 1
    others.begin = begin - state.begin
    others.end = end - state.begin
    others.resource = state.resource_count - 1
    others.label = label
    state.other_count += 1
    return True


cdef inline void name_model(Span* span, Resource* resource, Text* names, uint8_t* digits) noexcept nogil:
    """What the span says of its model, by the rules of :mod:`.identity`; the threshold as the octets of a double."""
    cdef int i
    for i in range(IDENTITY):
        names[i].at = span.names[i].at if span.names[i].kind == TEXT else span.name.at
        names[i].size = <int32_t>span.names[i].size if span.names[i].kind == TEXT else 0
    if span.names[IDENTITY - 1].kind == DOUBLE:
        names[IDENTITY - 1].at = <Octets>&span.names[IDENTITY - 1].number
        names[IDENTITY - 1].size = <int32_t>sizeof(double)
    if names[0].size == 0:
        names[0] = resource.name
    if span.names[1].kind == INTEGER:
        names[1].at = digits
        names[1].size = <int32_t>write_integer(span.names[1].integer, digits)
    elif names[1].size == 0 and (
        resource.name.size == 0
        or (resource.name.size == names[0].size and memcmp(resource.name.at, names[0].at, names[0].size) == 0)
    ):
        names[1] = resource.version
    if names[3].size == 0:
        names[3] = CHAMPION


cdef bint is_equal(Octets at, Py_ssize_t size, const Text* text) noexcept nogil:
    return size == text.size and memcmp(at, text.at, size) == 0


cdef bint is_one_of(Text* text, const Text* choices, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        if is_equal(text.at, text.size, &choices[i]):
            return True
    return False


cdef bint is_identity(Text* names, int64_t longest) noexcept nogil:
    """Whether these names are valid for a model, by the rules of :mod:`.identity`."""
    return (
        0 < names[0].size <= longest
        and names[1].size <= longest
        and (names[2].size == 0 or is_one_of(&names[2], TASKS, TASK_COUNT))
        and is_one_of(&names[3], ROLES, ROLE_COUNT)
        and names[4].size <= longest
        and names[5].size <= longest
    )


cdef bint has_id(Span* span) noexcept nogil:
    """Whether the ids of a prediction's rows can be hashed here."""
    return span.trace_id.size + span.span_id.size <= LONGEST_DEFAULT_ID and (span.rows < 0 or is_call_id(span))


cdef bint is_call_id(Span* span) noexcept nogil:
    """Whether the ids of a call's rows, made from a shared id, are short enough to be hashed here."""
    return span.id.kind != TEXT or span.id.size + 1 + LONGEST_INTEGER <= LONGEST_ID


cdef void fill_row(State* state, Span* span, Row* row) noexcept nogil:
    """Sets the times and weight of a span, or the time of a record, by the rules of :mod:`.fallback`."""
    cdef uint64_t latest = 0x7FFFFFFFFFFFFFFFULL
    row.ordinal = state.items - 1
    row.time_ns = state.received_ns
    if 0 < span.start <= latest:
        row.time_ns = <int64_t>span.start
    elif 0 < span.end <= latest:
        row.time_ns = <int64_t>span.end
    row.duration_s = NAN
    if 0 < span.start < span.end <= latest:
        row.duration_s = <double>(span.end - span.start) / 1e9
    row.count = 1
    row.state = -1
    row.id_a = row.id_b = 0
    row.trace = row.span = NULL
    if has_trace(span):
        row.trace, row.span = span.trace_id.at, span.span_id.at


cdef bint has_trace(Span* span) noexcept nogil:
    """Whether the span's trace can be looked up, by the rules of :mod:`.sampling`."""
    cdef uint8_t any_trace = 0, any_span = 0
    cdef int i
    if span.unsampled or (span.flags & 0xFF and not span.flags & 1):
        return False
    if span.trace_id.size != TRACE_OCTETS or span.span_id.size != SPAN_OCTETS:
        return False
    for i in range(TRACE_OCTETS):
        any_trace |= span.trace_id.at[i]
    for i in range(SPAN_OCTETS):
        any_span |= span.span_id.at[i]
    return any_trace != 0 and any_span != 0


cdef bint take_rows(State* state, int64_t rows) noexcept nogil:
    """Whether ``rows`` more rows are within the limit; beyond it, the fallback decides what to leave out."""
    state.rows += rows
    return state.rows <= state.most_rows
