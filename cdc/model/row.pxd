cdef class Row:
    cdef public bytes data
    cdef public Py_ssize_t start
    cdef public Py_ssize_t count
