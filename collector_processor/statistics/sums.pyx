# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Counts and sums in one pass over each column, without the GIL. See ``sums.pyi``.

Each figure is added up in the same order, and so rounded in the same way, as in :mod:`.numbers` without this module:
the cells of a block of rows one after the other from zero, then the block's sum to the total.
"""

from libc.math cimport fabs, isinf
from libc.stdint cimport int16_t, int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

include "doubles.pxi"

cdef enum:
    CHUNK = 256

cdef double EXCESS_LIMIT = 1e290


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
