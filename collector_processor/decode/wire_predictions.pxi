# What becomes of a span that was read: a row of its model, an other span, or nothing.

cdef bint add_span(State* state, Span* span, Octets begin, Octets end) noexcept nogil:
    """Adds a plain prediction to its model, an odd span to the other ones; passes over what is not ours."""
    cdef Resource* resource = &state.resources[state.resource_count - 1]
    cdef bint named_predict = starts_with(span.name.at, span.name.size, PREDICT.at, PREDICT.size)
    cdef Text names[IDENTITY]
    cdef uint8_t digits[32]
    cdef Model* model
    if span.status == STATUS_ERROR:
        if span.error.kind == TEXT:
            span.odd |= span.error.size > state.longest
        else:
            span.odd |= span.error.kind != NOTHING
    if not span.odd:
        if not span.sign and not (named_predict and (span.namespace or resource.name.size)):
            return True
        name_model(span, resource, names, digits)
        if names[0].size and names[0].size <= state.longest and names[1].size <= state.longest:
            model = model_named(state, names, names[1].at == digits)
            return model != NULL and add_prediction(state, span, model)
    return add_other(state, span, begin, end)


cdef bint add_other(State* state, Span* span, Octets begin, Octets end) noexcept nogil:
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
    others.label = span.label and starts_with(span.name.at, span.name.size, LABELLED.at, LABELLED.size)
    state.other_count += 1
    return True


cdef Py_ssize_t write_integer(int64_t value, uint8_t* digits) noexcept nogil:
    """A number in decimal, into at least 20 octets; how many they are."""
    cdef uint64_t left = <uint64_t>value if value >= 0 else ~<uint64_t>value + 1
    cdef uint8_t backwards[20]
    cdef Py_ssize_t count = 0, size = 0
    while True:
        backwards[count] = <uint8_t>(48 + left % 10)
        count += 1
        left //= 10
        if left == 0:
            break
    if value < 0:
        digits[0] = 45
        size = 1
    while count:
        count -= 1
        digits[size] = backwards[count]
        size += 1
    return size


cdef inline void name_model(Span* span, Resource* resource, Text* names, uint8_t* digits) noexcept nogil:
    """Name, version, task and role of the span's model, by the rules of :mod:`.identify`."""
    cdef int i
    for i in range(IDENTITY):
        names[i].at = span.names[i].at if span.names[i].kind == TEXT else span.name.at
        names[i].size = <int32_t>span.names[i].size if span.names[i].kind == TEXT else 0
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


cdef bint is_named(Model* model, Text* names) noexcept nogil:
    cdef int i
    for i in range(IDENTITY):
        if model.names[i].size != names[i].size or not is_same(model.names[i].at, names[i].at, names[i].size):
            return False
    return True


cdef Model* model_named(State* state, Text* names, bint own_version) noexcept nogil:
    """The model of these names, perhaps a new one; NULL if it cannot be one more."""
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
    if size > 0x7FFFFFFF:
        return NULL
    if size > state.scratch_room:
        scratch = <uint8_t*>realloc(state.scratch, <size_t>size)
        if scratch == NULL:
            return NULL
        state.scratch = scratch
        state.scratch_room = size
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


cdef void hash_default_id(Span* span, uint64_t* out) noexcept nogil:
    """The hash of ``{trace id}:{span id}`` in hex; both together have at most 64 octets."""
    cdef uint8_t text[2 * LONGEST_DEFAULT_ID + 1]
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
    hash_id(text, size, out)


cdef int32_t state_of(State* state, Span* span) noexcept nogil:
    """The number of the span's trace state if it may hold a threshold, −1 if not, −2 if it cannot have one."""
    cdef Py_ssize_t i
    cdef int32_t code
    for i in range(span.trace_state.size - THRESHOLD.size + 1):
        if memcmp(span.trace_state.at + i, THRESHOLD.at, THRESHOLD.size) == 0:
            code = code_of(&state.states, span.trace_state.at, span.trace_state.size)
            return -2 if code < 0 else code
    return -1


cdef bint add_prediction(State* state, Span* span, Model* model) noexcept nogil:
    cdef Py_ssize_t index, number = model.row_count
    cdef Row* row
    cdef uint64_t hashed[2]
    cdef uint64_t latest = 0x7FFFFFFFFFFFFFFFULL
    if span.id.kind == TEXT and span.id.size:
        hash_id(span.id.at, span.id.size, hashed)
    elif span.trace_id.size + span.span_id.size <= LONGEST_DEFAULT_ID:
        hash_default_id(span, hashed)
    else:
        return False
    row = add_row(model)
    if row == NULL:
        return False
    row.ordinal = state.items - 1
    row.time_ns = state.received_ns
    if 0 < span.start <= latest:
        row.time_ns = <int64_t>span.start
    elif 0 < span.end <= latest:
        row.time_ns = <int64_t>span.end
    row.duration_s = NAN
    if 0 < span.start < span.end <= latest:
        row.duration_s = <double>(span.end - span.start) / 1e9
    row.id_a, row.id_b = hashed[0], hashed[1]
    row.count = span.count
    row.state = state_of(state, span)
    if row.state == -2:
        return False
    if span.status == STATUS_ERROR:
        if span.error.kind != TEXT or span.error.size == 0:
            span.error.at, span.error.size = ERROR_UNSAID.at, ERROR_UNSAID.size
        if not put_text(&model.error, number, span.error.at, span.error.size, True, &state.space, &state.owned):
            return False
    for index in range(span.cell_count):
        if not put_cell(state, model, number, &state.cells[index]):
            return False
    state.space.cells += span.cell_count
    model.cells += span.cell_count
    return True


cdef inline bint put_cell(State* state, Model* model, Py_ssize_t row, Cell* cell) noexcept nogil:
    cdef uint8_t digits[32]
    cdef Value* value = &cell.value
    cdef int part = cell.part
    cdef Column* column
    if cell.key < model.key_room and model.column_of[cell.key] >= 0:
        column = &model.columns[model.column_of[cell.key]]
    else:
        column = add_column(model, cell.key, &state.space)
        if column == NULL:
            return False
    if part == CLASS or part == SEGMENT:
        if value.kind == INTEGER:
            return put_text(
                column, row, digits, write_integer(value.integer, digits), False, &state.space, &state.owned
            )
    elif value.kind == DOUBLE:
        return put_number(column, row, value.number, &state.space)
    elif value.kind == INTEGER:
        return put_number(column, row, <double>value.integer, &state.space)
    elif part != FEATURE:
        column.unsupported += 1
        return True
    if value.kind == TEXT:
        return put_text(column, row, value.at, value.size, True, &state.space, &state.owned)
    if value.integer:
        return put_text(column, row, TRUE.at, TRUE.size, True, &state.space, &state.owned)
    return put_text(column, row, FALSE.at, FALSE.size, True, &state.space, &state.owned)
