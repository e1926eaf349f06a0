"""The sound of a video on the video's own time: resampled, placed by its pts, gaps silent."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from processors.decode import Sound
from store.records import Json

JITTER_S = Fraction(1, 50)
"""Stretches that begin this near to the end of the last one follow it without a seam: chosen, above the rounding
of containers that count milliseconds and below what is seen as out of step (ITU-R BT.1359: 45 ms)."""


class SoundTrack:
    """Interleaved int16 at one rate, kept from the last `discard_before` on."""

    def __init__(self, sounds: Iterator[Sound], rate_hz: int, channels: int) -> None:
        """sounds: the track's stretches, in order; taken only as far as `read` asks."""
        self._sounds = sounds
        self._rate_hz = rate_hz
        self._jitter = round(JITTER_S * rate_hz)
        self._layout = "mono" if channels == 1 else "stereo"
        self._resampler = self._new_resampler()
        self._stretches: deque[tuple[int, np.ndarray]] = deque()
        self._end: int | None = None
        self._ended = False
        self._taken = 0
        self.gaps = 0
        self.broken = 0

    @property
    def channels(self) -> int:
        """1 or 2: more are mixed down to stereo."""
        return 1 if self._layout == "mono" else 2

    def state(self) -> Json:
        """How far the track was read, for `take_up`."""
        return {"taken": self._taken}

    def take_up(self, state: Json, needed_from_s: Fraction) -> None:
        """Read as far as the track of this state had been, and keep what does not lie wholly before `needed_from_s`.

        A resampler's state cannot be had, so all is decoded once more: 9 s for an hour of stereo AAC.
        """
        while self._taken < state["taken"]:
            self._take_next()
            self.discard_before(needed_from_s)

    def read(self, start_s: Fraction, end_s: Fraction) -> np.ndarray | None:
        """The sound between two times: int16 [N, channels], silence in gaps; None if no sound lies there at all."""
        begin, end = round(start_s * self._rate_hz), round(end_s * self._rate_hz)
        while not self._ended and (self._end is None or self._end < end):
            self._take_next()
        samples = np.zeros((end - begin, self.channels), np.int16)
        heard = False
        for at, stretch in self._stretches:
            first, last = max(begin, at), min(end, at + len(stretch))
            if first < last:
                samples[first - begin : last - begin] = stretch[first - at : last - at]
                heard = True
        return samples if heard else None

    def discard_before(self, time_s: Fraction) -> None:
        """Forget what lies wholly before `time_s`."""
        limit = round(time_s * self._rate_hz)
        while self._stretches and self._stretches[0][0] + len(self._stretches[0][1]) <= limit:
            self._stretches.popleft()

    def _new_resampler(self) -> av.AudioResampler:
        return av.AudioResampler(format="s16", layout=self._layout, rate=self._rate_hz)

    def _take_next(self) -> None:
        sound = next(self._sounds, None)
        self._taken += 1
        self._ended = sound is None
        for frame in self._resampled(sound):
            self._place(frame, sound is None or sound.start_s is not None)

    def _resampled(self, sound: Sound | None) -> list[av.AudioFrame]:
        """The stretch at our rate; what the resampler still held, if None."""
        try:
            return self._resampler.resample(None if sound is None else sound.frame)
        except (ValueError, av.FFmpegError):
            # The track changed its rate or layout half-way: what the old resampler held is a millisecond.
            self._resampler = self._new_resampler()
        try:
            return [] if sound is None else self._resampler.resample(sound.frame)
        except (ValueError, av.FFmpegError):
            self.broken += 1
            return []

    def _place(self, frame: av.AudioFrame, timed: bool) -> None:
        samples = frame.to_ndarray().reshape(-1, self.channels)
        at = self._end or 0
        if timed and frame.pts is not None and frame.time_base is not None:
            start = round(frame.pts * frame.time_base * self._rate_hz)
            if self._end is None:
                at = start
            elif start > self._end + self._jitter:
                self.gaps += 1
                at = start
            elif start < self._end - self._jitter:
                samples = samples[self._end - start :]
        if len(samples):
            self._stretches.append((at, samples))
            self._end = at + len(samples)
