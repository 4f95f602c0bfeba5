# Values: the content of an ``AnyValue``, and the elements of arrays.

cdef inline bint read_value(Octets at, Octets end, int depth, Value* value) noexcept nogil:
    """Reads an ``AnyValue``. Everything is checked except the content of a MAP, which the caller must check."""
    cdef Octets here = at, stop
    cdef uint64_t number
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
            value.size = <int32_t>(end - here)
            value.kind = TEXT
            return is_utf8(here, end)
    elif at[0] == 0x18 or at[0] == 0x10:
        if take_varint(&here, end, &number) and here == end:
            value.kind = INTEGER if at[0] == 0x18 else BOOLEAN
            value.integer = <int64_t>number if at[0] == 0x18 else number != 0
            return True
    return read_nested(at, end, depth, value)


cdef bint read_nested(Octets at, Octets end, int depth, Value* value) noexcept nogil:
    cdef Octets here = at + 1, stop
    if at[0] == 0x2A or at[0] == 0x32 or at[0] == 0x3A:
        if take_length(&here, end, &stop) and stop == end:
            value.at = here
            value.size = <int32_t>(end - here)
            if at[0] == 0x2A:
                return read_array(here, end, depth + 1, value)
            value.kind = MAP if at[0] == 0x32 else BYTES
            return True
    value.kind = STRANGE
    return is_valid(ANY_VALUE_TYPE, at, end, depth)


cdef inline bint is_double(Octets at, Octets end) noexcept nogil:
    """Whether the next element of an array is a double in the usual encoding of eleven octets."""
    return end - at >= 11 and at[0] == 0x0A and at[1] == 9 and at[2] == 0x21


cdef bint read_array(Octets at, Octets end, int depth, Value* value) noexcept nogil:
    """Checks and counts the elements of an ``ArrayValue``; STRANGE if one of them is, or if it has anything else."""
    cdef Octets begin = at, stop
    cdef Value element
    value.kind = ARRAY
    value.integer, value.nested, value.longest = 0, 0, 0
    if depth > DEEPEST:
        return False
    while at < end:
        value.integer += 1
        if is_double(at, end):
            at += 11
            continue
        if at[0] != 0x0A:
            value.kind = STRANGE
            return is_valid(ARRAY_TYPE, begin, end, depth)
        at += 1
        if not take_length(&at, end, &stop) or not read_value(at, stop, depth + 1, &element):
            return False
        if element.kind == TEXT:
            value.longest = max(value.longest, element.size)
        elif element.kind == MAP and not is_valid(MAP_TYPE, element.at, stop, depth + 2):
            return False
        elif element.kind == STRANGE:
            value.kind = STRANGE
        elif element.kind >= BYTES:
            value.nested += 1
        at = stop
    return True


cdef inline bint next_element(Octets* at, Octets end, Value* value) noexcept nogil:
    """The next element of an array that :func:`read_array` has checked; False at its end."""
    cdef Octets stop
    cdef uint64_t number
    if is_double(at[0], end):
        number = word_at(at[0] + 3)
        memcpy(&value.number, &number, 8)
        value.kind = DOUBLE
        at[0] += 11
        return True
    if at[0] >= end:
        return False
    at[0] += 1
    if not take_length(at, end, &stop) or not read_value(at[0], stop, 0, value):
        return False
    at[0] = stop
    return True


cdef inline bint is_whole(double number) noexcept nogil:
    """Whether the text of a number is that of an integer, or missing; only Python can write other texts."""
    return isnan(number) or (floor(number) == number and fabs(number) < 9223372036854775808.0)


cdef bint has_texts(Value* array) noexcept nogil:
    """Whether :func:`text_of` can write the text of each number in an array."""
    cdef Octets at = array.at
    cdef Value element
    while next_element(&at, array.at + array.size, &element):
        if element.kind == DOUBLE and not is_whole(element.number):
            return False
    return True


cdef inline bint text_of(Value* value, uint8_t* digits, Text* text) noexcept nogil:
    """The text of a scalar by the rules of :mod:`.cells`, in ``digits`` (at least 20) if needed; False if missing."""
    if value.kind == TEXT:
        text.at, text.size = value.at, value.size
        return True
    if value.kind == BOOLEAN:
        text.at, text.size = (TRUE.at, TRUE.size) if value.integer else (FALSE.at, FALSE.size)
        return True
    if value.kind == INTEGER:
        text.at, text.size = digits, <int32_t>write_integer(value.integer, digits)
        return True
    if value.kind == DOUBLE and not isnan(value.number):
        text.at, text.size = digits, <int32_t>write_integer(<int64_t>value.number, digits)
        return True
    return False


cdef Py_ssize_t write_integer(int64_t value, uint8_t* digits) noexcept nogil:
    """Writes a number in decimal, into at least 20 octets; returns how many it wrote."""
    cdef uint64_t left = <uint64_t>value if value >= 0 else ~<uint64_t>value + 1
    cdef uint8_t backwards[LONGEST_INTEGER]
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
