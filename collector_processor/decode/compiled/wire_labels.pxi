# Labels, and calls whose rows are in an Arrow stream.

cdef bint is_label(Span* span) noexcept nogil:
    """Whether a span or record makes labels; one that the fallback may have to reject does not."""
    cdef Text text
    cdef uint8_t digits[32]
    cdef Value* value = &span.labels[LABEL_VALUE - LABEL_CLASS]
    if span.rows >= 0:
        return span.label and is_call_id(span)
    if not text_of(&span.id, digits, &text) or text.size == 0:
        return False
    return is_number(value) or text_of(&span.labels[0], digits, &text)


cdef inline bint is_number(Value* value) noexcept nogil:
    return value.kind == INTEGER or (value.kind == DOUBLE and not isnan(value.number))


cdef Labels* labels_named(State* state, Text* name) noexcept nogil:
    """The labels of the model with this name, perhaps a new one; NULL if no more can be added."""
    cdef Py_ssize_t room
    cdef int32_t known = state.label_names.count, number = code_of(&state.label_names, name.at, name.size)
    cdef Labels* labels
    if number != known:
        return NULL if number < 0 else &state.labels[number]
    if state.label_count >= state.most_models:
        return NULL
    if state.label_count == state.label_room:
        room = wider(state.label_room, 4)
        labels = <Labels*>realloc(state.labels, <size_t>room * sizeof(Labels))
        if labels == NULL:
            return NULL
        state.labels = labels
        state.label_room = room
    labels = &state.labels[state.label_count]
    memset(labels, 0, sizeof(Labels))
    labels.name = name[0]
    labels.first = state.items - 1
    state.label_count += 1
    return labels


cdef inline bint next_of(Value* value, Octets* at, Value* element) noexcept nogil:
    """The next row's cell of an array, or the same cell again for a scalar."""
    if value.kind == ARRAY:
        return next_element(at, value.at + value.size, element)
    element[0] = value[0]
    return True


cdef bint add_labels(State* state, Span* span, Text* names) noexcept nogil:
    """Adds one label, or one for each element of its arrays; counts those without an id or a label."""
    cdef uint8_t shared[LONGEST_ID + 32]
    cdef uint8_t digits[32]
    cdef uint8_t id_digits[32]
    cdef uint64_t hashed[2]
    cdef Labels* labels = labels_named(state, &names[0])
    cdef Py_ssize_t i, number, size, rows = span.rows if span.rows > 0 else 1
    cdef Value* value = &span.labels[LABEL_VALUE - LABEL_CLASS]
    cdef Octets id_at = span.id.at, class_at = span.labels[0].at, value_at = value.at
    cdef Value id_cell, class_cell, value_cell
    cdef Text text
    cdef bint classed
    cdef Row* row
    if labels == NULL or not take_rows(state, rows):
        return False
    state.unsupported += span.unsupported
    if value.kind == TEXT or value.kind == BOOLEAN:
        state.unsupported += 1
        value.kind = NOTHING
    state.space.cells += 3 * rows
    for i in range(rows):
        if not (
            next_of(&span.id, &id_at, &id_cell)
            and next_of(&span.labels[0], &class_at, &class_cell)
            and next_of(value, &value_at, &value_cell)
        ):
            return False
        state.unsupported += value_cell.kind == TEXT or value_cell.kind == BOOLEAN
        if not text_of(&id_cell, id_digits, &text) or text.size == 0:
            state.without_id += 1
            continue
        if span.rows >= 0 and span.id.kind != ARRAY:
            size = text.size
            memcpy(shared, text.at, size)
            shared[size] = 58
            size += 1
            hash_id(shared, size + write_integer(i, shared + size), hashed)
        else:
            hash_id(text.at, text.size, hashed)
        classed = text_of(&class_cell, digits, &text)
        if not classed and not is_number(&value_cell):
            state.without_value += 1
            continue
        number = labels.row_count
        row = add_rows(&labels.rows, &labels.row_count, &labels.row_room, 1)
        if row == NULL:
            return False
        fill_row(state, span, row)
        row.id_a, row.id_b = hashed[0], hashed[1]
        if classed and not put_text(
            &labels.classes, number, text.at, text.size, text.at != digits, &state.space, &state.owned
        ):
            return False
        if value_cell.kind == DOUBLE or value_cell.kind == INTEGER:
            if not put_number(
                &labels.numbers,
                number,
                value_cell.number if value_cell.kind == DOUBLE else <double>value_cell.integer,
                &state.space,
            ):
                return False
    return True


cdef bint add_stream(State* state, Span* span, Text* names, bint own_version) noexcept nogil:
    """Keeps a span or record whose rows are in an Arrow stream, with all its other attributes."""
    cdef Py_ssize_t room
    cdef Streamed* streams
    cdef int i
    if state.stream_count == state.stream_room:
        room = wider(state.stream_room, 4)
        streams = <Streamed*>realloc(state.streams, <size_t>room * sizeof(Streamed))
        if streams == NULL:
            return False
        state.streams = streams
        state.stream_room = room
    streams = &state.streams[state.stream_count]
    memset(streams, 0, sizeof(Streamed))
    for i in range(IDENTITY):
        streams.names[i] = names[i]
    streams.own_version = own_version
    if own_version:
        memcpy(streams.digits, names[1].at, names[1].size)
    if names[IDENTITY - 1].size:
        memcpy(&streams.cut, names[IDENTITY - 1].at, sizeof(double))
    streams.name = span.name
    streams.trace_id = span.trace_id
    streams.span_id = span.span_id
    streams.flags = span.flags
    streams.unsampled = span.unsampled
    streams.failed = span.status == STATUS_ERROR
    if streams.failed and span.error.kind == TEXT and span.error.size:
        streams.error.at, streams.error.size = span.error.at, span.error.size
    else:
        streams.error = DEFAULT_ERROR
    fill_row(state, span, &streams.row)
    streams.row.state = state_of(state, span)
    if streams.row.state == -2:
        return False
    streams.begin = span.stream.at - state.begin
    streams.end = streams.begin + span.stream.size
    streams.first_cell = state.held_count
    for i in range(<int>span.cell_count):
        if not hold(state, state.cells[i].key, &state.cells[i].value):
            return False
    if span.id_key and not hold(state, span.id_key, &span.id):
        return False
    for i in range(2):
        if span.label_keys[i] and not hold(state, span.label_keys[i], &span.labels[i]):
            return False
    streams.cell_count = state.held_count - streams.first_cell
    state.unsupported += span.unsupported
    state.stream_count += 1
    return True


cdef bint hold(State* state, int32_t key, Value* value) noexcept nogil:
    cdef Cell* cell
    if state.held_count == state.held_room and not grow_cells(&state.held, &state.held_room):
        return False
    cell = &state.held[state.held_count]
    cell.key = key
    cell.value = value[0]
    state.held_count += 1
    return True
