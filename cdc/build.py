"""Which build is running: the hot modules compiled, or the same source interpreted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HotModule:
    """`file` is what an import of it loads."""

    name: str
    file: str
    compiled: bool


@cache
def hot_modules() -> tuple[HotModule, ...]:
    """Modules with a sibling `.pxd`, of the engine and of the installed connectors. Loads none of them."""
    entries = (*entry_points(group="cdc.sources"), *entry_points(group="cdc.sinks"))
    packages = sorted({entry.module.partition(".")[0] for entry in entries} - {"cdc"})
    return tuple(module for package in ("cdc", *packages) for module in _of(package))


def build_name() -> str:
    """`compiled`, `interpreted`, or `mixed` where only some hot modules are compiled: a broken installation."""
    kinds = {module.compiled for module in hot_modules()}
    if kinds == {True, False}:
        return "mixed"
    return "compiled" if kinds == {True} else "interpreted"


def _of(package: str) -> list[HotModule]:
    spec = find_spec(package)
    found = []
    for folder in spec.submodule_search_locations or () if spec else ():
        for header in sorted(Path(folder).rglob("*.pxd")):
            name = ".".join((package, *header.relative_to(folder).with_suffix("").parts))
            if header.stem != "__init__" and (module := find_spec(name)) and module.origin:
                found.append(HotModule(name, module.origin, module.origin.endswith(tuple(EXTENSION_SUFFIXES))))
    return found
