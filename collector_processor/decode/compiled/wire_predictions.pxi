# Predictions become rows of their model.

cdef bint is_named(Model* model, Text* names) noexcept nogil:
    cdef int i
    for i in range(IDENTITY):
        if model.names[i].size != names[i].size or not is_same(model.names[i].at, names[i].at, names[i].size):
            return False
    return True


cdef Model* model_named(State* state, Text* names) noexcept nogil:
    """The model with these names, perhaps a new one; NULL if no more can be added."""
    cdef Py_ssize_t size = 0, room
    cdef int32_t known = state.model_names.count, number
    cdef uint8_t* scratch
    cdef Octets copy
    cdef Model* model
    cdef Model* models
    cdef int i
    if state.last_model >= 0 and is_named(&state.models[state.last_model], names):
        return &state.models[state.last_model]
    for i in range(IDENTITY):
        size += names[i].size + <Py_ssize_t>sizeof(int32_t)
    if not has_scratch(state, size):
        return NULL
    scratch = state.scratch
    for i in range(IDENTITY):
        memcpy(scratch, &names[i].size, sizeof(int32_t))
        memcpy(scratch + sizeof(int32_t), names[i].at, names[i].size)
        scratch += sizeof(int32_t) + names[i].size
    number = code_of(&state.model_names, state.scratch, size)
    if number < 0:
        return NULL
    if number == known:
        copy = own(&state.owned, state.scratch, size)
        if copy == NULL or state.model_count >= state.most_models:
            return NULL
        state.model_names.entries[number].at = copy
        if state.model_count == state.model_room:
            room = wider(state.model_room, 4)
            models = <Model*>realloc(state.models, <size_t>room * sizeof(Model))
            if models == NULL:
                return NULL
            state.models = models
            state.model_room = room
        model = &state.models[state.model_count]
        memset(model, 0, sizeof(Model))
        state.model_count += 1
        for i in range(IDENTITY):
            model.names[i].at = copy + sizeof(int32_t)
            model.names[i].size = names[i].size
            copy += sizeof(int32_t) + names[i].size
    state.last_model = number
    return &state.models[number]


cdef Py_ssize_t write_default_id(Span* span, uint8_t* text) noexcept nogil:
    """Writes ``{trace id}:{span id}`` in hex, together at most 64 octets; returns the number of octets of text."""
    cdef Py_ssize_t size = 0, i
    cdef const char* digits = "0123456789abcdef"
    for i in range(span.trace_id.size):
        text[size] = <uint8_t>digits[span.trace_id.at[i] >> 4]
        text[size + 1] = <uint8_t>digits[span.trace_id.at[i] & 15]
        size += 2
    text[size] = 58
    size += 1
    for i in range(span.span_id.size):
        text[size] = <uint8_t>digits[span.span_id.at[i] >> 4]
        text[size + 1] = <uint8_t>digits[span.span_id.at[i] & 15]
        size += 2
    return size


cdef int32_t state_of(State* state, Span* span) noexcept nogil:
    """The number of the span's trace state if it may have a threshold, −1 if not, −2 if no number can be added."""
    cdef Py_ssize_t i
    cdef int32_t code
    for i in range(span.trace_state.size - THRESHOLD.size + 1):
        if memcmp(span.trace_state.at + i, THRESHOLD.at, THRESHOLD.size) == 0:
            code = code_of(&state.states, span.trace_state.at, span.trace_state.size)
            return -2 if code < 0 else code
    return -1


cdef bint add_prediction(State* state, Span* span, Model* model) noexcept nogil:
    """Adds the rows of a call: one, or one for each element of its arrays."""
    cdef Py_ssize_t index, first = model.row_count, rows = span.rows if span.rows > 0 else 1
    cdef Row* row
    if not take_rows(state, rows):
        return False
    row = add_rows(&model.rows, &model.row_count, &model.row_room, rows)
    if row == NULL:
        return False
    fill_row(state, span, row)
    row.state = state_of(state, span)
    if row.state == -2:
        return False
    if span.rows < 0:
        row.count = span.count
        hash_span(span, row)
    else:
        for index in range(1, rows):
            row[index] = row[0]
            row[index].duration_s = NAN
        hash_rows(span, row, rows)
    state.unsupported += span.unsupported
    if span.status == STATUS_ERROR:
        if span.error.kind != TEXT or span.error.size == 0:
            span.error.at, span.error.size = DEFAULT_ERROR.at, DEFAULT_ERROR.size
        if not put_text(&model.error, first, span.error.at, span.error.size, True, &state.space, &state.owned):
            return False
        if rows > 1 and not repeat_cell(&model.error, first, rows, &state.space):
            return False
    for index in range(span.cell_count):
        if not put_cell(state, model, first, rows, &state.cells[index]):
            return False
    state.space.cells += span.cell_count
    model.cells += span.cell_count
    return True


cdef inline void hash_span(Span* span, Row* row) noexcept nogil:
    """Sets the hash of the id of a plain span."""
    cdef uint8_t text[2 * LONGEST_DEFAULT_ID + 1]
    cdef uint64_t hashed[2]
    cdef Text own
    if text_of(&span.id, text, &own) and own.size:
        hash_id(own.at, own.size, hashed)
    else:
        hash_id(text, write_default_id(span, text), hashed)
    row.id_a, row.id_b = hashed[0], hashed[1]


cdef void hash_rows(Span* span, Row* row, Py_ssize_t rows) noexcept nogil:
    """Sets the hashes of the ids of a call's rows: their own ids, or a shared one with a number after it."""
    cdef uint8_t shared[LONGEST_ID + 32]
    cdef uint8_t digits[32]
    cdef uint64_t hashed[2]
    cdef Octets at = span.id.at
    cdef Py_ssize_t size = 0, i
    cdef Value element
    cdef Text own
    cdef bint each = span.id.kind == ARRAY
    if not each and text_of(&span.id, digits, &own) and own.size:
        memcpy(shared, own.at, own.size)
        size = own.size
    if size == 0:
        size = write_default_id(span, shared)
    shared[size] = 58
    size += 1
    for i in range(rows):
        if each and next_element(&at, span.id.at + span.id.size, &element):
            if text_of(&element, digits, &own) and own.size:
                hash_id(own.at, own.size, hashed)
                row[i].id_a, row[i].id_b = hashed[0], hashed[1]
                continue
        hash_id(shared, size + write_integer(i, shared + size), hashed)
        row[i].id_a, row[i].id_b = hashed[0], hashed[1]


cdef inline bint put_cell(State* state, Model* model, Py_ssize_t row, Py_ssize_t rows, Cell* cell) noexcept nogil:
    """Puts the value of an attribute or entry into its column: one cell, or one for each row of the call."""
    cdef Column* column
    if cell.key < model.key_room and model.column_of[cell.key] >= 0:
        column = &model.columns[model.column_of[cell.key]]
    else:
        column = add_column(model, cell.key, &state.space)
        if column == NULL:
            return False
    if cell.value.kind == ARRAY:
        return put_array(state, model, column, row, rows, cell)
    if not put_value(state, column, cell.part, row, &cell.value):
        return False
    return rows == 1 or repeat_cell(column, row, rows, &state.space)


cdef bint put_array(
    State* state, Model* model, Column* column, Py_ssize_t row, Py_ssize_t rows, Cell* cell
) noexcept nogil:
    cdef Octets at = cell.value.at, end = cell.value.at + cell.value.size
    cdef Value element
    state.space.cells += rows
    model.cells += rows
    while next_element(&at, end, &element):
        if not put_value(state, column, cell.part, row, &element):
            return False
        row += 1
    return True


cdef inline bint put_value(State* state, Column* column, int part, Py_ssize_t row, Value* value) noexcept nogil:
    cdef uint8_t digits[32]
    cdef Text text
    if value.kind == NOTHING or value.kind >= BYTES:
        return True
    if part != CLASS and part != SEGMENT:
        if value.kind == DOUBLE:
            return put_number(column, row, value.number, &state.space)
        if value.kind == INTEGER:
            return put_number(column, row, <double>value.integer, &state.space)
        if part != FEATURE:
            column.unsupported += 1
            return True
    if not text_of(value, digits, &text):
        return True
    return put_text(column, row, text.at, text.size, text.at != digits, &state.space, &state.owned)
