"""Connectors by entry point. A start loads the two that its URLs name: the others' drivers may be dear or absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from cdc.errors import SettingsError
from cdc.ports import Connector
from cdc.settings.variable import connector_prefix


@dataclass(frozen=True, slots=True)
class InstalledConnectors:
    """The entry points of each role, unloaded."""

    sources: tuple[EntryPoint, ...]
    sinks: tuple[EntryPoint, ...]

    def source(self, scheme: str) -> Connector:
        return _find(scheme, self.sources, "source")

    def sink(self, scheme: str) -> Connector:
        return _find(scheme, self.sinks, "sink")

    def all(self) -> tuple[list[Connector], list[str]]:
        """Every connector that can be loaded, once, sources before sinks, and why the others cannot."""
        return _load_each((*sorted(self.sources, key=_name), *sorted(self.sinks, key=_name)))

    def owning(self, variable: str) -> list[Connector]:
        """Those whose prefix a variable has, as far as they can be loaded."""
        entries = (*self.sources, *self.sinks)
        return _load_each(e for e in entries if variable.startswith(connector_prefix(e.name)))[0]


def installed_connectors() -> InstalledConnectors:
    return InstalledConnectors(
        tuple(entry_points(group="cdc.sources")),
        tuple(entry_points(group="cdc.sinks")),
    )


def _find(scheme: str, entries: tuple[EntryPoint, ...], role: str) -> Connector:
    """An entry point is named after its connector, which tells the likely one; then those that need no driver come."""
    schemes: list[str] = []
    troubles: list[str] = []
    for entry in sorted(entries, key=lambda e: (not _alike(e.name, scheme), bool(_extra(e)))):
        try:
            connector = _load(entry)
        except SettingsError as error:
            if _alike(entry.name, scheme):
                raise
            troubles.append(str(error))
            continue
        if scheme in connector.schemes:
            return connector
        schemes.extend(connector.schemes)
    known = ", ".join(f"{each}:" for each in sorted(schemes)) or "none"
    raise SettingsError("; ".join([f"no {role} is installed for {scheme}: (installed: {known})", *troubles]))


def _name(entry: EntryPoint) -> str:
    return entry.name


def _alike(name: str, scheme: str) -> bool:
    return scheme.startswith(name) or name.startswith(scheme)


def _load_each(entries: Iterable[EntryPoint]) -> tuple[list[Connector], list[str]]:
    loaded: dict[int, Connector] = {}
    troubles: list[str] = []
    for entry in entries:
        try:
            connector = _load(entry)
        except SettingsError as error:
            troubles.append(str(error))
        else:
            loaded[id(connector)] = connector
    return list(loaded.values()), troubles


def _load(entry: EntryPoint) -> Connector:
    try:
        connector = entry.load()
    except ImportError as error:
        raise SettingsError(_why_not(entry, error)) from None
    if not isinstance(connector, Connector):
        raise SettingsError(f"the entry point {entry.name} ({entry.value}) names no connector")
    return connector


def _why_not(entry: EntryPoint, error: ImportError) -> str:
    extra = _extra(entry)
    own = entry.module.partition(".")[0]
    if extra and (error.name or "").partition(".")[0] != own and entry.dist:
        return f"this needs the extra {extra}: pip install '{entry.dist.name}[{extra}]'"
    culprit = error.name or entry.module
    return f"the connector {entry.name} cannot be loaded: {culprit} cannot be imported; install it again"


def _extra(entry: EntryPoint) -> str:
    """The extra that brings the connector's driver: it has the entry point's name."""
    extras: Iterator[str] = iter(entry.dist.metadata.get_all("Provides-Extra") or ()) if entry.dist else iter(())
    return next((extra for extra in extras if extra == entry.name), "")
