"""The command line: finds the command, calls it, and turns what it raises into one message and an exit code.

A command is a module with `configure(parser)` and `run(args) -> int`. It is imported when it is called, not before.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Final

from cdc import __version__
from cdc.errors import CdcError, ExitCode
from cdc.observe.failure import report
from cdc.observe.scrub import scrub
from cdc.pipeline.stop import signalled

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("cdc.cli.run", "capture changes and publish them, until stopped"),
    "check": ("cdc.cli.check", "examine source, sink and checkpoint, and tell what to mend and how"),
    "setup": ("cdc.cli.setup", "print or run what the source needs: role, grants, publication"),
    "teardown": ("cdc.cli.teardown", "remove from the source what was made for this connector"),
    "checkpoint": ("cdc.cli.checkpoint", "show, reset or adopt the checkpoint"),
    "health": ("cdc.cli.health", "exit with 0 when the running connector is ready, else 1"),
    "status": ("cdc.cli.status", "tell what the running connector is doing"),
    "settings": ("cdc.cli.settings", "list every setting with type, default and meaning"),
    "version": ("cdc.cli.version", "tell the version, the build and the libraries in use"),
}
_INTERRUPTED: Final = 128 + 2  # as a shell reports SIGINT
_BROKEN_PIPE: Final = 128 + 13  # and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Never raises; argparse's own exits (help, wrong usage) become their code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((each for each in arguments if not each.startswith("-")), "")
    try:
        if name == "run":
            signalled()
        return _call(name, arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on (`cdc settings | head`). What is buffered must not fail again while Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except CdcError as error:
        return _tell(name, error)
    except Exception as error:  # noqa: BLE001 - the last place that can keep a row's value out of a traceback
        return _tell_bug(name, error)


def _call(name: str, arguments: Sequence[str]) -> int:
    parser, module = _parser(name)
    args = parser.parse_args(arguments)
    if module is None:
        parser.print_help(sys.stderr)
        return ExitCode.SETTINGS
    code: int = module.run(args)
    sys.stdout.flush()
    return code


def _parser(name: str) -> tuple[ArgumentParser, ModuleType | None]:
    """Every command is listed; only the one that is called has its options."""
    parser = ArgumentParser("cdc", description="Change data capture: a database's log, published as events.")
    parser.add_argument("--version", action="version", version=f"cdc {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    module = None
    for each, (home, summary) in COMMANDS.items():
        command = commands.add_parser(each, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if each == name:
            module = import_module(home)
            module.configure(command)
    return parser, module


def _tell(name: str, error: CdcError) -> int:
    lines = str(error).split("\n")
    text = f" {lines[0]}" if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)
    action = f"\n{error.action}" if error.action else ""
    print(scrub(f"cdc {name}:{text}{action}"), file=sys.stderr)
    return error.exit_code


def _tell_bug(name: str, error: Exception) -> int:
    print(f"cdc {name}: bug: this should not happen\n{report(error)}", file=sys.stderr)
    print("Report it with the lines above and with what `cdc version` says.", file=sys.stderr)
    return ExitCode.BUG
