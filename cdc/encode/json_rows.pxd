cimport cython
from cdc.model.row cimport Row

@cython.locals(
    data=bytes, at=Py_ssize_t, length="unsigned int", opening=Py_ssize_t, unchanged=Py_ssize_t,
    i=Py_ssize_t, count=Py_ssize_t, kind="unsigned char", form="unsigned char")
cpdef Py_ssize_t append_row(bytearray out, Row row, list names, bytes forms) except -1


cpdef append_value(bytearray out, bytes data, Py_ssize_t start, Py_ssize_t end, unsigned char form)

@cython.locals(text=bytes)
cpdef append_escaped(bytearray out, bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(i=Py_ssize_t, c="unsigned char")
cpdef bint is_plain(bytes text)

@cython.locals(data=bytes, at=Py_ssize_t, i=Py_ssize_t, kind="unsigned char")
cpdef bytes unchanged_names(Row row, list names)
