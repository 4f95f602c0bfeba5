# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=False, binding=False
"""Rows walk through trees without the GIL, tree by tree. See ``walk.pyi``.

Several rows take each step together, and a leaf is its own child, so that no step waits for the one before or depends on
a branch that the processor would have to guess. Trees add up in their order, as LightGBM adds them.
"""

from libc.stdint cimport int32_t, uint8_t

cdef enum:
    TOGETHER = 8
    BLOCK = 256


cdef struct Nodes:
    const int32_t* feature
    const double* threshold
    const int32_t* children
    const uint8_t* missing_right
    const int32_t* sets
    const int32_t* set_sizes
    const uint8_t* members


cdef inline int32_t following(const double* row, int32_t node, const Nodes* nodes) noexcept nogil:
    """The child of a node to which a row goes."""
    cdef double value = row[nodes.feature[node]]
    cdef int32_t first = nodes.sets[node], right
    if first < 0:
        right = (value > nodes.threshold[node]) | ((value != value) & nodes.missing_right[node])
    else:
        # A NaN is in no set.
        right = not (0.0 <= value and value < nodes.set_sizes[node] and nodes.members[first + <int32_t>value])
    return nodes.children[2 * node + right]


cdef void walk(
    const double* rows,
    Py_ssize_t count,
    Py_ssize_t width,
    int32_t root,
    int32_t depth,
    const Nodes* nodes,
    int32_t* ends,
) noexcept nogil:
    """The node in which each of the rows ends."""
    cdef Py_ssize_t start = 0, i
    cdef int32_t step
    cdef int32_t[TOGETHER] at
    while start + TOGETHER <= count:
        for i in range(TOGETHER):
            at[i] = root
        for step in range(depth):
            for i in range(TOGETHER):
                at[i] = following(rows + (start + i) * width, at[i], nodes)
        for i in range(TOGETHER):
            ends[start + i] = at[i]
        start += TOGETHER
    for i in range(start, count):
        ends[i] = root
        for step in range(depth):
            ends[i] = following(rows + i * width, ends[i], nodes)


def add_trees(
    const double[:, ::1] inputs not None,
    const int32_t[::1] roots not None,
    const int32_t[::1] depths not None,
    const int32_t[::1] feature not None,
    const double[::1] threshold not None,
    const int32_t[::1] children not None,
    const uint8_t[::1] missing_right not None,
    const int32_t[::1] sets not None,
    const int32_t[::1] set_sizes not None,
    const uint8_t[::1] members not None,
    const double[::1] values not None,
    double[::1] output not None,
    int32_t[:, ::1] leaves not None,
):
    cdef Py_ssize_t rows = inputs.shape[0], width = inputs.shape[1], start = 0, size, i
    cdef Py_ssize_t kept = leaves.shape[1], tree
    cdef int32_t[BLOCK] ends
    cdef Nodes nodes
    if output.shape[0] != rows or leaves.shape[0] != rows:
        raise ValueError("an output has another number of rows")
    if not rows or not roots.shape[0]:
        return
    nodes.feature, nodes.threshold, nodes.children = &feature[0], &threshold[0], &children[0]
    nodes.missing_right, nodes.sets, nodes.set_sizes = &missing_right[0], &sets[0], &set_sizes[0]
    nodes.members = &members[0] if members.shape[0] else NULL
    with nogil:
        while start < rows:
            size = min(<Py_ssize_t>BLOCK, rows - start)
            for tree in range(roots.shape[0]):
                walk(&inputs[start, 0], size, width, roots[tree], depths[tree], &nodes, ends)
                for i in range(size):
                    output[start + i] += values[ends[i]]
                if tree < kept:
                    for i in range(size):
                        leaves[start + i, tree] = ends[i]
            start += size
