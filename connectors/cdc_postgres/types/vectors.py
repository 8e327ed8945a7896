"""pgvector's vector and halfvec: `[1,2.5]`, a JSON array already, only checked. sparsevec stays the server's text."""

from __future__ import annotations

import re

from cdc_postgres.types.json_text import NUMBER
from cdc_postgres.types.misfit import Misfit

_FORM = re.compile(rb"\[" + NUMBER + rb"(?:," + NUMBER + rb")*+\]")


def read_vector(text: bytes) -> bytes:
    """`[1,2.5]` as it is."""
    if _FORM.fullmatch(text) is None:
        raise Misfit("vector")
    return text
