# The rows of each model as growing arrays: cells of numbers and of codes, padded with missing ones up to their row.

cdef enum:
    FEATURE = 0
    SEGMENT = 1
    ATTRIBUTION = 2
    SCORES = 3
    CLASS = 4
    SCORE = 5
    VALUE = 6
    FREE_CELLS = 65536
    CELLS_PER_CELL = 4
    IDENTITY = 4


cdef struct Column:
    int32_t key
    double* numbers
    Py_ssize_t number_count
    Py_ssize_t number_room
    int32_t* codes
    Py_ssize_t code_count
    Py_ssize_t code_room
    Texts texts
    Py_ssize_t unsupported


cdef struct Row:
    # One span of ours, without its cells.
    int64_t ordinal
    int64_t time_ns
    double duration_s
    uint64_t id_a
    uint64_t id_b
    int64_t count
    int32_t state


cdef struct Model:
    Text names[IDENTITY]
    Row* rows
    Py_ssize_t row_count
    Py_ssize_t row_room
    Column* columns
    int32_t column_count
    int32_t column_room
    int32_t* column_of
    int32_t key_room
    Column error
    Py_ssize_t cells


cdef struct Space:
    # Cells that stand for nothing, against those that came: keeps memory in proportion to the request.
    Py_ssize_t padded
    Py_ssize_t cells


cdef inline bint take_space(Space* space, Py_ssize_t padding) noexcept nogil:
    space.padded += padding
    return space.padded <= CELLS_PER_CELL * space.cells + FREE_CELLS


cdef inline Py_ssize_t wider(Py_ssize_t room, Py_ssize_t needed) noexcept nogil:
    room = room * 2 if room else 4
    return room if room > needed else needed


cdef bint pad_numbers(Column* column, Py_ssize_t row, Space* space) noexcept nogil:
    """Missing cells up to ``row``, and room for one more."""
    cdef Py_ssize_t room
    cdef double* numbers
    if not take_space(space, row - column.number_count):
        return False
    if row >= column.number_room:
        room = wider(column.number_room, row + 1)
        numbers = <double*>realloc(column.numbers, <size_t>room * sizeof(double))
        if numbers == NULL:
            return False
        column.numbers = numbers
        column.number_room = room
    while column.number_count < row:
        column.numbers[column.number_count] = NAN
        column.number_count += 1
    return True


cdef bint pad_codes(Column* column, Py_ssize_t row, Space* space) noexcept nogil:
    """Missing cells up to ``row``, and room for one more."""
    cdef Py_ssize_t room
    cdef int32_t* codes
    if not take_space(space, row - column.code_count):
        return False
    if row >= column.code_room:
        room = wider(column.code_room, row + 1)
        codes = <int32_t*>realloc(column.codes, <size_t>room * sizeof(int32_t))
        if codes == NULL:
            return False
        column.codes = codes
        column.code_room = room
    while column.code_count < row:
        column.codes[column.code_count] = -1
        column.code_count += 1
    return True


cdef inline bint put_number(Column* column, Py_ssize_t row, double number, Space* space) noexcept nogil:
    if isnan(number):
        return True
    if column.number_count != row or row >= column.number_room:
        if not pad_numbers(column, row, space):
            return False
    column.numbers[row] = number
    column.number_count = row + 1
    return True


cdef inline bint put_text(
    Column* column, Py_ssize_t row, Octets at, Py_ssize_t size, bint lasting, Space* space, Owned* owned
) noexcept nogil:
    """Puts a text; one that is not ``lasting`` (no part of the request) is copied if it is new."""
    cdef int32_t known = column.texts.count, code = code_of(&column.texts, at, size)
    if code < 0:
        return False
    if code == known and not lasting:
        at = own(owned, at, size)
        if at == NULL:
            return False
        column.texts.entries[code].at = at
    if column.code_count != row or row >= column.code_room:
        if not pad_codes(column, row, space):
            return False
    column.codes[row] = code
    column.code_count = row + 1
    return True


cdef struct Owned:
    # Octets that are no part of the request.
    uint8_t** parts
    Py_ssize_t count
    Py_ssize_t room


cdef Octets own(Owned* owned, Octets at, Py_ssize_t size) noexcept nogil:
    """A copy that lives as long as the walk; NULL without memory."""
    cdef Py_ssize_t room
    cdef uint8_t** parts
    cdef uint8_t* copy
    if owned.count == owned.room:
        room = wider(owned.room, 16)
        parts = <uint8_t**>realloc(owned.parts, <size_t>room * sizeof(uint8_t*))
        if parts == NULL:
            return NULL
        owned.parts = parts
        owned.room = room
    copy = <uint8_t*>malloc(<size_t>size + 1)
    if copy == NULL:
        return NULL
    memcpy(copy, at, size)
    owned.parts[owned.count] = copy
    owned.count += 1
    return copy


cdef Row* add_row(Model* model) noexcept nogil:
    """One more row, yet to be filled; NULL without memory."""
    cdef Py_ssize_t room
    cdef Row* rows
    if model.row_count == model.row_room:
        room = wider(model.row_room, 16)
        rows = <Row*>realloc(model.rows, <size_t>room * sizeof(Row))
        if rows == NULL:
            return NULL
        model.rows = rows
        model.row_room = room
    model.row_count += 1
    return &model.rows[model.row_count - 1]


cdef Column* add_column(Model* model, int32_t key, Space* space) noexcept nogil:
    """A new column for a key that has none; NULL without memory."""
    cdef Py_ssize_t room
    cdef Column* columns
    cdef int32_t* column_of
    if key >= model.key_room:
        room = wider(model.key_room, <Py_ssize_t>key + 1)
        if not take_space(space, room - model.key_room):
            return NULL
        column_of = <int32_t*>realloc(model.column_of, <size_t>room * sizeof(int32_t))
        if column_of == NULL:
            return NULL
        memset(column_of + model.key_room, 0xFF, <size_t>(room - model.key_room) * sizeof(int32_t))
        model.column_of = column_of
        model.key_room = <int32_t>room
    if model.column_count == model.column_room:
        room = wider(model.column_room, 8)
        columns = <Column*>realloc(model.columns, <size_t>room * sizeof(Column))
        if columns == NULL:
            return NULL
        model.columns = columns
        model.column_room = <int32_t>room
    columns = &model.columns[model.column_count]
    memset(columns, 0, sizeof(Column))
    columns.key = key
    model.column_of[key] = model.column_count
    model.column_count += 1
    return columns


cdef void free_column(Column* column) noexcept nogil:
    free(column.numbers)
    free(column.codes)
    free_texts(&column.texts)


cdef void free_model(Model* model) noexcept nogil:
    cdef int32_t index
    for index in range(model.column_count):
        free_column(&model.columns[index])
    free_column(&model.error)
    free(model.columns)
    free(model.column_of)
    free(model.rows)
