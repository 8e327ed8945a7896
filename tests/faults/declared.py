"""Which failpoints the source declares: found by reading it, so that one in a module no test imports counts too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def declared_in_source(root: Path) -> set[str]:
    """Every name handed to `cdc.failpoints.hit` below `root`. A name that is no string literal is an error."""
    return {name for path in sorted(root.rglob("*.py")) for name in _declared_in(path)}


def _declared_in(path: Path) -> Iterator[str]:
    text = path.read_text()
    if "cdc.failpoints" not in text:
        return
    tree = ast.parse(text, str(path))
    if not any(_imports_hit(node) for node in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hit":
            yield _literal(node, path)


def _imports_hit(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "cdc.failpoints"
        and any(each.name == "hit" and each.asname is None for each in node.names)
    )


def _literal(call: ast.Call, path: Path) -> str:
    match call.args:
        case [ast.Constant(value=str() as name)]:
            return name
    raise ValueError(f"{path}:{call.lineno}: a failpoint's name must be a string literal, to be found in the source")
