# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Numbers Python texts in one pass over their addresses. See ``texts.pyi``.

Most columns of texts have one object for each distinct text, so a known address gives the code without reading the
text. The array refers to its objects and the GIL is held, so no address is reused meanwhile.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.dict cimport PyDict_GetItem, PyDict_SetItem
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsLong
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free

import numpy as np

cdef enum:
    MISSING = -1
    OTHER = -2  # neither a text nor missing
    FIRST_BITS = 10
    LAST_BITS = 17  # at most 2¹⁶ addresses: half of the slots
    BLOCK = 4096
    PATIENCE = 4 * BLOCK


cdef struct Slot:
    PyObject* address
    int32_t code


cdef struct Table:
    # Addresses seen, with linear probing; at most half full. Beyond the limit nothing is added.
    Slot* slots
    int bits
    Py_ssize_t used


cdef inline Slot* slot_of(const Table* table, PyObject* address) noexcept nogil:
    """The slot of an address, or the empty one where it belongs."""
    cdef uint64_t mask = (<uint64_t>1 << table.bits) - 1
    # Addresses of objects are multiples of 16: Fibonacci hashing of the bits above these.
    cdef uint64_t place = ((<uint64_t><uintptr_t>address >> 4) * <uint64_t>0x9E3779B97F4A7C15) >> (64 - table.bits)
    while table.slots[place].address != NULL and table.slots[place].address != address:
        place = (place + 1) & mask
    return &table.slots[place]


cdef bint grow(Table* table) noexcept nogil:
    """Doubles the slots; returns False without memory, and leaves the table as it was."""
    cdef Table larger
    cdef Py_ssize_t i
    larger.bits, larger.used = table.bits + 1, table.used
    larger.slots = <Slot*>calloc(<size_t>1 << larger.bits, sizeof(Slot))
    if larger.slots == NULL:
        return False
    for i in range(<Py_ssize_t>1 << table.bits):
        if table.slots[i].address != NULL:
            slot_of(&larger, table.slots[i].address)[0] = table.slots[i]
    free(table.slots)
    table[0] = larger
    return True


cdef inline void remember(Table* table, PyObject* address, int32_t code) noexcept nogil:
    """Adds an address that is not in the table, as long as there is room."""
    cdef Slot* slot
    if table.used >= <Py_ssize_t>1 << (table.bits - 1) and (table.bits >= LAST_BITS or not grow(table)):
        return
    slot = slot_of(table, address)
    slot.address, slot.code = address, code
    table.used += 1


cdef int32_t code_of(PyObject* cell, dict index, list names, tuple missing) except? -3:
    """The code of a cell by its value; adds a name for a new text."""
    cdef object value
    cdef PyObject* known
    if cell == NULL:  # numpy's None
        return MISSING
    value = <object>cell
    if PyUnicode_CheckExact(value):
        known = PyDict_GetItem(index, value)
        if known != NULL:
            return <int32_t>PyLong_AsLong(<object>known)
        if not (<str>value).isascii():
            try:
                (<str>value).encode()
            except UnicodeEncodeError:  # a lone surrogate is not a text
                return OTHER
        PyDict_SetItem(index, value, len(names))
        names.append(value)
        return <int32_t>(len(names) - 1)
    if value is None or (PyFloat_Check(value) and PyFloat_AS_DOUBLE(value) != PyFloat_AS_DOUBLE(value)):
        return MISSING
    for absent in missing:
        if value is absent:
            return MISSING
    return OTHER


def texts_to_codes(values not None, tuple missing not None=()):
    cdef Py_buffer view
    cdef Table table
    cdef Slot* slot
    cdef Py_ssize_t row, rows, step, misses = 0, end = 0
    cdef const char* at
    cdef PyObject* cell
    cdef int32_t code
    cdef int32_t[::1] codes
    cdef dict index = {}
    cdef list names = []
    cdef bint given_up = False
    PyObject_GetBuffer(values, &view, PyBUF_FORMAT | PyBUF_STRIDES)
    table.slots = NULL
    try:
        if view.ndim != 1 or view.format[0] != c"O" or view.format[1] != 0:
            raise TypeError("only an array of objects in one dimension has texts to be numbered")
        rows, step, at = view.shape[0], view.strides[0], <const char*>view.buf
        table.bits, table.used = FIRST_BITS, 0
        table.slots = <Slot*>calloc(<size_t>1 << table.bits, sizeof(Slot))
        if table.slots == NULL:
            raise MemoryError
        array = np.empty(rows, np.int32)
        codes = array
        row = 0
        while row < rows and not given_up:
            end = min(row + BLOCK, rows)
            while row < end:
                cell = (<PyObject**>(at + row * step))[0]
                slot = slot_of(&table, cell)
                if slot.address != NULL:
                    codes[row] = slot.code
                else:
                    misses += 1
                    code = code_of(cell, index, names, missing)
                    if code == OTHER:
                        given_up = True
                        break
                    codes[row] = code
                    if cell != NULL:
                        remember(&table, cell, code)
                row += 1
            # Addresses do not help if most objects are new: give up at once if their texts are known, else after a while.
            if 2 * misses > end and end >= BLOCK and (misses > 2 * <Py_ssize_t>len(names) or end >= PATIENCE):
                given_up = True
    finally:
        free(table.slots)
        PyBuffer_Release(&view)
    return None if given_up else (array, names)
