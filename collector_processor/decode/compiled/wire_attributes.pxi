# Attributes of a span or record, and entries of its maps: keys, values, and their meaning.

cdef inline bint read_attribute(
    State* state, Octets at, Octets end, int32_t previous, int form, Text* prefix, int32_t* key, Value* value, bint* odd
) noexcept nogil:
    """Reads a ``KeyValue`` with a key and then at most one value; any other shape is checked and marked as odd.

    Everything is checked except the content of a MAP under a key that means ENTRIES.
    """
    cdef Octets begin = at, head = at, stop
    cdef int32_t expected = state.keys[previous].after[form]
    cdef int depth = 4 if form == FLAT else 7
    cdef Key* known = &state.keys[expected]
    if end - at >= known.head_sizes[form] and is_same(at, known.heads[form], known.head_sizes[form]):
        key[0] = expected
        at += known.head_sizes[form]
    else:
        if at >= end or at[0] != 0x0A:
            odd[0] = True
            return is_valid(KEY_VALUE_TYPE, begin, end, depth)
        at += 1
        if not take_length(&at, end, &stop) or not is_utf8(at, stop):
            return False
        key[0] = key_of(state, form, prefix, head, at, stop)
        if key[0] < 0:
            return False
        state.keys[previous].after[form] = key[0]
        at = stop
    if at == end:
        value.kind = NOTHING
        return True
    if at[0] == 0x12:
        at += 1
        if not take_length(&at, end, &stop):
            return False
        if stop == end:
            if not read_value(at, end, depth + 1, value):
                return False
            if value.kind == MAP and (form == ENTRY or state.keys[key[0]].meaning != ENTRIES):
                return is_valid(MAP_TYPE, value.at, value.at + value.size, depth + 2)
            return True
    odd[0] = True
    return is_valid(KEY_VALUE_TYPE, begin, end, depth)


cdef inline bint walk_attribute(State* state, Octets at, Octets end) noexcept nogil:
    cdef Span* span = &state.span
    cdef int32_t number
    cdef Key* key
    cdef Value value
    cdef bint odd = False
    if not read_attribute(state, at, end, span.previous, FLAT, NULL, &number, &value, &odd):
        return False
    if odd:
        span.odd = True
        state.odd_keys += 1
        return True
    span.previous = number
    key = &state.keys[number]
    if key.meaning == IGNORED:
        return True
    span.sign |= key.sign
    span.namespace |= key.meaning != ERROR and key.meaning != EVENT
    if key.meaning == CELL:
        return take_cell(state, span, number, key, &value)
    if key.meaning == EVENT:
        span.event |= value.kind == TEXT and is_equal(value.at, value.size, &EVENT_LABEL)
        return True
    if key.meaning < CELL:
        return True
    span.odd |= key.seen == state.items
    key.seen = state.items
    if key.meaning == ENTRIES:
        return walk_map(state, span, number, &value)
    take_meaning(state, span, number, key, &value)
    return True


cdef bint walk_map(State* state, Span* span, int32_t number, Value* value) noexcept nogil:
    """Takes the entries of a ``KeyValueList`` as cells whose names start with the map's prefix."""
    cdef Octets at = value.at, end, stop
    cdef int32_t previous = number, entry
    cdef Value entry_value
    cdef bint odd
    cdef Text* prefix = &FEATURE_PREFIX if state.keys[number].part == FEATURE else &SCORES_PREFIX
    if value.kind != MAP:
        span.odd |= value.kind != NOTHING
        return True
    end = value.at + value.size
    while at < end:
        if at[0] != 0x0A:
            span.odd = True
            return is_valid(MAP_TYPE, at, end, 6)
        at += 1
        if not take_length(&at, end, &stop):
            return False
        odd = False
        if not read_attribute(state, at, stop, previous, ENTRY, prefix, &entry, &entry_value, &odd):
            return False
        at = stop
        if odd:
            span.odd = True
            state.odd_keys += 1
            continue
        previous = entry
        if state.keys[entry].meaning == CELL:
            if not take_cell(state, span, entry, &state.keys[entry], &entry_value):
                return False
        else:  # an entry without a key
            span.odd |= entry_value.kind > TEXT
    return True


cdef inline bint take_cell(State* state, Span* span, int32_t number, Key* key, Value* value) noexcept nogil:
    cdef Cell* cell
    span.odd |= key.seen == state.items
    key.seen = state.items
    # Texts that would be truncated, and numbers whose text only Python can write.
    if value.kind == TEXT:
        span.odd |= value.size > state.longest
    elif value.kind == DOUBLE:
        span.odd |= (key.part == CLASS or key.part == SEGMENT) and not is_whole(value.number)
    elif value.kind >= BYTES:
        take_nested(state, span, key.part, value, state.longest)
    if span.cell_count == state.cell_room and not grow_cells(&state.cells, &state.cell_room):
        return False
    cell = &state.cells[span.cell_count]
    cell.key = number
    cell.part = key.part
    cell.value = value[0]
    span.cell_count += 1
    return True


cdef void take_nested(State* state, Span* span, int part, Value* value, int64_t longest) noexcept nogil:
    """An array makes rows; any other nested value in place of a scalar is missing and counted."""
    if value.kind == ARRAY:
        span.odd |= value.integer == 0 or value.longest > longest
        span.odd |= span.rows >= 0 and span.rows != value.integer
        span.rows = value.integer
        span.unsupported += value.nested
        if part == CLASS or part == SEGMENT or part == LABEL_CLASS or part == IDENTIFIER:
            span.odd |= not has_texts(value)
    elif value.kind == STRANGE:
        span.odd = True
    else:
        span.unsupported += 1
        value.kind = NOTHING


cdef bint grow_cells(Cell** cells, Py_ssize_t* had) noexcept nogil:
    cdef Py_ssize_t room = wider(had[0], 64)
    cdef Cell* grown = <Cell*>realloc(cells[0], <size_t>room * sizeof(Cell))
    if grown == NULL:
        return False
    cells[0] = grown
    had[0] = room
    return True


cdef void normalize_cut(Value* value) noexcept nogil:
    """A threshold is a number; all that are not a number are the same one."""
    if value.kind == INTEGER:
        value.kind, value.number = DOUBLE, <double>value.integer
    if value.kind == DOUBLE and value.number != value.number:
        value.number = NAN


cdef void take_meaning(State* state, Span* span, int32_t number, Key* key, Value* value) noexcept nogil:
    """Takes an attribute that describes the span and is not a cell of a prediction."""
    cdef int meaning = key.meaning
    if meaning == ID:
        if value.kind == TEXT:
            span.odd |= value.size > LONGEST_ID
        elif value.kind == DOUBLE:
            span.odd |= not is_whole(value.number)
        elif value.kind == ARRAY:
            take_nested(state, span, IDENTIFIER, value, LONGEST_ID)
        else:
            span.odd |= value.kind >= BYTES
        span.id = value[0]
        span.id_key = number
    elif meaning == LABEL:
        if value.kind == TEXT:
            span.odd |= value.size > state.longest
        elif value.kind == DOUBLE:
            span.odd |= key.part == LABEL_CLASS and not is_whole(value.number)
        elif value.kind >= BYTES:
            take_nested(state, span, key.part, value, state.longest)
        span.labels[key.part - LABEL_CLASS] = value[0]
        span.label_keys[key.part - LABEL_CLASS] = number
        span.label = True
    elif meaning == ROWS:
        if value.kind == INTEGER and 0 < value.integer <= state.most_rows:
            span.count = value.integer
        else:
            span.odd |= value.kind != NOTHING
    elif meaning == ERROR:
        span.error = value[0]
    elif meaning == SAMPLED:
        span.unsampled = value.kind == BOOLEAN and value.integer == 0
        span.odd |= value.kind == STRANGE
    elif meaning == STREAM:
        span.stream = value[0]
        span.odd |= value.kind != BYTES and value.kind != NOTHING
    else:
        if meaning == CUT:
            normalize_cut(value)
        span.names[meaning - NAME] = value[0]
        if meaning == CUT:
            span.odd |= value.kind != DOUBLE and value.kind != NOTHING
        elif value.kind == TEXT:
            span.odd |= value.size > state.longest
        elif value.kind != NOTHING:
            span.odd |= meaning != VERSION or value.kind != INTEGER
