"""This connector's own settings: `CDC_POSTGRES_…`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from pydantic_settings import NoDecode

UNDELIVERED: Final[dict[str, JsonValue]] = {"digest": False}
"""For settings that change nothing in what is delivered: a new value leaves the checkpoint as it is."""


class PostgresSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    publication: str = Field("", max_length=63, description="Name of the publication; default `cdc_<name>`.")
    slot: str = Field(
        "",
        max_length=63,
        pattern=r"^[a-z0-9_]*$",
        description="Name of the replication slot (lower-case letters, digits, underscores); default `cdc_<name>`.",
    )
    create: Annotated[tuple[Literal["publication", "slot"], ...], NoDecode] = Field(
        ("publication", "slot"),
        description="What the connector may create by itself, where its role may: `publication,slot`, one of them, or empty.",
    )
    keyless: str = Field(
        "",
        description="Tables (as in CDC_TABLES) that may have no key or REPLICA IDENTITY NOTHING. Publishing such a table makes the application's own "
        "UPDATE and DELETE fail, so it takes your word.",
    )
    messages: bool = Field(
        True, description="Whether logical messages (pg_logical_emit_message) become events; PostgreSQL 14 and later."
    )
    status_interval: float = Field(
        10.0, gt=0, le=30, json_schema_extra=UNDELIVERED, description="Seconds between status updates to the server."
    )
    sender_timeout: float = Field(
        60.0,
        ge=1,
        json_schema_extra=UNDELIVERED,
        description="Seconds without a word from the connector until the server drops its session: our own wal_sender_timeout, "
        "whatever the server's is. Must be well above CDC_POSTGRES_STATUS_INTERVAL.",
    )
    silence_limit: float = Field(
        300.0,
        ge=10,
        json_schema_extra=UNDELIVERED,
        description="Seconds without a byte from the server until the connection is given up; "
        "at half of it the server is asked for a sign of life.",
    )
    watch_interval: float = Field(
        10.0,
        ge=1,
        json_schema_extra=UNDELIVERED,
        description="Seconds between looks at the publication, the slot and new tables.",
    )
    slot_timeout: float = Field(
        300.0,
        ge=1,
        json_schema_extra=UNDELIVERED,
        description="Seconds that the creation of the slot may wait for long transactions before it is tried anew.",
    )

    @field_validator("create", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
