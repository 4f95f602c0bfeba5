# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Probes a :class:`.slot_table.SlotTable` one id at a time, without the GIL; places are the same. See ``slots.pyi``."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

import numpy as np

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define OTEL_ML_FETCH(at) __builtin_prefetch(at)
    #else
    #define OTEL_ML_FETCH(at) ((void)(at))
    #endif
    #define OTEL_ML_PLACE_P 0x9E3779B97F4A7C15ULL
    #define OTEL_ML_PLACE_Q 0xC2B2AE3D27D4EB4FULL
    """
    void fetch "OTEL_ML_FETCH"(const void* at) noexcept nogil
    const uint64_t P "OTEL_ML_PLACE_P"
    const uint64_t Q "OTEL_ML_PLACE_Q"

cdef enum:
    SCATTERED_PROBES = 24
    EMPTY = -1
    AHEAD = 16  # ids whose first slot is fetched from memory in advance


cdef struct Probe:
    uint64_t place
    uint64_t step
    uint64_t size
    uint64_t slot
    int64_t round


cdef inline uint64_t slot_of(uint64_t place, uint64_t size) noexcept nogil:
    return ((place >> 32) * size) >> 32


cdef inline void begin(Probe* probe, uint64_t hashed_id, uint64_t size) noexcept nogil:
    probe.place = hashed_id
    probe.step = ((hashed_id * Q) >> 1) | 1
    probe.size = size
    probe.slot = slot_of(hashed_id, size)
    probe.round = 0


cdef inline bint advance(Probe* probe) noexcept nogil:
    """Moves on to the next slot; False once every slot was checked."""
    probe.round += 1
    if probe.round > SCATTERED_PROBES:
        probe.slot += 1
        if probe.slot == probe.size:
            probe.slot = 0
        return probe.round <= SCATTERED_PROBES + <int64_t>probe.size
    probe.place += probe.step
    probe.slot = slot_of(probe.place, probe.size)
    return True


def hashed(const uint64_t[:, ::1] ids not None, uint64_t first_salt, uint64_t second_salt):
    cdef Py_ssize_t i, n = ids.shape[0]
    cdef uint64_t[::1] hashes = np.empty(n, np.uint64)
    cdef uint64_t place
    if ids.shape[1] != 2:
        raise ValueError("an id has two words")
    with nogil:
        for i in range(n):
            place = (ids[i, 0] ^ first_salt) * P
            place ^= place >> 32
            place = (place ^ ids[i, 1] ^ second_salt) * Q
            hashes[i] = place ^ (place >> 32)
    return np.asarray(hashes)


def insert(
    int32_t[::1] slots not None,
    const uint64_t[:, ::1] stored not None,
    const int32_t[::1] rows not None,
    const uint64_t[::1] hashes not None,
    const uint8_t[::1] settled,
):
    cdef Py_ssize_t i, n = rows.shape[0]
    cdef int64_t superseded = 0
    cdef uint64_t size = slots.shape[0]
    cdef bint keeps = settled is not None, full = False
    cdef int32_t row, occupant
    cdef Probe probe
    if hashes.shape[0] != n or stored.shape[1] != 2 or not size or size >= <uint64_t>1 << 32:
        raise ValueError("rows, hashes and slots do not fit each other")
    with nogil:
        for i in range(n):
            if i + AHEAD < n:
                fetch(&slots[<Py_ssize_t>slot_of(hashes[i + AHEAD], size)])
            row = rows[i]
            begin(&probe, hashes[i], size)
            while True:
                occupant = slots[<Py_ssize_t>probe.slot]
                if occupant == EMPTY:
                    slots[<Py_ssize_t>probe.slot] = row
                    break
                if stored[occupant, 0] == stored[row, 0] and stored[occupant, 1] == stored[row, 1]:
                    superseded += 1
                    if row > occupant and not (keeps and settled[occupant]):
                        slots[<Py_ssize_t>probe.slot] = row
                    break
                if not advance(&probe):
                    full = True
                    break
            if full:
                break
    if full:
        raise ValueError("the table is full")
    return superseded


def find(
    const int32_t[::1] slots not None,
    const uint64_t[:, ::1] stored not None,
    const uint64_t[:, ::1] ids not None,
    const uint64_t[::1] hashes not None,
):
    cdef Py_ssize_t i, n = ids.shape[0]
    cdef int32_t[::1] found_rows = np.full(n, EMPTY, np.int32)
    cdef uint64_t size = slots.shape[0]
    cdef int32_t occupant
    cdef Probe probe
    if hashes.shape[0] != n or stored.shape[1] != 2 or ids.shape[1] != 2 or not size or size >= <uint64_t>1 << 32:
        raise ValueError("ids, hashes and slots do not fit each other")
    with nogil:
        for i in range(n):
            if i + 2 * AHEAD < n:
                fetch(&slots[<Py_ssize_t>slot_of(hashes[i + 2 * AHEAD], size)])
            if i + AHEAD < n:
                occupant = slots[<Py_ssize_t>slot_of(hashes[i + AHEAD], size)]
                if occupant != EMPTY:
                    fetch(&stored[occupant, 0])
            begin(&probe, hashes[i], size)
            while True:
                occupant = slots[<Py_ssize_t>probe.slot]
                if occupant == EMPTY:
                    break
                if stored[occupant, 0] == ids[i, 0] and stored[occupant, 1] == ids[i, 1]:
                    found_rows[i] = occupant
                    break
                if not advance(&probe):
                    break
    return np.asarray(found_rows)


def filter_of(const uint64_t[::1] hashes not None, uint64_t size):
    cdef Py_ssize_t i, n = hashes.shape[0]
    cdef uint8_t[::1] octets = np.zeros(<Py_ssize_t>((size + 7) // 8), np.uint8)
    cdef uint64_t bit
    if not size or size >= <uint64_t>1 << 32:
        raise ValueError("a filter has from 1 to 2 ** 32 - 1 bits")
    with nogil:
        for i in range(n):
            bit = bit_of(hashes[i], size)
            octets[<Py_ssize_t>(bit >> 3)] |= <uint8_t>(1 << (bit & 7))
    return np.asarray(octets)


def may_hold(const uint8_t[::1] octets not None, const uint64_t[::1] hashes not None, uint64_t size):
    cdef Py_ssize_t i, n = hashes.shape[0]
    cdef uint8_t[::1] likely = np.empty(n, np.uint8)
    cdef uint64_t bit
    if not size or size >= <uint64_t>1 << 32 or <uint64_t>octets.shape[0] != (size + 7) // 8:
        raise ValueError("a filter has from 1 to 2 ** 32 - 1 bits")
    with nogil:
        for i in range(n):
            bit = bit_of(hashes[i], size)
            likely[i] = (octets[<Py_ssize_t>(bit >> 3)] >> (bit & 7)) & 1
    return np.asarray(likely).view(np.bool_)


cdef inline uint64_t bit_of(uint64_t hashed_id, uint64_t size) noexcept nogil:
    # Uses the low half of the hash, because the table uses the high half.
    return (<uint64_t><uint32_t>hashed_id * size) >> 32
