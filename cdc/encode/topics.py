"""Topic names: a template, an alphabet, and the rule that two tables never share one."""

from __future__ import annotations

import re

from cdc.errors import SettingsError
from cdc.model.types import TableVersion

_ILLEGAL = re.compile(r"[^A-Za-z0-9._-]")
LONGEST = 249  # Kafka's own bound on a topic's name; no other broker here allows less


class TopicNames:
    """From tables to topics by `template`, with `{name}`, `{schema}` and `{table}`."""

    def __init__(self, name: str, template: str) -> None:
        self._name = name
        self._template = template
        self._taken: dict[str, tuple[str, str]] = {}

    def of(self, table: TableVersion) -> str:
        """Raises SettingsError where the name is too long or another table has it already."""
        topic = self.render(table.schema, table.name)
        owner = self._taken.setdefault(topic, (table.schema, table.name))
        if owner != (table.schema, table.name):
            raise SettingsError(
                f"tables {owner[0]}.{owner[1]} and {table.qualified_name} would both go to topic {topic}",
                fault="topic-collision",
                action="Give CDC_TOPIC a template that tells them apart, or exclude one in CDC_TABLES.",
            )
        return topic

    def render(self, schema: str, table: str) -> str:
        topic = topic_name(self._template, name=self._name, schema=schema, table=table)
        if len(topic) > LONGEST:
            raise SettingsError(
                f"the topic of {schema}.{table} would have {len(topic)} characters, {LONGEST} are allowed",
                fault="topic-too-long",
                action="Shorten CDC_TOPIC.",
            )
        return topic


def topic_name(template: str, **names: str) -> str:
    """Fill a template; characters outside `[A-Za-z0-9._-]` become `_`, one each."""
    return _ILLEGAL.sub("_", template.format(**names))
