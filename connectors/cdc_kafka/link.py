"""Whether the broker can be reached, put together from what librdkafka says in passing.

It says when all brokers are down, never when one is up again. So an outage lasts until something proves the contrary: an
acknowledgement, or an answer to a question.
"""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError

from cdc.errors import SinkOutage
from cdc.observe.logs import get_logger
from cdc_kafka.faults import PLAIN_PORT, UNREACHABLE, fault_of

_WORTH_A_WARNING: Final = 40  # as in `logging`: an error
# What these say is told as an outage already, once and with the cure.
_TOLD_OTHERWISE: Final = frozenset({"FAIL", "ERROR", "CONNERR", "TERMINATE", "CONFWARN"})


class Link:
    def __init__(self) -> None:
        self.events = 0  # callbacks that were no acknowledgements
        self._down = False
        self._why: KafkaError | None = None

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's error callback: the reason first, then that there is no broker left."""
        self.events += 1
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._down = True
        else:
            self._why = error

    def on_disconnect(self, text: str) -> None:
        """A connection that was closed in good order is no error to librdkafka, and stands in its log only."""
        self._why = self._why or KafkaError(KafkaError._TRANSPORT, text)

    def heard(self, error: KafkaError | None) -> None:
        """The broker answered a question (None), or nothing did."""
        if error is None:
            self.well()
        else:
            self._down = True
            self._why = self._why or error

    def well(self) -> None:
        self._down = False
        self._why = None

    def doubtful(self) -> bool:
        """Something went wrong since the last proof of the contrary: worth a question."""
        return self._down or self._why is not None

    def plain_reason(self) -> bool:
        """Whether it is known why, and waiting will not help: not just that nobody is there."""
        return self._down and self._why is not None and fault_of(self._why) is not UNREACHABLE

    def outage(self) -> SinkOutage | None:
        if not self._down:
            return None
        why = self._why
        fault = fault_of(why) if why else UNREACHABLE
        if fault is PLAIN_PORT:
            text = "the broker speaks plain text on this port; add ?tls=off to CDC_SINK, or name its TLS port"
        else:
            text = f"no broker can be used: {why.str() if why else 'all are down'}"
        return SinkOutage(text, fault=fault.name, action=fault.action)


class LibraryLog:
    """Stands where confluent-kafka expects a `logging.Logger`, so that librdkafka writes nothing to stderr by itself."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._log = get_logger(sink="kafka")

    def log(self, level: int, format: str, facility: str, client: str, text: str, *_: Any) -> None:
        self._link.events += 1
        if facility == "FAIL":
            self._link.on_disconnect(text)
        say = self._log.warning if level >= _WORTH_A_WARNING and facility not in _TOLD_OTHERWISE else self._log.debug
        say(f"librdkafka reports {facility}", fault=f"kafka-{facility.lower()}", says=text)
