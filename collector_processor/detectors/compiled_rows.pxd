# The types with which rows.py is compiled as it stands, to the module compiled_rows.
cimport cython

cdef class PageHinkley:
    cdef public double least, delta, threshold, alpha
    cdef public double count, mean, rise, fall, lowest_rise, highest_fall
    cdef public bint alarmed
    @cython.locals(apart=double, risen=double, fallen=double)
    cpdef bint see(self, double x)

cdef class DDM:
    cdef public double least, deviations
    cdef public double count, mean, best_mean, best_spread, best
    cdef public bint alarmed
    @cython.locals(spread=double)
    cpdef bint see(self, double x)

cdef class EDDM:
    cdef public double least, beta
    cdef public double count, last_error, errors, mean, squares, greatest
    cdef public bint alarmed
    @cython.locals(gap=double, before=double, variance=double, reach=double)
    cpdef bint see(self, double x)

cdef class HDDMA:
    cdef public double confidence
    cdef public double count, mean, first_count, first_mean
    cdef public bint alarmed
    @cython.locals(odds=double, bound=double, m=double)
    cpdef bint see(self, double x)

cdef class ADWIN:
    cdef public double delta, least_part, least
    cdef public long long clock, seen
    cdef public double width, total, variance
    cdef public list totals, variances
    cdef public bint alarmed
    cpdef bint see(self, double x)
    @cython.locals(apart=double, level=int)
    cdef _insert(self, double x)
    @cython.locals(level=int, size=double, total=double, variance=double, apart=double)
    cdef _forget_oldest(self)
    @cython.locals(
        confidence=double, spread=double, old_count=double, old_total=double, new_count=double, size=double,
        total=double, apart=double, parts=double, level=int,
    )
    cdef bint _differs(self) except -1
