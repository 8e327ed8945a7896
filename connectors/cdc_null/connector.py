"""The entry point: what the engine learns about this connector."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Fault, Finding, Severity
from cdc.ports import Connector, ConnectorContext
from cdc_null.sink import NullSink


class NullSettings(BaseModel):
    """There is nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    return [Finding(Severity.WARNING, "sink", "null: throws every record away", "Set CDC_SINK to a broker.")]


def classify(exception: BaseException) -> Fault | None:
    return None


CONNECTOR = Connector(
    name="null",
    schemes=("null",),
    settings=NullSettings,
    open=NullSink,
    preflight=preflight,
    classify=classify,
)
