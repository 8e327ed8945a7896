cdef class Record:
    cdef public str topic
    cdef public bytes key
    cdef public bytes value
    cdef public bytes ordering_key
    cdef public list headers
    cdef public bint broadcast
