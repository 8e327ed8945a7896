cimport cython
from cdc.model.event cimport Change, Transaction
from cdc.model.record cimport Record
from cdc.model.row cimport Row
from cdc.encode.json_rows cimport append_row, append_value, unchanged_names

cdef class TablePlan:
    cdef public object table
    cdef public list names
    cdef public bytes forms
    cdef public tuple key
    cdef public list key_names
    cdef public str topic
    cdef public bytes keyless
    cdef public object source
    cdef public bytes schema_version

cdef class TableScope:
    cdef public TablePlan plan
    cdef public tuple fragments
    cdef public Py_ssize_t count

cdef class EnvelopeEncoder:
    cdef public object options
    cdef public object layout
    cdef public Py_ssize_t suppressed
    cdef public Py_ssize_t incomplete
    cdef object _topics
    cdef dict _plans
    cdef object _message_source
    cdef bytes _id_prefix
    cdef tuple _headers
    cdef bint _tombstones
    cdef object _unfinished
    cdef bytes _times
    cdef Transaction _transaction
    cdef dict _scopes
    cdef Py_ssize_t _total
    cdef Py_ssize_t _messages
    cdef Py_ssize_t _skip_rows
    cdef Py_ssize_t _skip_messages
    cdef bytes _id
    cdef bytes _middle

    @cython.locals(transaction=Transaction, scope=TableScope, plan=TablePlan, op=str, before=Row, after=Row, key=bytes, old_key=bytes, value=bytes)
    cdef _change(self, Change event, list records)

    @cython.locals(out=bytearray, plan=TablePlan, fragments=tuple, offset=bytes, unchanged=Py_ssize_t, i=Py_ssize_t)
    cdef bytes _envelope(self, object event, TableScope scope, str op, Row before, Row after, bytes suffix)

    cdef bytes _key(self, TablePlan plan, Row row)

    @cython.locals(data=bytes, at=Py_ssize_t, starts=list, out=bytearray, n=Py_ssize_t, i=Py_ssize_t, kind="unsigned char", key=tuple)
    cdef bytes _key_or_none(self, TablePlan plan, Row row)
