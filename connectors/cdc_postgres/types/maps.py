r"""hstore: `"k"=>"v", "n"=>NULL` to a JSON object.

Manual: "hstore — hstore key/value datatype". Keys and values are text, quoted always; `"` and `\` have a backslash.
"""

from __future__ import annotations

import re

from cdc_postgres.types.json_text import json_string
from cdc_postgres.types.misfit import Misfit

_QUOTED = rb'"((?:[^"\\]++|\\.)*+)"'
_PAIR = re.compile(_QUOTED + rb"=>(?:" + _QUOTED + rb"|NULL)(?:, ?|$)", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def read_hstore(text: bytes) -> bytes:
    """A JSON object in the server's order of keys."""
    pairs: list[bytes] = []
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            raise Misfit("hstore")
        key, value = found.groups()
        pairs.append(_string(key) + b":" + (b"null" if value is None else _string(value)))
        at = found.end()
    return b"{" + b",".join(pairs) + b"}"


def _string(content: bytes) -> bytes:
    return json_string(_ESCAPED.sub(rb"\1", content) if b"\\" in content else content)
