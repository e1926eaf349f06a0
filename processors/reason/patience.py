"""How long to wait for a server, and when to give it up: one pause for all who ask it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Chosen: a rate is counted by the minute where it is counted (OpenAI, vLLM's proxies), and pauses add up to one."""


@dataclass(eq=False)
class Sent:
    """A request. number: of the pause that it was sent after. admitted: an answer to it has begun."""

    number: int
    admitted: bool = False


class Patience:
    """The pause that holds everyone who asks one server, and how often one was begun since the last answer.

    Those who were sent away together share one pause: each pause has a number, and a request that was sent before the
    latest began neither begins another nor counts as a failure.
    """

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._until_s = float("-inf")
        self._number = 0
        self._strikes = 0
        self._under_way: set[Sent] = set()

    @contextmanager
    def sending(self) -> Iterator[Sent]:
        """While a request is under way."""
        sent = Sent(self._number)
        self._under_way.add(sent)
        try:
            yield sent
        finally:
            self._under_way.discard(sent)

    @property
    def left_s(self) -> float:
        """What is left of the pause, and up to a tenth of it more, so that not all ask again at once."""
        return max(0.0, self._until_s - self._clock()) * (1.0 + 0.1 * self._random.random())

    def sent_away(self, sent: Sent, wait_s: float | None) -> None:
        """A request was sent away. wait_s: as the server asks."""
        if sent.number == self._number:
            self._number += 1
            self._strikes += 1
        elif wait_s is None:
            return
        pause_s = max(min(wait_s or 0.0, LONGEST_PAUSE_S), self.backoff_s(self._strikes))
        self._until_s = max(self._until_s, self._clock() + pause_s)

    def served(self) -> None:
        """A request was answered: the server is there for somebody."""
        self._strikes = 0

    def ends(self, strikes: int) -> bool:
        """Whether everyone was sent away so many times in a row.

        Nobody was as long as one is being answered: it was admitted, or was sent before the first of these pauses and
        has not been sent away since (what is not streamed shows nothing before its end).
        """
        began = self._number - self._strikes
        return self._strikes >= strikes and not any(s.admitted or s.number <= began for s in self._under_way)

    def backoff_s(self, failures: int) -> float:
        """The wait after that many failures: doubling, between half and the whole of it at random."""
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (failures - 1)) * (0.5 + 0.5 * self._random.random())


def wait_s(retry_after: str | None, date: str | None) -> float | None:
    """Seconds that a `Retry-After` names; None where it names none.

    An HTTP date is counted from the answer's own `Date`, so that this machine's clock has no say.
    """
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")).total_seconds())
    except (TypeError, ValueError):
        return None
