# Attributes of a span: keys, values, and what they say.

cdef inline bint read_value(Octets at, Octets end, Value* value) noexcept nogil:
    """An ``AnyValue``; whatever is more than one scalar field is NESTED, after it has been checked."""
    cdef Octets here = at, stop
    cdef uint64_t number
    value.kind = NESTED
    if at == end:
        value.kind = NOTHING
        return True
    here += 1
    if at[0] == 0x21:
        if end - at == 9:
            number = word_at(here)
            memcpy(&value.number, &number, 8)
            value.kind = DOUBLE
            return True
    elif at[0] == 0x0A:
        if take_length(&here, end, &stop) and stop == end:
            value.at = here
            value.size = end - here
            value.kind = TEXT
            return is_utf8(here, end)
    elif at[0] == 0x18 or at[0] == 0x10:
        if take_varint(&here, end, &number) and here == end:
            value.kind = INTEGER if at[0] == 0x18 else BOOLEAN
            value.integer = <int64_t>number if at[0] == 0x18 else number != 0
            return True
    return is_valid(ANY_VALUE_TYPE, at, end, 5)


cdef inline bint read_attribute(
    State* state, Octets at, Octets end, int32_t previous, int32_t* key, Value* value, bint* odd
) noexcept nogil:
    """A ``KeyValue`` of a key and then at most a value; one of any other shape is checked and called odd."""
    cdef Octets begin = at, head = at, stop
    cdef int32_t expected = state.keys[previous].after
    cdef Key* known = &state.keys[expected]
    if end - at >= known.head_size and is_same(at, known.head, known.head_size):
        key[0] = expected
        at += known.head_size
    else:
        if at >= end or at[0] != 0x0A:
            odd[0] = True
            return is_valid(KEY_VALUE_TYPE, begin, end, 4)
        at += 1
        if not take_length(&at, end, &stop) or not is_utf8(at, stop):
            return False
        key[0] = key_of(state, head, at, stop)
        if key[0] < 0:
            return False
        state.keys[previous].after = key[0]
        at = stop
    if at == end:
        value.kind = NOTHING
        return True
    if at[0] == 0x12:
        at += 1
        if not take_length(&at, end, &stop):
            return False
        if stop == end:
            return read_value(at, end, value)
    odd[0] = True
    return is_valid(KEY_VALUE_TYPE, begin, end, 4)


cdef inline bint walk_attribute(State* state, Octets at, Octets end) noexcept nogil:
    cdef Span* span = &state.span
    cdef int32_t number
    cdef Key* key
    cdef Cell* cell
    cdef Value value
    cdef bint odd = False
    if not read_attribute(state, at, end, span.previous, &number, &value, &odd):
        return False
    if odd:
        span.odd = True
        return True
    span.previous = number
    key = &state.keys[number]
    span.sign |= key.sign
    span.namespace |= key.meaning != IGNORED and key.meaning != ERROR
    if key.meaning == CELL:
        if key.seen == state.items or value.kind == NESTED:
            span.odd = True
        key.seen = state.items
        # Texts that would be cut, and numbers whose text is Python's affair.
        if value.kind == TEXT:
            span.odd |= value.size > state.longest
        elif value.kind == DOUBLE:
            span.odd |= key.part == CLASS or key.part == SEGMENT
        if value.kind != NOTHING:
            if span.cell_count == state.cell_room and not grow_cells(state):
                return False
            cell = &state.cells[span.cell_count]
            cell.key = number
            cell.part = key.part
            cell.value = value
            span.cell_count += 1
        return True
    if key.meaning > SIGN:
        if key.seen == state.items:
            span.odd = True
        key.seen = state.items
        take_meaning(state, span, key.meaning, &value)
    return True


cdef bint grow_cells(State* state) noexcept nogil:
    cdef Py_ssize_t room = wider(state.cell_room, 64)
    cdef Cell* cells = <Cell*>realloc(state.cells, <size_t>room * sizeof(Cell))
    if cells == NULL:
        return False
    state.cells = cells
    state.cell_room = room
    return True


cdef void take_meaning(State* state, Span* span, int meaning, Value* value) noexcept nogil:
    """An attribute that says something about the span, and is no cell."""
    if meaning == ID:
        span.id = value[0]
        if value.kind == TEXT:
            span.odd |= value.size > LONGEST_ID
        else:
            span.odd |= value.kind != NOTHING
    elif meaning == ROWS:
        if value.kind == INTEGER and 0 < value.integer <= state.most_rows:
            span.count = value.integer
        else:
            span.odd |= value.kind != NOTHING
    elif meaning == ERROR:
        span.error = value[0]
    elif NAME <= meaning <= ROLE:
        span.names[meaning - NAME] = value[0]
        if value.kind == TEXT:
            span.odd |= value.size > state.longest
        elif value.kind != NOTHING:
            span.odd |= meaning != VERSION or value.kind != INTEGER
    else:
        span.odd = True
        span.label |= meaning == LABEL
