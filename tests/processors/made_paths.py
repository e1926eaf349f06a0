"""People who walk along paths that are known, as a detector would see them: jitter, misses, and boxes hidden behind
others; and how often a tracker takes one for another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from processors.track.link import Found, Track

WIDTH, HEIGHT = 0.1, 0.4
"""Of a person, in widths and heights of the frame."""
RATE_HZ = 4.0
Path = Callable[[np.ndarray], np.ndarray]
"""Middle of a person across the frame at times in seconds."""


@dataclass(frozen=True)
class Walk:
    """What a detector sees of people: times_s float64 [T]; for each frame the boxes and whose each of them is; frames
    uint8 [T, 90, 160, 3] in which everybody wears a colour."""

    times_s: np.ndarray
    found: list[Found]
    people: list[list[int]]
    frames_rgb: np.ndarray

    def switches(self, tracks: Sequence[Track]) -> int:
        """How often somebody's track is another than at their last sight that had one."""
        owner = {
            (t, *box): track
            for track, one in enumerate(tracks)
            for t, box in zip(one.times_s, one.boxes_xyxy, strict=False)
        }
        last: dict[int, int] = {}
        n_switches = 0
        for time_s, (boxes, _), people in zip(self.times_s, self.found, self.people, strict=True):
            for box, person in zip(boxes, people, strict=True):
                track = owner.get((float(time_s), *box))
                if track is not None:
                    n_switches += last.get(person, track) != track
                    last[person] = track
        return n_switches


def walk(paths: Sequence[Path], seed: int, seconds: float = 6.0, miss: float = 0.08, jitter: float = 0.006) -> Walk:
    """People on paths, the first nearest to the camera.

    miss: share of the boxes that are not found. jitter: standard deviation of a box's sides, of the frame's width.
    """
    random = np.random.default_rng(seed)
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    middles = np.array([path(times_s) for path in paths])
    colours = random.integers(30, 226, (len(paths), 3))
    frames = np.full((len(times_s), 90, 160, 3), 128, np.uint8)
    found, people = [], []
    for i in range(len(times_s)):
        boxes, scores, of_frame = [], [], []
        for person in reversed(range(len(paths))):
            middle = middles[person, i]
            box = np.array([middle - WIDTH / 2, 0.3, middle + WIDTH / 2, 0.3 + HEIGHT])
            left, right = (box[[0, 2]] * 160).round().astype(int).clip(0, 160)
            frames[i, 27:63, left:right] = colours[person]
            in_front = np.abs(middles[:person, i] - middle)
            visible = min(1.0, in_front.min() / WIDTH) if person else 1.0
            seen = (box + random.normal(0.0, jitter, 4) * (1, 2, 1, 2)).clip(0.0, 1.0)
            if visible < 0.35 or seen[2] - seen[0] < 0.4 * WIDTH or random.random() < miss:
                continue
            boxes.append(seen)
            scores.append(0.85 if visible > 0.7 else 0.35)
            of_frame.append(person)
        found.append(Found(np.array(boxes).reshape(-1, 4), np.array(scores)))
        people.append(of_frame)
    return Walk(times_s, found, people, frames)
