"""Shot boundaries: what a detector is, what it gives, and how two are fused.

A detector is loaded once and opens a `BoundaryStream` per video. Streams are fed every picture in order and
give transitions with a lag; `settled` says up to which picture nothing more will come.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, ClassVar

from processors.color import Planes
from processors.segment.checkpoint import State

LONGEST_LAG = 600
"""Pictures after which a boundary is settled whatever may come, so that the pictures kept for clips stay bounded.
Chosen: the detectors lag by 100 to 250; more was seen only where noise is taken for one long transition."""


@dataclass(frozen=True, order=True)
class Transition:
    """A change of shot: pictures `first` to `end - 1` belong to no shot, `end` is the first of the new one.

    A cut has `first == end`; dissolves and fades have a span. `score` in (0, 1]: how sure the detector is.
    """

    first: int
    end: int
    score: float
    detector: str

    def near(self, other: "Transition", slack: int) -> bool:
        """Whether the spans touch, give or take `slack` pictures."""
        return self.first - slack <= other.end and other.first - slack <= self.end

    def after(self, settled: int) -> "Transition":
        """The part that does not begin before `settled`."""
        return replace(self, first=max(self.first, settled), end=max(self.end, settled))

    def listed(self) -> list[Any]:
        """As JSON; `Transition(*listed)` is the same again."""
        return list(astuple(self))


class BoundaryStream(ABC):
    """The state of one detector in one video."""

    @abstractmethod
    def push(self, small: Planes) -> list[Transition]:
        """Take the next picture, and give what became certain, in order.

        Args:
            small: limited-range BT.709 Y'CbCr planes, uint8, longest side of Y' 120 to 240, Cb and Cr half of it.
        """

    @abstractmethod
    def finish(self) -> list[Transition]:
        """The video has ended: give the rest."""

    @property
    @abstractmethod
    def settled(self) -> int:
        """No transition that is still to come begins before this picture."""

    @abstractmethod
    def state(self) -> State:
        """All that `take_up` needs, bounded at any length of the video."""

    @abstractmethod
    def take_up(self, state: State) -> None:
        """Go on as the stream that this state was taken of; on a stream that was pushed nothing yet."""


class BoundaryDetector(ABC):
    """One way to find shot boundaries."""

    id: ClassVar[str]

    def load(self, device: str) -> None:
        """Load models onto `device`; nothing to do for signal processing."""

    def weights(self) -> dict[str, str]:
        """Model name to SHA-256 of its weights; known after `load`."""
        return {}

    @abstractmethod
    def open(self) -> BoundaryStream:
        """A stream for one video."""


class FusedStream(BoundaryStream):
    """Two or more streams as one: what several found counts once, what one found alone must be sure.

    A transition stands if two detectors found it, or if its score reaches `alone[detector]`. Of findings that
    touch, the sure come before the merely agreed, then the longer (a fade before the dissolve that is half of
    it), then the detector that `alone` names first.
    """

    SLACK = 2
    """Pictures by which two findings of one transition may differ: chosen, detectors place cuts within 1."""

    def __init__(self, streams: Sequence[BoundaryStream], alone: dict[str, float]) -> None:
        self._streams = streams
        self._alone = alone
        self._waiting: list[Transition] = []
        self._given_end = 0
        self._count = 0

    @property
    def settled(self) -> int:
        settled = min(stream.settled for stream in self._streams)
        return max(self._count - LONGEST_LAG, min([settled, *(found.first for found in self._waiting)]))

    def state(self) -> State:
        return {
            "waiting": [found.listed() for found in self._waiting],
            "given_end": self._given_end,
            "count": self._count,
            "streams": [stream.state() for stream in self._streams],
        }

    def take_up(self, state: State) -> None:
        self._waiting = [Transition(*listed) for listed in state["waiting"]]
        self._given_end, self._count = state["given_end"], state["count"]
        for stream, part in zip(self._streams, state["streams"], strict=True):
            stream.take_up(part)

    def push(self, small: Planes) -> list[Transition]:
        self._count += 1
        for stream in self._streams:
            self._waiting += stream.push(small)
        return self._decide(min(stream.settled for stream in self._streams))

    def finish(self) -> list[Transition]:
        for stream in self._streams:
            self._waiting += stream.finish()
        return self._decide(None)

    def _decide(self, settled: int | None) -> list[Transition]:
        """Fuse the groups of touching findings that lie wholly before `settled` (all, if None)."""
        decided = []
        self._waiting.sort()
        while self._waiting:
            group = [self._waiting[0]]
            for found in self._waiting[1:]:
                if any(found.near(other, self.SLACK) for other in group):
                    group.append(found)
            if settled is not None and max(found.end for found in group) + self.SLACK >= settled:
                break
            self._waiting = [found for found in self._waiting if found not in group]
            decided += self._fuse(group)
        return decided

    def _fuse(self, group: list[Transition]) -> list[Transition]:
        """One or more transitions for a group of touching findings."""
        order = list(self._alone)

        def rank(found: Transition) -> tuple[bool, int, int]:
            unsure = found.score < self._alone[found.detector]
            return unsure, found.first - found.end, order.index(found.detector)

        kept: list[Transition] = []
        for found in sorted(group, key=rank):
            agreed = any(found.near(other, self.SLACK) and other.detector != found.detector for other in group)
            stands = agreed or found.score >= self._alone[found.detector]
            if stands and not any(found.near(other, self.SLACK) for other in kept):
                kept.append(found)
        fused = [found.after(self._count - LONGEST_LAG) for found in sorted(kept) if found.first >= self._given_end]
        self._given_end = max([self._given_end, *(found.end for found in fused)])
        return fused
