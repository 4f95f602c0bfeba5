# The rows of each model as growing arrays: cells of numbers and codes, padded with missing ones up to their row.

cdef enum:
    FEATURE = 0
    SEGMENT = 1
    ATTRIBUTION = 2
    SCORES = 3
    CLASS = 4
    SCORE = 5
    VALUE = 6
    LABEL_CLASS = 7
    LABEL_VALUE = 8
    IDENTIFIER = 9
    FREE_CELLS = 65536
    CELLS_PER_CELL = 4
    IDENTITY = 7


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
    # One row of a span of ours, without its cells.
    int64_t ordinal
    int64_t time_ns
    double duration_s
    uint64_t id_a
    uint64_t id_b
    int64_t count
    int32_t state
    # The 16 octets of its trace id and the 8 of its span id; NULL if its trace cannot be looked up.
    Octets trace
    Octets span


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


cdef struct Labels:
    # The labels of one model, by its name.
    Text name
    int64_t first
    Row* rows
    Py_ssize_t row_count
    Py_ssize_t row_room
    Column classes
    Column numbers


cdef struct Space:
    # Padded cells compared with those that came: this keeps memory in proportion to the request. ``shared_left`` is how
    # many more cells may repeat a value that came once for all rows of a call.
    Py_ssize_t padded
    Py_ssize_t cells
    int64_t shared_left


cdef inline bint take_space(Space* space, Py_ssize_t padding) noexcept nogil:
    space.padded += padding
    return space.padded <= CELLS_PER_CELL * space.cells + FREE_CELLS


cdef inline Py_ssize_t wider(Py_ssize_t room, Py_ssize_t needed) noexcept nogil:
    room = room * 2 if room else 4
    return room if room > needed else needed


cdef bint pad_numbers(Column* column, Py_ssize_t row, Space* space) noexcept nogil:
    """Adds missing cells up to ``row``, and makes room for one more."""
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
    """Adds missing cells up to ``row``, and makes room for one more."""
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


cdef inline bint put_code(Column* column, Py_ssize_t row, int32_t code, Space* space) noexcept nogil:
    if column.code_count != row or row >= column.code_room:
        if not pad_codes(column, row, space):
            return False
    column.codes[row] = code
    column.code_count = row + 1
    return True


cdef inline bint put_text(
    Column* column, Py_ssize_t row, Octets at, Py_ssize_t size, bint lasting, Space* space, Owned* owned
) noexcept nogil:
    """Puts a text; one that is not ``lasting`` (not part of the request) is copied if it is new."""
    cdef int32_t known = column.texts.count, code = code_of(&column.texts, at, size)
    if code < 0:
        return False
    if code == known and not lasting:
        at = own(owned, at, size)
        if at == NULL:
            return False
        column.texts.entries[code].at = at
    return put_code(column, row, code, space)


cdef bint repeat_cell(Column* column, Py_ssize_t row, Py_ssize_t rows, Space* space) noexcept nogil:
    """Repeats the cell of ``row``, if it is the column's last, in the next ``rows`` − 1 rows."""
    cdef Py_ssize_t i
    cdef bint number = column.number_count == row + 1, text = column.code_count == row + 1
    space.shared_left -= rows - 1
    if space.shared_left < 0:
        return False
    for i in range(row + 1, row + rows):
        if number and not put_number(column, i, column.numbers[row], space):
            return False
        if text and not put_code(column, i, column.codes[row], space):
            return False
    return True


cdef struct Owned:
    # Octets that are not part of the request.
    uint8_t** parts
    Py_ssize_t count
    Py_ssize_t room


cdef Octets own(Owned* owned, Octets at, Py_ssize_t size) noexcept nogil:
    """Returns a copy that lives as long as the walk; NULL without memory."""
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


cdef Row* add_rows(Row** all_rows, Py_ssize_t* count, Py_ssize_t* had, Py_ssize_t more) noexcept nogil:
    """Adds ``more`` rows, yet to be filled; NULL without memory."""
    cdef Py_ssize_t room
    cdef Row* rows
    if more > had[0] - count[0]:
        room = wider(had[0], count[0] + more if count[0] + more > 16 else 16)
        rows = <Row*>realloc(all_rows[0], <size_t>room * sizeof(Row))
        if rows == NULL:
            return NULL
        all_rows[0] = rows
        had[0] = room
    count[0] += more
    return &all_rows[0][count[0] - more]


cdef Column* add_column(Model* model, int32_t key, Space* space) noexcept nogil:
    """Adds a column for a key that has none; NULL without memory."""
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


cdef void free_labels(Labels* labels) noexcept nogil:
    free_column(&labels.classes)
    free_column(&labels.numbers)
    free(labels.rows)
