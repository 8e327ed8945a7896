"""When to try again after a fault that heals: jittered back-off, for ever or until `CDC_RETRY_LIMIT`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_random_exponential,
)

from cdc.errors import CdcError, NoProgress, SourceOutage

FIRST_WAIT = 0.2
LONGEST_WAIT = 15.0
T = TypeVar("T")


class GivenUp(Exception):
    """A stop was requested while waiting."""


def until_it_works(
    attempt: Callable[[], T],
    *,
    limit: float,
    told: Callable[[CdcError], None],
    sleep: Callable[[float], None],
    stopped: Callable[[], bool],
) -> T:
    """Call `attempt` until it does not raise SourceOutage.

    `told` hears of each failure. `limit` is in seconds, 0 = for ever; past it NoProgress is raised with the last failure's words.
    Raises GivenUp when `stopped` says so.
    """

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, CdcError):
            told(error)
        if stopped():
            raise GivenUp

    retrying = Retrying(
        retry=retry_if_exception_type(SourceOutage),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        stop=stop_after_delay(limit) if limit else stop_never,
        before_sleep=before_sleep,
        sleep=sleep,
    )
    try:
        return retrying(attempt)
    except RetryError as error:
        last = error.last_attempt.exception()
        raise no_progress(limit, str(last)) from last


def no_progress(limit: float, why: str) -> NoProgress:
    return NoProgress(
        f"no progress for {limit:g} s: {why}",
        fault="no-progress",
        action="Mend what the message names; CDC_RETRY_LIMIT=0 would keep trying.",
    )
