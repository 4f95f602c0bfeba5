# The results of the walk as Python objects.

cdef object text_from(const Text* text):
    return (<const char*>text.at)[:text.size].decode("utf-8")


cdef object octets_from(const Text* text):
    return (<const char*>text.at)[:text.size]


cdef object request_of(State* state):
    cdef Py_ssize_t index
    cdef Model* model
    cdef Labels* each
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
    labels = []
    for index in range(state.label_count):
        each = &state.labels[index]
        if not takes_padding(&each.classes, each.row_count, &state.space):
            return None
        if not takes_padding(&each.numbers, each.row_count, &state.space):
            return None
        labels.append(labels_of(each))
    streams = []
    for index in range(state.stream_count):
        streams.append(stream_of(state, &state.streams[index]))
    return WalkedRequest(
        state.items,
        state.containers,
        resources,
        texts_of(&state.states),
        others,
        models,
        labels,
        streams,
        state.unsupported,
        state.without_id,
        state.without_value,
        state.names.count + state.odd_keys,
    )


cdef bint has_space(Model* model, Space* space) noexcept:
    """Whether the columns may be padded to the model's number of rows."""
    cdef int32_t index
    for index in range(model.column_count):
        if not takes_padding(&model.columns[index], model.row_count, space):
            return False
    return True


cdef bint takes_padding(Column* column, Py_ssize_t rows, Space* space) noexcept:
    if column.number_count and not take_space(space, rows - column.number_count):
        return False
    return not column.code_count or take_space(space, rows - column.code_count)


cdef object texts_of(const Texts* texts):
    cdef int32_t code
    decoded = []
    for code in range(texts.count):
        decoded.append(text_from(&texts.entries[code]))
    return tuple(decoded)


cdef object rows_of(Row* rows, Py_ssize_t count):
    """Ordinals, times, ids, counts, trace states and durations."""
    cdef Py_ssize_t row
    cdef Row* walked
    ordinals, times, states = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int32)
    durations, counts, ids = np.empty(count), np.empty(count), np.empty((count, 2), np.uint64)
    cdef int64_t[::1] ordinal_at = ordinals
    cdef int64_t[::1] time_at = times
    cdef int32_t[::1] state_at = states
    cdef double[::1] duration_at = durations
    cdef double[::1] count_at = counts
    cdef uint64_t[:, ::1] id_at = ids
    for row in range(count):
        walked = &rows[row]
        ordinal_at[row] = walked.ordinal
        time_at[row] = walked.time_ns
        duration_at[row] = walked.duration_s
        count_at[row] = <double>walked.count
        state_at[row] = walked.state
        id_at[row, 0] = walked.id_a
        id_at[row, 1] = walked.id_b
    return ordinals, times, ids, counts, states, durations


cdef inline uint64_t big_endian(Octets at) noexcept nogil:
    cdef uint64_t word = 0
    cdef int i
    for i in range(8):
        word = word << 8 | at[i]
    return word


cdef object traces_of(Row* rows, Py_ssize_t count):
    """Codes and ids of the rows' traces; neighbors from one span share an entry. No codes if no row has a trace."""
    cdef Py_ssize_t row, entries = 0
    cdef Octets last = NULL
    for row in range(count):
        if rows[row].trace != NULL and rows[row].trace != last:
            entries += 1
            last = rows[row].trace
    ids = np.empty((entries, 3), np.uint64)
    if entries == 0:
        return None, ids
    codes = np.empty(count, np.int32)
    cdef int32_t[::1] code_at = codes
    cdef uint64_t[:, ::1] id_at = ids
    entries, last = 0, NULL
    for row in range(count):
        if rows[row].trace == NULL:
            code_at[row] = -1
            continue
        if rows[row].trace != last:
            last = rows[row].trace
            id_at[entries, 0] = big_endian(last)
            id_at[entries, 1] = big_endian(last + 8)
            id_at[entries, 2] = big_endian(rows[row].span)
            entries += 1
        code_at[row] = <int32_t>(entries - 1)
    return codes, ids


cdef object names_of(const Text* names):
    cdef double cut
    cdef int index
    texts = [text_from(&names[index]) for index in range(IDENTITY - 1)]
    if names[IDENTITY - 1].size == 0:
        return (*texts, "")
    memcpy(&cut, names[IDENTITY - 1].at, sizeof(double))
    return (*texts, repr(cut))


cdef object model_of(State* state, Model* model):
    cdef Py_ssize_t index, rows = model.row_count
    cdef Column* column
    cdef bint sampled = False
    for index in range(rows):
        sampled |= model.rows[index].state >= 0
    ordinals, times, ids, counts, states, durations = rows_of(model.rows, rows)
    names = names_of(model.names)
    error = column_of(&model.error, "", rows)
    columns = []
    for index in range(model.column_count):
        column = &model.columns[index]
        columns.append(column_of(column, text_from(&state.names.entries[column.key]), rows))
    trace_codes, trace_ids = traces_of(model.rows, rows)
    return WalkedModel(
        names,
        ordinals,
        times,
        ids,
        counts,
        states if sampled else None,
        durations,
        error,
        columns,
        model.cells,
        trace_codes,
        trace_ids,
    )


cdef object labels_of(Labels* labels):
    ordinals, times, ids, _, _, _ = rows_of(labels.rows, labels.row_count)
    classes = column_of(&labels.classes, "", labels.row_count)
    values = column_of(&labels.numbers, "", labels.row_count)
    return WalkedLabels(text_from(&labels.name), labels.first, ordinals, times, ids, classes, values.numbers)


cdef object stream_of(State* state, Streamed* stream):
    cdef Py_ssize_t index
    cdef Cell* cell
    if stream.own_version:
        stream.names[1].at = stream.digits
    if stream.names[IDENTITY - 1].size:
        stream.names[IDENTITY - 1].at = <Octets>&stream.cut
    names = names_of(stream.names)
    scalars = {}
    for index in range(stream.first_cell, stream.first_cell + stream.cell_count):
        cell = &state.held[index]
        scalars[text_from(&state.names.entries[cell.key])] = scalar_of(&cell.value)
    return WalkedStream(
        stream.row.ordinal,
        names,
        text_from(&stream.name),
        octets_from(&stream.trace_id),
        octets_from(&stream.span_id),
        stream.flags,
        not stream.unsampled,
        stream.row.time_ns,
        stream.row.duration_s,
        stream.row.state,
        text_from(&stream.error) if stream.failed else None,
        stream.begin,
        stream.end,
        scalars,
    )


cdef object scalar_of(Value* value):
    if value.kind == DOUBLE:
        return value.number
    if value.kind == INTEGER:
        return value.integer
    if value.kind == BOOLEAN:
        return value.integer != 0
    if value.kind == TEXT:
        return (<const char*>value.at)[:value.size].decode("utf-8")
    return None


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
