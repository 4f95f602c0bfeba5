# The walk from the request down to each span or log record.

cdef bint walk_request(State* state, Octets at, Octets end, bint logs) noexcept nogil:
    cdef uint32_t tag
    cdef Octets stop
    state.last_model = -1
    # Key 0 stands before the first key of a span; its head matches nothing.
    if numbered(state, at, 0, True) != 0:
        return False
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag != 0x0A:
            if not pass_over(LOGS_TYPE if logs else TRACES_TYPE, tag, &at, end, 0):
                return False
            continue
        if not take_length(&at, end, &stop) or not walk_resource_items(state, at, stop, logs):
            return False
        at = stop
    return True


cdef bint walk_resource_items(State* state, Octets at, Octets end, bint logs) noexcept nogil:
    """``ResourceSpans`` or ``ResourceLogs``: the fields that matter have the same numbers in both."""
    cdef uint32_t tag
    cdef Octets stop
    cdef Py_ssize_t room
    cdef Resource* resources
    cdef bint begun = False
    if state.resource_count == state.resource_room:
        room = wider(state.resource_room, 8)
        resources = <Resource*>realloc(state.resources, <size_t>room * sizeof(Resource))
        if resources == NULL:
            return False
        state.resources = resources
        state.resource_room = room
    memset(&state.resources[state.resource_count], 0, sizeof(Resource))
    state.resources[state.resource_count].name.at = at
    state.resources[state.resource_count].version.at = at
    state.resource_count += 1
    state.containers += 1
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag != 0x0A and tag != 0x12:
            if not pass_over(RESOURCE_LOGS_TYPE if logs else RESOURCE_SPANS_TYPE, tag, &at, end, 1):
                return False
            continue
        # A resource after scopes, or a second one: rare enough for the fallback.
        if (tag == 0x0A and begun) or not take_length(&at, end, &stop):
            return False
        begun = True
        if not (walk_resource(state, at, stop) if tag == 0x0A else walk_scope_items(state, at, stop, logs)):
            return False
        at = stop
    return True


cdef bint walk_resource(State* state, Octets at, Octets end) noexcept nogil:
    """Finds the model that a resource names."""
    cdef uint32_t tag
    cdef Octets stop
    cdef int32_t key
    cdef Value value
    cdef Text* text
    cdef bint odd
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag != 0x0A:
            if not pass_over(RESOURCE_TYPE, tag, &at, end, 2):
                return False
            continue
        if not take_length(&at, end, &stop):
            return False
        odd = False
        if not read_attribute(state, at, stop, 0, FLAT, NULL, &key, &value, &odd) or odd:
            return False
        if value.kind == MAP and not is_valid(MAP_TYPE, value.at, value.at + value.size, 6):
            return False
        at = stop
        if state.keys[key].meaning == NAME:
            text = &state.resources[state.resource_count - 1].name
        elif state.keys[key].meaning == VERSION:
            text = &state.resources[state.resource_count - 1].version
        else:
            continue
        text.size = 0
        if value.kind == TEXT:
            text.at = value.at
            text.size = value.size
    return True


cdef bint walk_scope_items(State* state, Octets at, Octets end, bint logs) noexcept nogil:
    cdef uint32_t tag
    cdef Octets stop
    state.containers += 1
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag != 0x12:
            if not pass_over(SCOPE_LOGS_TYPE if logs else SCOPE_SPANS_TYPE, tag, &at, end, 2):
                return False
            continue
        if not take_length(&at, end, &stop):
            return False
        if not (walk_record(state, at, stop) if logs else walk_span(state, at, stop)):
            return False
        at = stop
    return True


cdef inline bint take_text(Octets* at, Octets end, Text* text) noexcept nogil:
    """Reads octets that follow their length."""
    cdef Octets stop
    if not take_length(at, end, &stop):
        return False
    text.at = at[0]
    text.size = <int32_t>(stop - at[0])
    at[0] = stop
    return True


cdef inline void begin_span(Span* span, Octets at) noexcept nogil:
    memset(span, 0, sizeof(Span))
    span.name.at = span.trace_id.at = span.span_id.at = span.trace_state.at = at
    span.count = 1
    span.rows = -1


cdef bint walk_span(State* state, Octets at, Octets end) noexcept nogil:
    cdef Span* span = &state.span
    cdef Octets begin = at, stop
    cdef uint32_t tag
    begin_span(span, at)
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag == 0x4A:
            if not take_length(&at, end, &stop) or not walk_attribute(state, at, stop):
                return False
            at = stop
        elif tag == 0x0A:
            if not take_text(&at, end, &span.trace_id):
                return False
        elif tag == 0x12:
            if not take_text(&at, end, &span.span_id):
                return False
        elif tag == 0x1A or tag == 0x2A:
            if not take_text(&at, end, &span.name if tag == 0x2A else &span.trace_state):
                return False
            stop = span.name.at if tag == 0x2A else span.trace_state.at
            if not is_utf8(stop, at):
                return False
        elif tag == 0x39 or tag == 0x41:
            if end - at < 8:
                return False
            if tag == 0x39:
                span.start = word_at(at)
            else:
                span.end = word_at(at)
            at += 8
        elif tag == 0x85:
            if end - at < 4:
                return False
            span.flags = at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24
            at += 4
        elif tag == 0x7A:
            if not take_length(&at, end, &stop) or not walk_status(span, at, stop):
                return False
            at = stop
        elif not pass_over(SPAN_TYPE, tag, &at, end, 3):
            return False
    state.items += 1
    return add_span(state, span, begin, end)


cdef bint walk_status(Span* span, Octets at, Octets end) noexcept nogil:
    cdef uint32_t tag
    cdef uint64_t code
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag == 0x18:
            if not take_varint(&at, end, &code):
                return False
            span.status = <int32_t>code
        elif not pass_over(STATUS_TYPE, tag, &at, end, 4):
            return False
    return True


cdef bint walk_record(State* state, Octets at, Octets end) noexcept nogil:
    """Walks a log record; the time it was observed is kept as a span's end, which is used in the same way."""
    cdef Span* span = &state.span
    cdef Octets begin = at, stop
    cdef uint32_t tag
    begin_span(span, at)
    while at < end:
        if not take_tag(&at, end, &tag):
            return False
        if tag == 0x32:
            if not take_length(&at, end, &stop) or not walk_attribute(state, at, stop):
                return False
            at = stop
        elif tag == 0x62:
            if not take_text(&at, end, &span.name) or not is_utf8(span.name.at, at):
                return False
        elif tag == 0x09 or tag == 0x59:
            if end - at < 8:
                return False
            if tag == 0x09:
                span.start = word_at(at)
            else:
                span.end = word_at(at)
            at += 8
        elif not pass_over(RECORD_TYPE, tag, &at, end, 3):
            return False
    state.items += 1
    span.event |= is_equal(span.name.at, span.name.size, &EVENT_LABEL)
    return add_record(state, span, begin, end)
