"""What can be set about the files: `CDC_FILES_ROTATE_BYTES`, `CDC_FILES_KEEP`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FilesSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rotate_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        description="A new file is begun when the current one has reached this size, in bytes.",
    )
    keep: int = Field(
        default=0, ge=0, description="How many files are kept; the oldest are removed at each new one. 0 keeps all."
    )
