"""Picture times: every picture of a video gets a strictly ascending pts."""

import av

from store.records import Json


class PictureClock:
    """Gives every picture a strictly ascending pts.

    Decoders give pictures in the order of presentation, so a pts that goes back is wrong. AVI keeps no pts, and
    what the demuxer guesses is wrong with packed B-frames, while dts counts pictures: dts is used there.
    """

    def __init__(self, prefer_dts: bool, step: int) -> None:
        """step: length of one picture in ticks where nothing better is known."""
        self._prefer_dts = prefer_dts
        self._step = max(1, step)
        self._last: int | None = None
        self.repaired = 0

    def stamp(self, frame: av.VideoFrame) -> int:
        """The picture's pts, taken from the frame, or one step after the last where that is missing or goes back."""
        first, second = (frame.dts, frame.pts) if self._prefer_dts else (frame.pts, frame.dts)
        pts = first if first is not None else second
        if self._last is None:
            pts = 0 if pts is None else pts
        elif pts is None or pts <= self._last:
            pts = self._last + self._step
            self.repaired += 1
        self._last = pts
        return pts

    def state(self) -> Json:
        """What `take_up` needs."""
        return {"last": self._last, "repaired": self.repaired}

    def take_up(self, state: Json) -> None:
        """Go on as the clock that this state was taken of."""
        self._last, self.repaired = state["last"], state["repaired"]
