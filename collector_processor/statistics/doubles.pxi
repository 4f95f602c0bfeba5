# Columns of float64 as they come: views of a request, or arrays. Included by the modules that read them.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

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
