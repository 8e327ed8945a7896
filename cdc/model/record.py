"""A record ready to send: bytes, a topic, and what decides its order."""

from __future__ import annotations


class Record:
    """One message for a broker.

    `ordering_key` groups records that must keep their order: the key's bytes, or the table's name where there is no key.
    `broadcast` asks for one copy on every partition (a truncate must be ordered with every row of its table).
    """

    __slots__ = ("broadcast", "headers", "key", "ordering_key", "topic", "value")

    def __init__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        ordering_key: bytes,
        headers: list[tuple[str, bytes]] | None = None,
        broadcast: bool = False,
    ) -> None:
        self.topic = topic
        self.key = key
        self.value = value
        self.ordering_key = ordering_key
        self.headers = headers
        self.broadcast = broadcast

    def size(self) -> int:
        """Bytes of key and value."""
        return (len(self.key) if self.key else 0) + (len(self.value) if self.value else 0)
