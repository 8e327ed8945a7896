cimport cython
from cdc.model.event cimport Change, Transaction
from cdc.model.row cimport Row

cdef class RelationPlan:
    cdef public object table
    cdef public object readers
    cdef public Py_ssize_t count
    cdef public bint plain

cdef class Decoder:
    cdef public dict plans
    cdef public Transaction transaction
    cdef public Py_ssize_t ordinal
    cdef public Py_ssize_t messages
    cdef public object position
    cdef public object skip_below
    cdef public object last_commit
    cdef public Py_ssize_t suppressed
    cdef public object commits
    cdef public bint touched

    @cython.locals(size=Py_ssize_t, kind="unsigned char")
    cpdef decode(self, bytes data, list events)

    @cython.locals(plan=RelationPlan)
    cdef RelationPlan _plan(self, str name, bytes data)

    @cython.locals(plan=RelationPlan, ordinal=Py_ssize_t, end=Py_ssize_t, transaction=Transaction, after=Row)
    cdef _insert(self, bytes data, Py_ssize_t size, list events)

    @cython.locals(plan=RelationPlan, ordinal=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t, kind="unsigned char", transaction=Transaction, before=Row, after=Row)
    cdef _update(self, bytes data, Py_ssize_t size, list events)

    @cython.locals(plan=RelationPlan, ordinal=Py_ssize_t, end=Py_ssize_t, kind="unsigned char", transaction=Transaction, before=Row)
    cdef _delete(self, bytes data, Py_ssize_t size, list events)

    cdef Row _row(self, bytes data, Py_ssize_t at, RelationPlan plan)

@cython.locals(out=bytearray, start=Py_ssize_t, i=Py_ssize_t, length="unsigned int", kind="unsigned char")
cpdef bytes canonical(bytes data, Py_ssize_t at, Py_ssize_t count, object readers)

@cython.locals(i=Py_ssize_t, length="unsigned int", kind="unsigned char")
cpdef Py_ssize_t tuple_end(str name, bytes data, Py_ssize_t at, Py_ssize_t size, Py_ssize_t count) except -1

@cython.locals(data=bytes, at=Py_ssize_t, kind="unsigned char")
cpdef bint has_unchanged(Row row) except -1

cpdef unsigned int u16(bytes data, Py_ssize_t at) except? 65536
@cython.locals(a="unsigned int", b="unsigned int", c="unsigned int", d="unsigned int")
cpdef unsigned int u32(bytes data, Py_ssize_t at) except? 4294967295
@cython.locals(high="unsigned long long")
cpdef unsigned long long u64(bytes data, Py_ssize_t at) except? 18446744073709551615
