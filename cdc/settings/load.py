"""File, environment and connectors put together. All that is wrong is told at once, a line each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from cdc.errors import SettingsError
from cdc.observe.scrub import register_secret, scrub
from cdc.ports import Connector, ConnectorContext
from cdc.settings.engine import EngineSettings
from cdc.settings.env_file import EnvFileError
from cdc.settings.installed import InstalledConnectors, installed_connectors
from cdc.settings.url import Url, join_password, join_tls, parse_url
from cdc.settings.values import check_topic_length, system_ca_bundle
from cdc.settings.variable import Variable, connector_prefix, named_like_secret, takes_any, variables_of
from cdc.settings.variables import PREFIX, file_of, gather, is_service_link, read_secret, unknown_line

T = TypeVar("T")
_FAULT: Final = "wrong-settings"
_ACTION: Final = "Correct the variables named above; `cdc settings` explains each one."
# The engine's fields that decide what is delivered; with the URLs and the connectors' settings they make the digest.
DELIVERED: Final = (
    "name", "tables", "keys", "on_key_change_unchanged", "topic", "message_topic", "gap_topic", "tombstones",
    "truncate", "headers", "invalid_text",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A connector and what it is told: `endpoint.connector.open(endpoint.context)`."""

    connector: Connector
    context: ConnectorContext

    def open(self) -> Any:
        """A `Source` or a `Sink`, not yet connected."""
        return self.connector.open(self.context)


@dataclass(frozen=True, slots=True)
class Settings:
    """All a run needs. `digest` changes when what is delivered may change."""

    engine: EngineSettings
    source: Endpoint
    sink: Endpoint
    digest: str


def load_settings(
    env_file: Path | None, environ: Mapping[str, str], connectors: InstalledConnectors | None = None
) -> Settings:
    """Raises SettingsError with a line for each wrong thing. Registers secrets to be scrubbed from any output."""
    try:
        return _Loader(gather(env_file, environ), connectors or installed_connectors()).load()
    except EnvFileError as error:
        raise SettingsError(str(error), fault=_FAULT, action="Correct the env file.") from None


class _Loader:
    """One load: the variables that are left, and what was found wrong so far."""

    def __init__(self, values: dict[str, str], connectors: InstalledConnectors) -> None:
        self._values = values
        self._connectors = connectors
        self._problems: list[str] = []

    def load(self) -> Settings:
        engine_variables = variables_of(EngineSettings, PREFIX)
        source = self._choose("CDC_SOURCE", self._connectors.source)
        sink = self._choose("CDC_SINK", self._connectors.sink)
        chosen = [connector for connector in (source, sink) if connector]
        declared = {v.name: v for v in engine_variables}
        for connector in chosen:
            declared |= {v.name: v for v in variables_of(connector.settings, connector_prefix(connector.name))}
        self._drop_service_links(declared)
        self._read_secret_files(declared, chosen)
        self._refuse_unknown(declared, chosen)
        engine = self._validate_engine(engine_variables)
        source_settings = self._validate_connector(source)
        sink_settings = self._validate_connector(sink)
        if engine and source and sink:
            settings = self._assemble(engine, (source, source_settings), (sink, sink_settings))
        if self._problems:
            raise SettingsError("\n".join(self._problems), fault=_FAULT, action=_ACTION)
        return settings

    def _choose(self, variable: str, find: Callable[[str], Connector]) -> Connector | None:
        """The connector of a URL. A URL that cannot be read is told of when the engine's settings are validated."""
        try:
            url = parse_url(self._values.get(variable, ""))
        except ValueError:
            return None
        if url.password:
            register_secret(url.password.get_secret_value())
        try:
            return find(url.scheme)
        except SettingsError as error:
            self._problems.append(f"{variable}: {error}")
            return None

    def _drop_service_links(self, declared: Mapping[str, Variable]) -> None:
        for name in [n for n, v in self._values.items() if n not in declared and is_service_link(n, v)]:
            del self._values[name]

    def _read_secret_files(self, declared: Mapping[str, Variable], chosen: list[Connector]) -> None:
        secrets = {v.name for v in declared.values() if v.secret}
        for connector in filter(lambda c: takes_any(c.settings), chosen):
            prefix = connector_prefix(connector.name)
            names = [n.removesuffix("_FILE") for n in self._values if n.startswith(prefix) and n not in declared]
            secrets |= {n for n in names if named_like_secret(n)}
        for name in sorted(secrets):
            self._read_secret_file(name)
            if value := self._values.get(name):
                register_secret(value)

    def _read_secret_file(self, name: str) -> None:
        path = self._values.pop(file_of(name), "")
        if path and self._values.get(name):
            self._problems.append(f"{name}: is given, and {file_of(name)} too; expected one of them")
        elif path:
            try:
                self._values[name] = read_secret(file_of(name), path)
            except ValueError as error:
                self._problems.append(str(error))

    def _refuse_unknown(self, declared: Mapping[str, Variable], chosen: list[Connector]) -> None:
        open_prefixes = tuple(connector_prefix(c.name) for c in chosen if takes_any(c.settings))
        known = _names(declared.values())
        for name in sorted(self._values):
            if name in declared or name.startswith(open_prefixes):
                continue
            # One file may serve several sinks: what an installed connector that is not in use knows may stay.
            others = self._connectors.owning(name)
            theirs = {n for other in others for n in _names(variables_of(other.settings, connector_prefix(other.name)))}
            if name not in theirs and not any(takes_any(other.settings) for other in others):
                self._problems.append(unknown_line(name, (*known, *theirs)))

    def _validate_engine(self, variables: list[Variable]) -> EngineSettings | None:
        try:
            return EngineSettings.from_variables(self._values)
        except ValidationError as error:
            self._tell(error, {v.field: v for v in variables}, PREFIX)
            return None

    def _validate_connector(self, connector: Connector | None) -> BaseModel | None:
        if connector is None:
            return None
        prefix = connector_prefix(connector.name)
        try:
            return connector.settings.model_validate(self._of_connector(connector, prefix))
        except ValidationError as error:
            self._tell(error, {v.field: v for v in variables_of(connector.settings, prefix)}, prefix)
            return None

    def _of_connector(self, connector: Connector, prefix: str) -> dict[str, str | SecretStr]:
        """Fields by name. What goes to the driver is there too, in lower case, wrapped where its name says secret."""
        lists = {v.name for v in variables_of(connector.settings, prefix) if v.is_list}
        ours = {n: v for n, v in self._values.items() if n.startswith(prefix) and (v or n in lists)}
        given = {name.removeprefix(prefix).lower(): value for name, value in ours.items()}
        fields: dict[str, str | SecretStr] = {n: v for n, v in given.items() if n in connector.settings.model_fields}
        if takes_any(connector.settings):
            for name in given.keys() - fields.keys():
                fields[name] = SecretStr(given[name]) if named_like_secret(name.upper()) else given[name]
        return fields

    def _tell(self, error: ValidationError, fields: Mapping[str, Variable], prefix: str) -> None:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            variable = fields.get(name)
            shown = variable.name if variable else f"{prefix}{name.upper() or '*'}"
            expected = f"; expected {variable.kind}" if variable else ""
            self._problems.append(f"{shown}: {scrub(_wrong(detail, variable))}{expected}")

    def _assemble(
        self,
        engine: EngineSettings,
        source: tuple[Connector, BaseModel | None],
        sink: tuple[Connector, BaseModel | None],
    ) -> Settings:
        self._check_engine(engine)
        password = self._join("CDC_SOURCE_PASSWORD", lambda: join_password(engine.source, engine.source_password))
        tls = self._join("CDC_SOURCE_TLS", lambda: join_tls(engine.source, engine.source_tls))
        source_ca, sink_ca = engine.source_tls_ca or system_ca_bundle(), system_ca_bundle()
        reading = _context(engine, engine.source, source[1], password=password, tls=tls, tls_ca=source_ca)
        writing = _context(
            engine, engine.sink, sink[1], password=engine.sink.password, tls=engine.sink.tls, tls_ca=sink_ca
        )
        return Settings(
            engine, Endpoint(source[0], reading), Endpoint(sink[0], writing), _digest(engine, source[1], sink[1])
        )

    def _join(self, variable: str, join: Callable[[], T]) -> T | None:
        try:
            return join()
        except ValueError as error:
            self._problems.append(f"{variable}: {error}")
            return None

    def _check_engine(self, engine: EngineSettings) -> None:
        """What no field can tell alone."""
        for variable, template in (("CDC_MESSAGE_TOPIC", engine.message_topic), ("CDC_GAP_TOPIC", engine.gap_topic)):
            if wrong := check_topic_length(template, engine.name):
                self._problems.append(f"{variable}: {wrong}")
        for table in engine.keys:
            # A name may hold dots itself.
            dots = [at for at, character in enumerate(table) if character == "."]
            if not any(engine.tables.matches(table[:dot], table[dot + 1 :]) for dot in dots):
                self._problems.append(
                    f"CDC_KEYS: names {table}, which CDC_TABLES does not select; expected a captured table"
                )


def _names(variables: Iterable[Variable]) -> list[str]:
    """With those that name a secret's file."""
    return [name for v in variables for name in ((v.name, file_of(v.name)) if v.secret else (v.name,))]


def _wrong(detail: ErrorDetails, variable: Variable | None) -> str:
    """Never the value of a secret: not that of a variable of that kind, and none of a URL's."""
    if detail["type"] == "missing":
        return "is required"
    if detail["type"] == "value_error":
        return str(detail.get("ctx", {}).get("error", "is not valid"))
    if variable is None or variable.secret or not isinstance(detail["input"], str):
        return "is not valid"
    return f"{detail['input']!r} is not valid ({detail['msg'][:1].lower()}{detail['msg'][1:]})"


def _context(engine: EngineSettings, url: Url, settings: BaseModel | None, **security: Any) -> ConnectorContext:
    return ConnectorContext(
        name=engine.name,
        url=url.text,
        selection=engine.tables,
        keys=engine.keys,
        memory=engine.memory,
        on_position_lost=engine.on_position_lost,
        invalid_text=engine.invalid_text,
        settings=settings,
        **security,
    )


def _digest(engine: EngineSettings, source: BaseModel | None, sink: BaseModel | None) -> str:
    """In doubt a setting counts: a change too many repeats some rows, a change unseen could leave some out."""
    delivered: dict[str, Any] = {field: getattr(engine, field) for field in DELIVERED}
    delivered["tables"] = [pattern.text for pattern in engine.tables.patterns]
    delivered["keys"] = sorted(engine.keys.items())
    delivered["urls"] = [engine.source.target(), engine.sink.target()]
    delivered["connectors"] = [_delivering(settings) for settings in (source, sink)]
    return hashlib.sha256(json.dumps(delivered, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """The same in every process: a set's order is not."""
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


def _delivering(settings: BaseModel | None) -> dict[str, Any]:
    """A connector takes a field out with `json_schema_extra={"digest": False}`: an interval, a buffer's size."""
    if settings is None:
        return {}
    model = type(settings)
    apart = {n for n, f in model.model_fields.items() if (f.json_schema_extra or {}) == {"digest": False}}
    apart |= {v.field for v in variables_of(model, "") if v.secret}
    values = settings.model_dump(exclude=apart)
    return {name: value for name, value in values.items() if not isinstance(value, SecretStr)}
