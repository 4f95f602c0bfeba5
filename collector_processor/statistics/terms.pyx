# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Terms of rows to the sums of their groups, and curves at scores, without the GIL. See ``terms.pyi``."""

cimport cython
from libc.math cimport NAN, fabs
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

import numpy as np

include "doubles.pxi"

cdef enum:
    TERMS = 8
    CELLS = 1024
    NO_CLASS = -1

cdef double EXCESS_LIMIT = 1e290
cdef double TO_WHOLE = 6755399441055744.0  # 1.5 * 2^52: what is added to it has no digits after the point


def add_terms(
    double[:, :, :] sums not None, const int32_t[:, :] groups not None, list terms not None, cells, bint everything
):
    cdef Py_ssize_t rows = groups.shape[0], i, j, t, count = len(terms), step = sums.strides[2]
    cdef const int64_t[::1] places = np.zeros(rows, np.int64) if cells is None else cells
    cdef const Askew* of_term[TERMS]
    cdef char* at
    cdef int32_t group = 0
    cdef list held = [_Doubles(values, rows) for values in terms]
    if count > TERMS or count != sums.shape[2] or places.shape[0] != rows:
        raise ValueError("the terms are not those of the sums")
    for t in range(count):
        of_term[t] = <const Askew*>(<_Doubles>held[t]).at
    for i in range(rows):
        if places[i] < 0 or places[i] >= sums.shape[1]:
            raise ValueError("a cell is not in the sums")
    check_groups(groups, sums.shape[0])
    if everything and not sums.shape[0]:
        raise ValueError("a group is not in the sums")
    with nogil, cython.boundscheck(False):
        for j in range(-1 if everything else 0, groups.shape[1]):
            for i in range(rows):
                if j >= 0:
                    group = groups[i, j]
                    if group < 1:
                        continue
                at = <char*>&sums[group, places[i], 0]
                for t in range(count):
                    (<double*>(at + t * step))[0] += of_term[t][i]


cdef void count_knots(const double* knots, Py_ssize_t size, double low, double scale, int32_t* below) noexcept nogil:
    """How many knots are in lower cells than each of ``CELLS``; knots and scores find their cell by the same formula."""
    cdef Py_ssize_t i
    memset(below, 0, (CELLS + 1) * sizeof(int32_t))
    for i in range(size):
        below[cell_of(knots[i], low, scale) + 1] += 1
    for i in range(CELLS):
        below[i + 1] += below[i]


cdef inline int32_t cell_of(double value, double low, double scale) noexcept nogil:
    cdef double place = (value - low) * scale
    place = place if place > 0.0 else 0.0
    return <int32_t>(place if place < CELLS - 1 else CELLS - 1)


def read_curve(
    scores, const double[::1] knots not None, const double[::1] values not None, double least, double most
):
    cdef Py_ssize_t rows = len(scores), size = knots.shape[0], i, at, step, left
    cdef _Doubles held = _Doubles(scores, rows)
    cdef const Askew* score = <const Askew*>held.at
    cdef int32_t[CELLS + 1] below
    cdef int32_t cell
    cdef double x, scale
    if size < 1 or values.shape[0] != size:
        raise ValueError("the values are not those of the knots")
    cdef double[::1] read = np.empty(rows), slopes = np.empty(size)
    cdef double* slope = &slopes[0]
    cdef const double* knot = &knots[0]
    cdef const double* value = &values[0]
    scale = CELLS / (knot[size - 1] - knot[0])
    scale = scale if scale < EXCESS_LIMIT else 0.0  # one cell for all; NaN too
    with nogil, cython.boundscheck(False):
        count_knots(knot, size, knot[0], scale, below)
        for at in range(size - 1):
            slope[at] = (value[at + 1] - value[at]) / (knot[at + 1] - knot[at])
        for i in range(rows):
            x = score[i]
            cell = cell_of(x, knot[0], scale)
            # The last knot that is not above the score: all those of lower cells are below it.
            at = max(below[cell] - 1, 0)
            left = below[cell + 1] - at
            while left > 1:
                step = left >> 1
                at += step * (knot[at + step] <= x)
                left -= step
            if not least <= x <= most:
                read[i] = NAN
            elif x <= knot[at] or at + 1 == size:
                read[i] = value[at]
            else:
                read[i] = slope[at] * (x - knot[at]) + value[at]
    return np.asarray(read)


cdef inline double rounded(double value, double units) noexcept nogil:
    """The nearest multiple of 1 / ``units``, a power of two, as ``rint`` finds it; below 2^51 of them."""
    return ((value * units + TO_WHOLE) - TO_WHOLE) * (1.0 / units)


def add_estimated(
    p,
    const int32_t[::1] predicted not None,
    weights,
    int32_t positive,
    const int32_t[:, :] groups not None,
    double[:, :, ::1] sums not None,
    double coarse_units,
    double fine_units,
):
    cdef Py_ssize_t rows = predicted.shape[0], columns = groups.shape[1], i, j, unknown = 0
    cdef _Doubles expected = _Doubles(p, rows), weighing = _Doubles(weights, rows)
    cdef const Askew* probability = <const Askew*>expected.at
    cdef const Askew* weight = <const Askew*>weighing.at
    cdef double value, coarse, fine, inside
    cdef double weight_in = 0.0, coarse_in = 0.0, fine_in = 0.0, weight_out = 0.0, coarse_out = 0.0, fine_out = 0.0
    cdef double* at
    cdef int32_t group
    if groups.shape[0] != rows or not sums.shape[0] or sums.shape[1] != 2 or sums.shape[2] != 3:
        raise ValueError("the sums are not those of the rows")
    check_groups(groups, sums.shape[0])
    with nogil, cython.boundscheck(False):
        for i in range(rows):
            value = probability[i]
            if value != value or predicted[i] == NO_CLASS:
                unknown += 1
                continue
            coarse = rounded(value, coarse_units)
            fine = rounded(value - coarse, fine_units) * weight[i]
            coarse *= weight[i]
            inside = predicted[i] == positive
            weight_in += weight[i] * inside
            coarse_in += coarse * inside
            fine_in += fine * inside
            inside = 1.0 - inside
            weight_out += weight[i] * inside
            coarse_out += coarse * inside
            fine_out += fine * inside
            for j in range(columns):
                group = groups[i, j]
                if group > 0:
                    at = &sums[group, predicted[i] == positive, 0]
                    at[0] += weight[i]
                    at[1] += coarse
                    at[2] += fine
        at = &sums[0, 0, 0]
        at[0] += weight_out
        at[1] += coarse_out
        at[2] += fine_out
        at[3] += weight_in
        at[4] += coarse_in
        at[5] += fine_in
    return unknown


def add_right(
    p,
    const int32_t[::1] predicted not None,
    weights,
    int32_t positive,
    const int32_t[:, :] groups not None,
    double[:, ::1] sums not None,
):
    cdef Py_ssize_t rows = predicted.shape[0], columns = groups.shape[1], i, j
    cdef _Doubles expected = _Doubles(p, rows), weighing = _Doubles(weights, rows)
    cdef const Askew* probability = <const Askew*>expected.at
    cdef const Askew* weight = <const Askew*>weighing.at
    cdef double value, weighted, first = 0.0, second = 0.0, third = 0.0, fourth = 0.0
    cdef double* at
    cdef int32_t group
    if groups.shape[0] != rows or not sums.shape[0] or sums.shape[1] != 4:
        raise ValueError("the sums are not those of the rows")
    check_groups(groups, sums.shape[0])
    with nogil, cython.boundscheck(False):
        for i in range(rows):
            value = probability[i]
            if not (fabs(value) <= EXCESS_LIMIT and weight[i] > 0.0) or predicted[i] == NO_CLASS:
                continue
            value = value if predicted[i] == positive else 1.0 - value
            weighted = weight[i] * value
            first += weight[i]
            second += weight[i] * weight[i]
            third += weighted
            fourth += weighted * value
            for j in range(columns):
                group = groups[i, j]
                if group > 0:
                    at = &sums[group, 0]
                    at[0] += weight[i]
                    at[1] += weight[i] * weight[i]
                    at[2] += weighted
                    at[3] += weighted * value
        at = &sums[0, 0]
        at[0] += first
        at[1] += second
        at[2] += third
        at[3] += fourth


cdef int check_groups(const int32_t[:, :] groups, Py_ssize_t size) except -1:
    cdef Py_ssize_t i, j
    for j in range(groups.shape[1]):
        for i in range(groups.shape[0]):
            if groups[i, j] >= size:
                raise ValueError("a group is not in the sums")
    return 0
