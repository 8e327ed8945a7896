"""How large a batch may be, so that a batch of many records is never refused for its size.

A topic's max.message.bytes limits a whole batch. librdkafka fills batches up to batch.size whatever the topic takes, and when the
broker refuses one for its size, all of its records fail. So batch.size follows the smallest limit known. Where the limits may
not be read, the first refusal makes every record a batch of its own: the next refusal then names the one that is to blame.
"""

from __future__ import annotations

from cdc_kafka.topics import Topics


class BatchSize:
    def __init__(self, size: int) -> None:
        self.size = size
        self._suspects: set[str] = set()

    def suspect(self, topic: str) -> None:
        """A batch of several records for it was refused."""
        self._suspects.add(topic)

    def alone(self, size: int) -> bool:
        """Whether a record of this size travels in a batch of its own."""
        return self.size == 1 or size >= self.size

    def fit(self, topics: Topics) -> bool:
        """Follow what is known about the topics now. Says whether a new producer is needed for it."""
        before = self.size
        self.size = min(self.size, max(1, topics.smallest_limit()))
        for name in [*self._suspects & topics.ready.keys()]:
            self._suspects.discard(name)
            if topics.ready[name].limit >= before:
                self.size = 1
        return self.size < before
