"""The engine's own variables: each declared, described and validated once.

A default that is parsed stands in the text that an env file would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from cdc.model.selection import TableSelection, parse_selection
from cdc.settings.url import Url, parse_url
from cdc.settings.values import (
    parse_existing_file,
    parse_file_url,
    parse_headers,
    parse_keys,
    parse_size,
    parse_socket_path,
    parse_topic,
    socket_beside,
)
from cdc.settings.variable import Kind
from cdc.settings.variables import PREFIX

_LEAST_MEMORY: Final = 2**20  # about the largest record that brokers take by default: it must fit


def _table_topic(text: str) -> str:
    return parse_topic(text, "name", "schema", "table")


def _name_topic(text: str) -> str:
    return parse_topic(text, "name")


def _optional_file_url(text: str) -> Path | None:
    return parse_file_url(text) if text else None


def _optional_existing_file(text: str) -> str:
    return parse_existing_file(text) if text else ""


def _budget(text: str) -> int:
    if (size := parse_size(text)) < _LEAST_MEMORY:
        raise ValueError(f"{text!r} is too little")
    return size


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


Seconds = Annotated[float, Field(allow_inf_nan=False)]
Topic = Annotated[str, PlainValidator(_name_topic), Kind("topic template with {name}")]


class EngineSettings(BaseSettings):
    """What every connector shares. Attributes hold parsed values; passwords are `SecretStr`, URLs carry none."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        enable_decoding=False,  # a value is text, never JSON
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9._-]+$"),
        Kind("letters, digits, dot, underscore and hyphen", "shop"),
    ] = Field(
        description="The connector's name: the first part of every topic, of what is made on the source, and of "
        "`source.name` in each event. Another name is another connector."
    )
    source: Annotated[Url, PlainValidator(parse_url), Kind("URL", "postgresql://user@host:5432/db")] = Field(
        description="The database to read. `?tls=off` asks for a plain connection to a host that is not this machine. "
        "A password in it is accepted, but an own variable keeps it out of sight."
    )
    source_password: SecretStr | None = Field(default=None, description="The password of the user in `CDC_SOURCE`.")
    source_tls: Literal["verify-full", "verify-ca", "require", "off"] | None = Field(
        default=None,
        description="How the connection to the source is protected. Without it: none on this machine (loopback and "
        "Unix sockets), else `verify-full`, which checks certificate and host name.",
    )
    source_tls_ca: Annotated[str, PlainValidator(_optional_existing_file), Kind("path of a PEM file")] = Field(
        default="",
        validate_default=True,
        description="The certificates that may vouch for the source. Without it: the system's bundle, found in the "
        "usual places.",
    )
    sink: Annotated[
        Url,
        PlainValidator(parse_url),
        Kind("URL: kafka://host[,host2], stdout:, file:///dir or null:", "kafka://host:9092,host2:9092"),
    ] = Field(
        description="Where events go. `stdout:` and `file:` write JSON lines, `null:` counts and forgets; `?tls=off` "
        "asks for a plain connection to a broker that is not on this machine."
    )
    tables: Annotated[
        TableSelection,
        PlainValidator(parse_selection),
        Kind("comma list of schema.table", "public.orders,inventory.*"),
    ] = Field(
        description="The tables to capture. `*` and `?` match within a name, `!` before an item excludes what it "
        "matches, a name in double quotes is taken literally."
    )
    keys: Annotated[
        Mapping[str, tuple[str, ...]],
        PlainValidator(parse_keys),
        Kind("schema.table=column,column, joined by ;", "public.orders=id,customer;public.notes=id"),
    ] = Field(
        default="",
        validate_default=True,
        description="The key of single tables, in place of the one that the source declares. The columns must be in "
        "what the source logs of an old row, or deletes have no key.",
    )
    checkpoint: Annotated[
        Path, PlainValidator(parse_file_url), Kind("file URL", "file:///var/lib/cdc/shop.checkpoint")
    ] = Field(
        description="The file that remembers how far everything is delivered. It must be on a disk that outlives the "
        "process; one connector has it for itself."
    )
    checkpoint_interval: Annotated[Seconds, Field(gt=0), Kind("seconds, above 0")] = Field(
        default="1.0",
        validate_default=True,
        description="How often the checkpoint is saved while events flow. After a crash about this much is delivered "
        "again.",
    )
    snapshot: Literal["never"] = Field(
        default="never", description="Whether rows that exist already are sent. This version sends changes only."
    )
    on_position_lost: Literal["halt", "accept-gap"] = Field(
        default="halt",
        description="What to do when the source no longer has the log that the checkpoint needs: end with exit code "
        "3, or write the gap into the checkpoint, publish a gap record and go on from the oldest position there is.",
    )
    on_key_change_unchanged: Literal["emit", "halt"] = Field(
        default="emit",
        description="What to do when a row changes its key and the log left out a large value that stayed the same: "
        "send the row without that value (counted and warned of), or end with exit code 4.",
    )
    retry_limit: Annotated[Seconds, Field(ge=0), Kind("seconds, 0 for ever")] = Field(
        default="0",
        validate_default=True,
        description="How long faults that should heal are borne without any progress before the process ends with "
        "exit code 5.",
    )
    memory: Annotated[int, PlainValidator(_budget), Kind("size, at least 1MiB", "64MiB or 64MB")] = Field(
        default="64MiB",
        validate_default=True,
        description="The budget for data on its way from source to sink. When it is used up, reading waits for the "
        "sink.",
    )
    topic: Annotated[str, PlainValidator(_table_topic), Kind("topic template with {name}, {schema} and {table}")] = (
        Field(
            default="{name}.{schema}.{table}",
            validate_default=True,
            description="The topic of a table's events. Characters that a topic may not have become `_`; two tables "
            "that fall on one topic are an error.",
        )
    )
    message_topic: Topic = Field(
        default="{name}.message",
        validate_default=True,
        description="The topic of logical messages that are written into the source's log.",
    )
    gap_topic: Topic = Field(
        default="{name}.gap", validate_default=True, description="The topic of gap records; see `CDC_ON_POSITION_LOST`."
    )
    tombstones: bool = Field(
        default=True,
        description="Whether a record without a value follows each delete, so that a compacted topic forgets the key.",
    )
    truncate: Literal["broadcast", "single", "off"] = Field(
        default="broadcast",
        description="How a TRUNCATE is told: one copy on each partition of the topic, which keeps it in order with "
        "every row; one record; or not at all.",
    )
    headers: Annotated[
        tuple[str, ...],
        PlainValidator(parse_headers),
        Kind("comma list of id, op, table, v, schema-version, content-type"),
    ] = Field(
        default="",
        validate_default=True,
        description="The record headers to add to each event. None by default: they cost throughput.",
    )
    dead_letter: Annotated[
        Path | None,
        PlainValidator(_optional_file_url),
        Kind("file URL of a directory", "file:///var/lib/cdc/dead"),
    ] = Field(
        default="",
        validate_default=True,
        description="Where records go that the sink will never take, whole, before they count as delivered. Empty: "
        "such a record ends the process with exit code 4.",
    )
    invalid_text: Literal["halt", "base64"] = Field(
        default="halt",
        description="What to do with text that is not valid UTF-8: end with exit code 4, or send its bytes as base64 "
        "in place of the text; nothing in the event tells the two apart.",
    )
    health_socket: Annotated[
        Path, PlainValidator(parse_socket_path), Kind("absolute path; by default the checkpoint's with .sock behind it")
    ] = Field(
        default="",
        validate_default=True,
        description="The Unix socket on which a running connector tells its state to `cdc health` and `cdc status`.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="How log lines look; `auto` is `console` on a terminal and `json` elsewhere."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="The least severity that is logged."
    )
    shutdown_timeout: Annotated[Seconds, Field(ge=0), Kind("seconds")] = Field(
        default="30",
        validate_default=True,
        description="How long a stop waits for records under way to be acknowledged. What is not is delivered again "
        "at the next start.",
    )

    @field_validator("health_socket", mode="before")
    @classmethod
    def _beside_the_checkpoint(cls, text: str, info: ValidationInfo) -> str:
        # A checkpoint that is wrong is told of by itself.
        return text or str(socket_beside(info.data.get("checkpoint", Path("/absent"))))

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> EngineSettings:
        """Raises pydantic's ValidationError. Variables of others are passed over."""
        return cls(**_Given(cls, variables)())

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is handed over: the process's environment must not come in unchecked."""
        return (init_settings,)


class _Given(EnvSettingsSource):
    """The library's own reading, over variables that were merged, checked for unknown names and freed of `_FILE`.

    An empty value means the default: compose files write `CDC_X=${X:-}` for what may be absent. Only a connector's list
    takes it as it is, as none.
    """

    def __init__(self, model: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(model)
        self.env_vars = {name.lower(): value for name, value in variables.items() if value}
