# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Hashes ids and renumbers codes one at a time, without the GIL. See ``packing.pyi``."""

from libc.math cimport isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import numpy as np

include "wire_octets.pxi"

cdef enum:
    LONGEST_ID = 256
    MOST_DIGITS = 20


def hash_packed(const uint8_t[::1] octets not None, const int64_t[::1] offsets not None):
    cdef Py_ssize_t row, rows = offsets.shape[0] - 1, size = octets.shape[0]
    cdef int64_t begin, end
    cdef uint64_t[:, ::1] hashes = np.empty((max(rows, 0), 2), np.uint64)
    cdef uint64_t[2] words
    cdef const uint8_t* first = &octets[0] if size else NULL
    cdef bint outside = False
    with nogil:
        for row in range(rows):
            begin, end = offsets[row], offsets[row + 1]
            if begin < 0 or end < begin or end > size:
                outside = True
                break
            if end - begin <= LONGEST_ID:
                hash_id(first + begin, end - begin, words)
                hashes[row, 0], hashes[row, 1] = words[0], words[1]
    if outside:
        raise ValueError("the offsets are not within the octets, or fall")
    return np.asarray(hashes)


def hash_rows(bytes prefix not None, Py_ssize_t digits, uint64_t begin, uint64_t[:, ::1] out not None):
    cdef Py_ssize_t prefixed = len(prefix), size = prefixed + digits, row = 0, end, place, rows = out.shape[0]
    cdef uint8_t[LONGEST_ID] text
    cdef uint64_t number, left, word, step
    cdef Ahead shared, ahead
    if digits < 1 or size > LONGEST_ID or out.shape[1] != 2:
        raise ValueError("ids that long are not hashed in a row")
    memcpy(text, <const char*>prefix, prefixed)
    with nogil:
        start_hash(&shared, size)
        absorb_until(&shared, text, prefixed)
        while row < rows:
            number = begin + row
            end = min(rows, row + 10 - <Py_ssize_t>(number % 10))
            for place in range(digits):
                left = number // 10
                text[size - 1 - place] = <uint8_t>(48 + number - left * 10)
                number = left
            # Ten ids differ only in their last octet, and so only in the last word.
            ahead = shared
            absorb_until(&ahead, text, size - 1)
            word = last_word(text + ahead.at, size - ahead.at, size)
            step = <uint64_t>1 << (8 * (size - 1 - ahead.at))
            while row < end:
                finish_hash(&ahead, word, &out[row, 0])
                word += step
                row += 1


cdef struct Ahead:
    # The state of the hash after the whole words that several ids share.
    uint64_t a
    uint64_t b
    Py_ssize_t at


cdef inline void absorb(uint64_t* a, uint64_t* b, uint64_t word) noexcept nogil:
    cdef uint64_t k = word * P
    k ^= k >> 32
    k *= Q
    a[0] = (rotated(a[0] ^ k, 27) + b[0]) * 5 + STEP_A
    b[0] = (rotated(b[0] + k, 31) ^ a[0]) * 9 + STEP_B


cdef inline void start_hash(Ahead* ahead, Py_ssize_t size) noexcept nogil:
    ahead.a = SEED_A ^ (<uint64_t>size * P)
    ahead.b = SEED_B + <uint64_t>size * Q
    ahead.at = 0


cdef inline void absorb_until(Ahead* ahead, Octets text, Py_ssize_t end) noexcept nogil:
    """Absorbs the words that end at ``end`` or before."""
    while ahead.at + 8 <= end:
        absorb(&ahead.a, &ahead.b, word_at(text + ahead.at))
        ahead.at += 8


cdef inline void finish_hash(const Ahead* ahead, uint64_t word, uint64_t* out) noexcept nogil:
    """Absorbs the last word, which may be partial, and finishes the hash."""
    cdef uint64_t a = ahead.a, b = ahead.b
    absorb(&a, &b, word)
    a += b
    b += a
    a = scrambled(a)
    b = scrambled(b)
    a += b
    b += a
    out[0] = a
    out[1] = b


def renumbered(const int32_t[::1] codes not None, Py_ssize_t size):
    cdef Py_ssize_t row, rows = codes.shape[0]
    cdef int32_t[::1] new_codes = np.empty(rows, np.int32)
    cdef int32_t[::1] position = np.full(size, -1, np.int32)
    cdef int32_t[::1] used = np.empty(min(size, rows), np.int32)
    cdef int32_t code, count = 0
    cdef bint outside = False
    with nogil:
        for row in range(rows):
            code = codes[row]
            if code < 0:
                new_codes[row] = -1
                continue
            if code >= size:
                outside = True
                break
            if position[code] < 0:
                position[code] = count
                used[count] = code
                count += 1
            new_codes[row] = position[code]
    if outside:
        raise ValueError(f"a code is not below {size}")
    return np.asarray(new_codes), np.asarray(used)[:count]
