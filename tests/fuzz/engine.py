"""Runs one target under atheris, in the fuzzer's own environment; started by `tests.fuzz`. Arguments: the target, then libFuzzer's own."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["cdc", "cdc_postgres"]):
    from tests.fuzz.targets import TARGETS

name = sys.argv.pop(1)
(target,) = (target for target in TARGETS if target.name == name)
atheris.Setup(sys.argv, target.run)
atheris.Fuzz()
