cdef class Transaction:
    cdef public str id
    cdef public str position
    cdef public object commit_us
    cdef public tuple facts

cdef class Change:
    cdef public str op
    cdef public object table
    cdef public object before
    cdef public object after
    cdef public Transaction transaction
    cdef public Py_ssize_t ordinal
    cdef public unsigned long long offset
