"""PostgreSQL's types: what each is to us, and how the server's text of a value becomes our canonical form.

Pure functions over bytes: no driver, no socket, no catalog query of its own. The text is that of the type's output
function, as pgoutput sends it, under the pinned session (`TimeZone=UTC`, `DateStyle=ISO`, `IntervalStyle=iso_8601`,
`bytea_output=hex`, `extra_float_digits=1`, `lc_monetary=C`, `client_encoding=UTF8`). Most of it is canonical as it
stands and has no reader at all.
"""

from __future__ import annotations

from cdc_postgres.types.catalog import CATALOG_QUERY, TypeCatalog, TypeInfo, parse_catalog_rows
from cdc_postgres.types.columns import column_for
from cdc_postgres.types.json_text import json_element
from cdc_postgres.types.misfit import Misfit, Reader
from cdc_postgres.types.plans import reader_for

__all__ = [
    "CATALOG_QUERY",
    "Misfit",
    "Reader",
    "TypeCatalog",
    "TypeInfo",
    "column_for",
    "json_element",
    "parse_catalog_rows",
    "reader_for",
]
