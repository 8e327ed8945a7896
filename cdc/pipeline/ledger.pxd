cdef class BatchTicket:
    cdef public object mark
    cdef public Py_ssize_t outstanding
    cdef public list failures
