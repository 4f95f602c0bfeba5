# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Counts and sums in one pass over each column, without the GIL. See ``sums.pyi``.

Each figure is added up in the same order, and so rounded in the same way, as in :mod:`.numbers` without this module:
the cells of a block of rows one after the other from zero, then the block's sum to the total.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport NAN, fabs, isinf
from libc.stdint cimport int16_t, int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

cdef extern from *:
    """
    /* Columns may be views of a request, and may be unaligned there. */
    #if defined(__GNUC__)
    typedef double otel_ml_askew __attribute__((aligned(1)));
    #else
    typedef double otel_ml_askew;
    #endif
    """
    ctypedef double Askew "otel_ml_askew"

cdef enum:
    CHUNK = 256
    TERMS = 8
    CELLS = 1024
    NO_CLASS = -1

cdef double EXCESS_LIMIT = 1e290
cdef double TO_WHOLE = 6755399441055744.0  # 1.5 * 2^52: what is added to it has no digits after the point


cdef struct Grid:
    # One column's guide: see :class:`.guide.Guide`. ``following`` has ``bins`` entries, the last one NaN.
    double low
    double scale
    int32_t cells
    int32_t bins
    const int16_t* below
    const double* following


cdef struct Block:
    # The sums of one block of rows; entry ``bins`` is for cells that are not numbers.
    double* counts
    double* sums


cdef inline int32_t searched(double value, const double* following, int32_t low, int32_t high) noexcept nogil:
    """The first position from ``low`` to ``high`` whose edge is above the value."""
    cdef int32_t half
    while low < high:
        half = low + ((high - low) >> 1)
        if value >= following[half]:
            low = half + 1
        else:
            high = half
    return low


cdef inline void find_cells(const Askew* values, Py_ssize_t rows, const Grid* grid, int32_t* cells) noexcept nogil:
    """The grid's cell of each of at most ``CHUNK`` values."""
    cdef double place, last = grid.cells - 1.0
    cdef Py_ssize_t i
    for i in range(rows):
        place = (values[i] - grid.low) * grid.scale
        place = place if place > 0.0 else 0.0  # NaN too
        place = place if place < last else last
        cells[i] = <int32_t>place


cdef inline int32_t bin_in(double value, int32_t cell, const Grid* grid) noexcept nogil:
    """The bin of a value in a cell; few cells have more than one edge."""
    cdef int32_t bin_index = grid.below[cell]
    bin_index += value >= grid.following[bin_index]
    if value >= grid.following[bin_index]:
        return searched(
            value,
            grid.following,
            bin_index + 1,
            grid.below[cell + 1] if cell + 1 < grid.cells else grid.bins - 1,
        )
    return grid.bins if value != value else bin_index


cdef inline void add_cells(
    const Askew* values, const double* weights, Py_ssize_t rows, const Grid* grid, const Block* block, bint clipped
) noexcept nogil:
    """Adds the cells of one block; if ``clipped``, infinite ones add nothing to the sums, and absurd ones the limit."""
    cdef int32_t[CHUNK] cells
    cdef Py_ssize_t start = 0, size, i
    cdef int32_t bin_index
    cdef double value, distance
    while start < rows:
        size = min(<Py_ssize_t>CHUNK, rows - start)
        find_cells(values + start, size, grid, cells)
        for i in range(size):
            value = values[start + i]
            bin_index = bin_in(value, cells[i], grid)
            distance = value - grid.following[bin_index - (bin_index > 0)]
            if clipped:
                distance = min(max(distance, -EXCESS_LIMIT), EXCESS_LIMIT)
                if isinf(value):
                    distance = 0.0
            if weights == NULL:
                block.counts[bin_index] += 1.0
                block.sums[bin_index] += distance
            else:
                block.counts[bin_index] += weights[start + i]
                block.sums[bin_index] += distance * weights[start + i]
        start += size


cdef inline bint is_sane(const double* sums, int32_t bins) noexcept nogil:
    """Whether every sum is below the limit; NaN is not."""
    cdef int32_t i, sane = 1
    for i in range(bins):
        sane &= fabs(sums[i]) < EXCESS_LIMIT
    return sane


cdef inline void move(double* source, double* target, int32_t bins) noexcept nogil:
    """Adds the block's entries to the total and empties them."""
    cdef int32_t i
    for i in range(bins):
        target[i] += source[i]
        source[i] = 0.0


cdef double add_column(
    const Askew* values,
    const double* weights,
    Py_ssize_t rows,
    Py_ssize_t height,
    const Grid* grid,
    const Block* block,
    double* counts,
    double* excess,
) noexcept nogil:
    """Adds one column, ``height`` rows at a time; returns the weighted count of cells that are not numbers."""
    cdef Py_ssize_t start = 0, size
    cdef int32_t bins = grid.bins
    cdef const double* block_weights = NULL
    cdef bint edgeless = grid.following[0] != grid.following[0]
    block.counts[bins] = block.sums[bins] = 0.0
    while start < rows:
        size = min(height, rows - start)
        if weights != NULL:
            block_weights = weights + start
        add_cells(values + start, block_weights, size, grid, block, False)
        move(block.counts, counts, bins)
        if edgeless:
            memset(block.sums, 0, bins * sizeof(double))
        elif not is_sane(block.sums, bins):
            memset(block.sums, 0, bins * sizeof(double))
            add_again(values + start, block_weights, size, grid, block)
        move(block.sums, excess, bins)
        start += size
    return block.counts[bins]


cdef void add_again(
    const Askew* values, const double* weights, Py_ssize_t rows, const Grid* grid, const Block* block
) noexcept nogil:
    """Adds the sums of a block again, clipped; its counts are already right."""
    cdef double absent = block.counts[grid.bins]
    add_cells(values, weights, rows, grid, block, True)
    memset(block.counts, 0, grid.bins * sizeof(double))
    block.counts[grid.bins] = absent


cdef class _Doubles:
    """The octets of a contiguous float64 array, or none; ``at`` may be unaligned."""

    cdef Py_buffer view
    cdef const double* at
    cdef bint held

    def __cinit__(self, array, Py_ssize_t rows):
        self.at = NULL
        self.held = False
        if array is None:
            return
        PyObject_GetBuffer(array, &self.view, PyBUF_SIMPLE)
        self.held = True
        if self.view.itemsize != sizeof(double) or self.view.len != rows * self.view.itemsize:
            raise ValueError(f"a column of {self.view.len} octets is not of {rows} rows")
        self.at = <const double*>self.view.buf

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


def add_numbers(
    list columns not None,
    weights,
    Py_ssize_t rows,
    Py_ssize_t height,
    Py_ssize_t first,
    guide,
    double[:, ::1] counts not None,
    double[:, ::1] excess not None,
):
    cdef const double[:, ::1] low = guide.low, scale = guide.scale
    cdef const int16_t[::1] below = guide.below
    cdef const double[::1] following = guide.following
    cdef Py_ssize_t k = len(columns), j, bins = guide.bins, cells = guide.cells
    cdef _Doubles weighing = _Doubles(weights, rows), values
    cdef double[::1] absent = np.zeros(k)
    cdef Grid grid
    cdef Block block
    cdef double* room
    if first < 0 or first + k > low.shape[0] or height < 1 or counts.shape[1] != bins or excess.shape[1] != bins:
        raise ValueError("the columns are not those of the guide")
    if below.shape[0] != low.shape[0] * cells or following.shape[0] != low.shape[0] * bins:
        raise ValueError("the guide's tables do not fit each other")
    if counts.shape[0] != low.shape[0] or excess.shape[0] != low.shape[0]:
        raise ValueError("the sums are not those of the guide")
    room = <double*>malloc(2 * (bins + 1) * sizeof(double))
    if room == NULL:
        raise MemoryError
    memset(room, 0, 2 * (bins + 1) * sizeof(double))
    block.counts, block.sums = room, room + bins + 1
    grid.bins, grid.cells = <int32_t>bins, <int32_t>cells
    try:
        for j in range(k):
            if columns[j] is None:
                absent[j] = rows if weights is None else sum_of(weighing.at, rows)
                continue
            if not rows:
                continue
            values = _Doubles(columns[j], rows)
            grid.low, grid.scale = low[first + j, 0], scale[first + j, 0]
            grid.below = &below[(first + j) * cells]
            grid.following = &following[(first + j) * bins]
            with nogil:
                absent[j] = add_column(
                    <const Askew*>values.at, weighing.at, rows, height, &grid, &block, &counts[first + j, 0], &excess[first + j, 0]
                )
    finally:
        free(room)
    return np.asarray(absent)


cdef double sum_of(const double* values, Py_ssize_t rows) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(rows):
        total += values[i]
    return total


cdef void fill_bins(
    const Askew* values, const int64_t* chosen, Py_ssize_t rows, const Grid* grid, int16_t* bins
) noexcept nogil:
    """The bin of each chosen value, or of the first ``rows``; -1 for one that is not a number."""
    cdef double[CHUNK] taken
    cdef int32_t[CHUNK] cells
    cdef Py_ssize_t start = 0, size, i
    cdef int32_t bin_index
    while start < rows:
        size = min(<Py_ssize_t>CHUNK, rows - start)
        for i in range(size):
            taken[i] = values[start + i] if chosen == NULL else values[chosen[start + i]]
        find_cells(<const Askew*>taken, size, grid, cells)
        for i in range(size):
            bin_index = bin_in(taken[i], cells[i], grid)
            bins[start + i] = <int16_t>bin_index if bin_index < grid.bins else -1
        start += size


def find_bins(list columns not None, const int64_t[::1] positions not None, Py_ssize_t rows, chosen, guide):
    cdef const double[:, ::1] low = guide.low, scale = guide.scale
    cdef const int16_t[::1] below = guide.below
    cdef const double[::1] following = guide.following
    cdef const int64_t[::1] index
    cdef const int64_t* wanted = NULL
    cdef Py_ssize_t k = len(columns), j, bins = guide.bins, cells = guide.cells, at, size = rows
    cdef _Doubles values
    cdef Grid grid
    if chosen is not None:
        index = chosen
        size = index.shape[0]
        if size:
            wanted = &index[0]
        for j in range(size):
            if index[j] < 0 or index[j] >= rows:
                raise ValueError("a row is not in the columns")
    cdef int16_t[:, ::1] found = np.full((k, size), -1, np.int16)
    if positions.shape[0] != k or bins > 32767:
        raise ValueError("the columns are not those of the guide")
    if below.shape[0] != low.shape[0] * cells or following.shape[0] != low.shape[0] * bins:
        raise ValueError("the guide's tables do not fit each other")
    grid.bins, grid.cells = <int32_t>bins, <int32_t>cells
    for j in range(k):
        at = positions[j]
        if at < 0 or at >= low.shape[0]:
            raise ValueError("the columns are not those of the guide")
        if columns[j] is None or not size:
            continue
        values = _Doubles(columns[j], rows)
        grid.low, grid.scale = low[at, 0], scale[at, 0]
        grid.below = &below[at * cells]
        grid.following = &following[at * bins]
        with nogil:
            fill_bins(<const Askew*>values.at, wanted, size, &grid, &found[j, 0])
    return np.asarray(found)


def add_pairs(
    const int64_t[:, ::1] cells not None,
    const double[::1] weights not None,
    const double[::1] losses not None,
    Py_ssize_t total,
    double[::1] counts not None,
    double[::1] sums not None,
):
    cdef Py_ssize_t rows = cells.shape[0], width = cells.shape[1], i, j, k
    cdef int64_t first, before
    cdef double weight, loss
    if weights.shape[0] != rows or losses.shape[0] != rows:
        raise ValueError("the weights are not those of the rows")
    if counts.shape[0] != total * (total + 1) // 2 or sums.shape[0] != counts.shape[0]:
        raise ValueError("the sums are not those of the cells")
    for i in range(rows):
        before = 0
        for j in range(width):
            if cells[i, j] < before or cells[i, j] >= total:
                raise ValueError("the cells of a row do not ascend")
            before = cells[i, j]
    with nogil:
        for i in range(rows):
            weight, loss = weights[i], losses[i]
            for j in range(width):
                first = cells[i, j] * (2 * total - cells[i, j] - 1) // 2
                for k in range(j, width):
                    counts[first + cells[i, k]] += weight
                    sums[first + cells[i, k]] += loss


def count_codes(const int32_t[::1] codes not None, Py_ssize_t size):
    cdef int64_t[::1] counts = np.zeros(size + 1, np.int64)
    cdef Py_ssize_t i, rows = codes.shape[0]
    cdef int64_t place
    cdef bint outside = False
    with nogil:
        for i in range(rows):
            place = <int64_t>codes[i] + 1
            if place < 0 or place > size:
                outside = True
                break
            counts[place] += 1
    if outside:
        raise ValueError(f"a code is not between -1 and {size - 1}")
    return np.asarray(counts)


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
