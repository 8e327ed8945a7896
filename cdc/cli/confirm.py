"""The question before what cannot be undone."""

from __future__ import annotations


def agreed(sure: bool, question: str) -> bool:
    """Ask, unless `sure` (`--yes`); where nobody is there to answer, a script for instance, that is a no."""
    if sure:
        return True
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
        print()
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("Nothing was changed.")
    return False
